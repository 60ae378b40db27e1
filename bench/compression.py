"""Compression measured again: three students, each stage's cost, separation with its controls, the operator's time.

Students of three seeds are trained into `$SWITCHYARD_HOME/bench/compression` and kept there: the first run takes about twenty
minutes a seed on one quiet core, a later one finds them; `COMPRESSION_WEIGHTS=DIR` takes `student-<seed>.safetensors` that
`modelhub.ml.text.edge_carry` trained elsewhere. So are the figures that no clock takes part in: `NO_TIMES=1` makes
these beside other work, `BENCH_RESUME=1` takes them over. `COMPRESSION_TRIAL=1` tries everything at a small size and writes
nothing. `python -m bench.compression students times` (or `structure`) measures these parts again and leaves the other rows as
they stand on record.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import Results, refresh
from bench.tools import overhead
from bench.tools.structure import SEED_FOLDER, SEEDS, TRIAL, kept, structure_rows
from modelhub import artifacts
from modelhub.ml import datasets, tokens, trunk
from modelhub.ml.compress import figures
from modelhub.ml.distill.targets import cached_logits
from modelhub.ml.quantize.choose import compare
from modelhub.ml.risk.operator_templates import KINDS
from modelhub.ml.text import augment, edge_artifact
from modelhub.ml.text.edge import SHIPPED, finish_trained, make_edge
from modelhub.ml.text.gate_graph import set_tau
from modelhub.ml.text.lessons import Reader
from modelhub.serving.gated import GatedFile
from modelhub.serving.runners.text import TextClassifier

WEIGHTS, NO_TIMES = os.environ.get("COMPRESSION_WEIGHTS", ""), bool(os.environ.get("NO_TIMES"))
LEAST_ROWS = 1000
ROUNDS = 7


def main(asked: Sequence[str] = ()) -> None:
    import torch

    torch.set_num_threads(1)
    results, parts = Results("compression"), asked or tuple(PARTS)
    for name in parts:
        PARTS[name](results)
    if TRIAL or NO_TIMES:
        print(
            "  nothing is written: NO_TIMES keeps what has no clock for BENCH_RESUME=1, COMPRESSION_TRIAL tries everything"
        )
    elif asked:
        refresh(results, parts)
    else:
        results.write()


def student_rows(results: Results) -> None:
    """What students of three seeds answer, and what their operators stop."""
    teacher_dir, seeds = artifacts.find("txt-base"), students()
    made = ",".join(artifacts.digest(paths["folder"] / artifacts.MANIFEST)[:12] for paths in seeds)
    for workload in datasets.TEXT_WORKLOADS:
        measure = partial(quality_rows, workload=workload, seeds=seeds, teacher_dir=teacher_dir)
        kept(results, f"quality-{workload}", measure, made)
    int8_ways(results, seeds)
    operator_rows(results, seeds)


def time_rows(results: Results) -> None:
    """What a quiet machine must say."""
    if NO_TIMES:
        return
    seeds, teacher = students(), TextClassifier(artifacts.find("txt-base"))
    for workload in datasets.TEXT_WORKLOADS:
        speed_rows(results, workload, seeds, teacher)
    overhead_rows(results, seeds)


# --- students -------------------------------------------------------------------------------------------------------


def students() -> list[dict[str, Path]]:
    return [student_of(seed, artifacts.find("txt-base")) for seed in SEEDS[: 1 if TRIAL else None]]


def student_of(seed: int, teacher_dir: Path) -> dict[str, Path]:
    """A seed's artifact and its working folder, trained now where they aren't there. A cut run goes on."""
    root = artifacts.home() / SEED_FOLDER / (f"trial-{seed}" if TRIAL else f"seed-{seed}")
    folder, work = root / "txt-edge", root / "work"
    if not (folder / artifacts.MANIFEST).is_file() and WEIGHTS and not TRIAL:
        weights = Path(WEIGHTS) / f"student-{seed}.safetensors"
        finish_trained(folder, weights, teacher_dir=teacher_dir, work=work, progress=print)
        shutil.rmtree(work / "forms", ignore_errors=True)
    if not (folder / artifacts.MANIFEST).is_file():
        print(f"  training the student of seed {seed}", flush=True)
        config = replace(SHIPPED, seed=seed, epochs=1 if TRIAL else SHIPPED.epochs)
        make_edge(
            folder,
            teacher_dir=teacher_dir,
            work=work,
            config=config,
            limit=12 if TRIAL else None,
            progress=print,
        )
        for name in ("student", "forms"):
            shutil.rmtree(work / name, ignore_errors=True)  # checkpoints have done their work
    return {"folder": folder, "work": work}


def _unblocked(path: Path, target: Path) -> Path:
    """A copy whose gate lets everything through: what 8 bits change is measured apart from what the operator stops."""
    shutil.copyfile(path, target)
    set_tau(target, np.full(len(KINDS), 2.0))
    return target


# --- quality --------------------------------------------------------------------------------------------------------


def quality_rows(results: Results, workload: str, seeds: list[dict[str, Path]], teacher_dir: Path) -> None:
    """Accuracy against teacher and TF-IDF, and what 8 bits cost, per seed."""
    reader = Reader(trunk.ensure_trunk(artifacts.home()))
    rows, labels = datasets.load(workload, "val"), datasets.label_names(workload)
    rows = rows.take(range(40)) if TRIAL else rows
    val = reader.part(rows.texts, np.array([labels.index(label) for label in rows.labels]), labels)
    copies = -(-max(0, LEAST_ROWS - len(val)) // len(val))
    more = augment.augment(val.texts, copies, 99) if copies else []
    both = reader.part(val.texts + more, np.concatenate([val.y, np.zeros(len(more), int)]), labels)
    teacher = cached_logits(teacher_dir, workload, val.features).argmax(axis=1) == val.y
    found: dict[str, list[float]] = {
        name: [] for name in ("share", "loss", "high", "agreement", "tfidf", "student")
    }
    for paths in seeds:
        manifest = artifacts.load_manifest(paths["folder"])
        names = list(manifest["heads"])
        served = edge_artifact.logits_of(paths["folder"] / edge_artifact.MODEL, names, workload, val)
        right = (served.argmax(axis=1) == val.y) & np.isfinite(served).all(axis=1)
        whole = _unblocked(paths["folder"] / edge_artifact.MODEL, paths["work"] / "open-int8.onnx")
        single = _unblocked(paths["work"] / edge_artifact.FLOAT_MODEL, paths["work"] / "open-fp32.onnx")
        before, after = (edge_artifact.logits_of(path, names, workload, both) for path in (single, whole))
        told = compare(before[: len(val)], after[: len(val)], val.y)["loss_points"]
        found["loss"].append(told["value"])
        found["high"].append(told["high"])
        found["agreement"].append(float((before.argmax(axis=1) == after.argmax(axis=1)).mean()))
        found["student"].append(float(right.mean()))
        found["share"].append(float(right.mean() / teacher.mean()))
        found["tfidf"].append(manifest["metrics"][workload]["tfidf"]["value"])
    n = f"{len(val):,} validation rows"
    results.add(
        f"int8_loss_points_{workload}", found["loss"], "pts",
        f"accuracy of the float32 student less that of its 8-bit form on {n}; three seeds", at_most=1.0,
    )  # fmt: skip
    results.add(
        f"int8_loss_points_high_{workload}", found["high"], "pts",
        "upper 95 % bound of the same; wide where rows are few", control=True,
    )  # fmt: skip
    results.add(
        f"agreement_{workload}", found["agreement"], "",
        f"float32 and 8-bit student give the same label: {n} and {len(more):,} broken copies of them", at_least=0.985,
    )  # fmt: skip
    results.add(
        f"accuracy_share_{workload}", found["share"], "",
        f"student's accuracy over the teacher's on {n}; what its operator stops counts as wrong; three seeds",
        at_least=0.96,
    )  # fmt: skip
    results.add(f"accuracy_student_{workload}", found["student"], "", f"on {n}, three seeds", control=True)
    results.add(f"accuracy_teacher_{workload}", [float(teacher.mean())], "", f"txt-base on {n}", control=True)
    results.add(
        f"above_tfidf_points_{workload}", [100 * (a - b) for a, b in zip(found["student"], found["tfidf"], strict=True)],
        "pts", "student's accuracy less that of TF-IDF with logistic regression on the same rows", at_least=0.0, control=True,
    )  # fmt: skip


# --- speed ----------------------------------------------------------------------------------------------------------


def speed_rows(
    results: Results, workload: str, seeds: list[dict[str, Path]], teacher: TextClassifier
) -> None:
    """Teacher and students in turns, through the runner that serves, tokenizer and all, one thread."""
    texts = datasets.load(workload, "val").texts[: 16 if TRIAL else 96]
    told: dict[str, list[float]] = {name: [] for name in ("speedup_b1", "speedup_throughput", "cost_share")}
    p50 = []
    for paths in seeds:
        student = TextClassifier(paths["folder"])
        asks = {
            "teacher": figures.answer_by(teacher, workload),
            "student": figures.answer_by(student, workload),
        }
        times = figures.compare_times(asks, texts, repeats=1 if TRIAL else ROUNDS)
        told["speedup_b1"].append(times["teacher"]["p50_ms"] / times["student"]["p50_ms"])
        told["speedup_throughput"].append(times["student"]["per_second"] / times["teacher"]["per_second"])
        told["cost_share"].append(times["student"]["cpu_ns_per_1000"] / times["teacher"]["cpu_ns_per_1000"])
        p50.append(times["student"]["p50_ms"])
    how = "txt-base (8-bit experts, float32 elsewhere) and the student in turns, one thread, the runner that serves"
    results.add(
        f"speedup_b1_{workload}", told["speedup_b1"], "x", f"one text alone, median: {how}", at_least=12
    )
    results.add(
        f"speedup_throughput_{workload}", told["speedup_throughput"], "x", f"256 texts in one call: {how}"
    )
    results.add(
        f"cost_share_{workload}", told["cost_share"], "", f"processor seconds of 1,000 answers in calls of 256: {how}",
        at_most=0.03,
    )  # fmt: skip
    results.add(f"p50_ms_student_{workload}", p50, "ms", "the same run", control=True)


def overhead_rows(results: Results, seeds: list[dict[str, Path]]) -> None:
    """The same student with and without its operator, in turns: as it is served with its tokenizer, and the graph alone."""
    tokenizer = tokens.load_tokenizer(seeds[0]["folder"] / "tokenizer.json")
    texts = datasets.load("support-intent", "val").texts[: 8 if TRIAL else 200]
    found: dict[str, list[float]] = {"answer": [], "graph": [], "answer_32": []}
    for paths in seeds:
        names = list(artifacts.load_manifest(paths["folder"])["heads"])
        files = {"plain": edge_artifact.PLAIN_MODEL, "gated": edge_artifact.MODEL}
        folders = {"plain": paths["work"], "gated": paths["folder"]}
        sessions = {
            which: GatedFile(folders[which] / file, names).session("support-intent")
            for which, file in files.items()
        }
        for metric, whole, size in (("answer", True, 1), ("graph", False, 1), ("answer_32", True, 32)):
            calls = [texts[at : at + size] for at in range(0, len(texts), size)]
            turns = 1 if TRIAL else ROUNDS * (1 if size == 1 else 8)
            found[metric].append(overhead.added_pct(sessions, tokenizer, calls, whole=whole, turns=turns))
    how = "with the operator against the same file without it, in turns; three seeds"
    results.add(
        "operator_overhead_pct", found["answer"], "%", f"median answer to one text, tokenizer included, {how}",
        at_most=2.0,
    )  # fmt: skip
    results.add(
        "operator_overhead_graph_pct",
        found["graph"],
        "%",
        "the graph alone, without the tokenizer",
        control=True,
    )
    results.add(
        "operator_overhead_32_pct",
        found["answer_32"],
        "%",
        "32 texts in one call, tokenizer included",
        control=True,
    )


# --- operator and 8 bits --------------------------------------------------------------------------------------------


def operator_rows(results: Results, seeds: list[dict[str, Path]]) -> None:
    """What the gate stops, as its manifest measured it on the very file."""
    gates = [artifacts.load_manifest(paths["folder"])["gate"] for paths in seeds]
    places: dict[str, tuple[str, ...]] = {
        "operator_benign_blocked": ("benign",), "operator_recall_unseen_forms": ("unseen", "all"),
        "operator_recall_planted": ("planted", "all"),
        "operator_planted_harmless_blocked": ("planted", "harmless_blocked"),
        "operator_recall_tweets": ("tweets", "recall"), "operator_recall_hatecheck": ("hatecheck", "recall"),
        "operator_hatecheck_harmless_blocked": ("hatecheck", "harmless_blocked"),
    }  # fmt: skip
    for metric, place in places.items():
        values = []
        for gate in gates:
            found: Any = gate
            for name in place:
                found = found[name]
            values.append(float(found["value"] or 0.0))
        bounds = {
            "operator_recall_planted": {"at_least": 0.95},
            "operator_benign_blocked": {"at_most": 0.01},
        }.get(metric, {})
        how = "at the shipped thresholds, on sentences and rows that training never saw; three seeds"
        results.add(metric, values, "", how, control=True, **bounds)  # type: ignore[arg-type]
    gaps = [gate["by_group"]["gap"] * 100 for gate in gates]
    results.add("operator_gap_by_group_points", gaps, "pts", "harmless planted sentences blocked: worst less best group",
                at_most=2.0, control=True)  # fmt: skip


def int8_ways(results: Results, seeds: list[dict[str, Path]]) -> None:
    """Every way to 8 bits beside the one that was kept."""
    reports = [artifacts.load_manifest(paths["folder"])["quantisation"] for paths in seeds]
    for way in reports[0]["methods"]:
        values = [report["methods"][way]["reported"]["agreement"] for report in reports]
        kept = sum(report["method"] == way for report in reports)
        results.add(
            f"int8_agreement_{way}", values, "",
            f"body alone by this way, rows that chose nothing; kept for {kept} of {len(reports)} seeds", control=True,
        )  # fmt: skip


PARTS = {"students": student_rows, "structure": structure_rows, "times": time_rows}

if __name__ == "__main__":
    main(sys.argv[1:])
