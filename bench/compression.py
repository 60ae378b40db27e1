"""Compression measured again: three students, each stage's cost, separation with its controls, the operator's time.

Students of three seeds are trained into `$SWITCHYARD_HOME/bench/compression` and kept there: the first run takes about twenty
minutes a seed on one quiet core, a later one finds them; `COMPRESSION_WEIGHTS=DIR` takes `student-<seed>.safetensors` that
`modelhub.ml.text.edge_carry` trained elsewhere. So are the figures that no clock takes part in: `NO_TIMES=1` makes
these beside other work, `BENCH_RESUME=1` takes them over. `COMPRESSION_TRIAL=1` tries everything at a small size and writes
nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import Results
from bench.tools import overhead
from bench.tools.parts import part
from modelhub import artifacts
from modelhub.ml import datasets, tokens, trunk
from modelhub.ml.compress import figures, two_hundred
from modelhub.ml.distill.targets import cached_logits
from modelhub.ml.quantize.choose import compare
from modelhub.ml.risk.operator_templates import KINDS
from modelhub.ml.text import augment, edge_artifact
from modelhub.ml.text.edge import SHIPPED, finish_trained, make_edge
from modelhub.ml.text.gate_graph import set_tau
from modelhub.ml.text.lessons import Reader
from modelhub.serving.gated import GatedFile
from modelhub.serving.runners.text import TextClassifier

WEIGHTS = os.environ.get("COMPRESSION_WEIGHTS", "")
TRIAL, NO_TIMES = bool(os.environ.get("COMPRESSION_TRIAL")), bool(os.environ.get("NO_TIMES"))
SEEDS = (1, 2, 3)
LEAST_ROWS = 1000
ROUNDS = 7
SEED_FOLDER = "bench/compression"


def main() -> None:
    import torch

    torch.set_num_threads(1)
    results = Results("compression")
    teacher_dir = artifacts.find("txt-base")
    seeds = [student_of(seed, teacher_dir) for seed in SEEDS[: 1 if TRIAL else None]]
    teacher = TextClassifier(teacher_dir)
    made = ",".join(artifacts.digest(paths["folder"] / artifacts.MANIFEST)[:12] for paths in seeds)

    def kept(name: str, measure: Callable[[Results], None], key: str = made) -> None:
        if TRIAL:
            measure(results)
        else:
            part(results, artifacts.home() / SEED_FOLDER / "parts", name, key, measure)

    for workload in datasets.TEXT_WORKLOADS:
        kept(
            f"quality-{workload}",
            partial(quality_rows, workload=workload, seeds=seeds, teacher_dir=teacher_dir),
        )
    int8_ways(results, seeds)
    operator_rows(results, seeds)
    mark = f"{trunk.WEIGHTS_SHA256[:12]}-{separation_mark()}"
    kept("separation", separation_rows, mark)  # no student takes part in these
    kept("redundancy", redundancy_rows, "two-hundred")
    kept("knowledge", knowledge_rows, artifacts.digest(artifacts.find("code-kb") / artifacts.MANIFEST)[:12])
    if NO_TIMES:
        print(
            "  NO_TIMES: every part without a clock is kept; run again with BENCH_RESUME=1 on a quiet machine"
        )
        return
    for workload in datasets.TEXT_WORKLOADS:
        speed_rows(results, workload, seeds, teacher)
    overhead_rows(results, seeds)
    if not TRIAL:
        results.write()


# --- students -------------------------------------------------------------------------------------------------------


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


# --- structure ------------------------------------------------------------------------------------------------------


def separation_mark() -> str:
    """Names the settings: what was kept under others counts for nothing."""
    from modelhub.ml.compress.recover import Separation

    return hashlib.sha256(repr(Separation()).encode()).hexdigest()[:8]


def _tell_step(told: dict[str, Any]) -> None:
    if told["step"] % 25 == 0:
        print(f"  {told}", flush=True)


def separation_rows(results: Results) -> None:
    """The pretrained trunk's dense parts in sixteen experts, four of which answer, with both controls; three seeds."""
    from modelhub.ml.compress.recover import MOST_STEPS, Reference, Separation, few, run
    from modelhub.ml.text.pretrained import load_corpus

    corpus, rows = load_corpus()
    rows = {"train": few(rows["train"], 20 if TRIAL else 1500), "val": few(rows["val"], 10 if TRIAL else 500)}
    told: dict[str, list[float]] = {
        name: [] for name in ("share", "random_share", "ffn_zero_share", "before", "random_before", "active")
    }
    reference = Reference.of(corpus, rows)
    for seed in SEEDS[: 1 if TRIAL else None]:
        work = artifacts.home() / SEED_FOLDER / f"separation-{separation_mark()}-{seed}"
        config = Separation(steps=3 if TRIAL else MOST_STEPS, seed=seed)
        found = run(
            corpus, rows, config, reference=reference, work=None if TRIAL else work, progress=_tell_step
        )
        for name in ("share", "random_share", "ffn_zero_share"):
            told[name].append(found[name])
        for name, who in (("before", "learned_router"), ("random_before", "random_router")):
            told[name].append(found[who]["before"]["mean"] / found["dense"]["mean"])
        told["active"].append(found["active_share_ffn"])
    how = "MiniLM, six workloads' mean accuracy by fixed linear heads, over the dense trunk's; 200 recovery steps; three seeds"
    results.add(
        "separation_share_25",
        told["share"],
        "",
        f"16 experts a block, 4 answer a token: {how}",
        at_least=0.99,
    )
    results.add(
        "random_router_share_25", told["random_share"], "", f"the same with experts chosen by chance: {how}"
    )
    results.add(
        "ffn_zero_share", told["ffn_zero_share"], "", "every feed-forward part left out", control=True
    )
    results.add("separation_share_25_before", told["before"], "", "before any recovery step", control=True)
    results.add(
        "random_router_share_25_before",
        told["random_before"],
        "",
        "by chance, before any recovery step",
        control=True,
    )
    results.add(
        "separation_active_share_ffn",
        told["active"],
        "",
        "feed-forward parameters a token touches, router and shifts among them, over the dense part's",
        control=True,
    )


def redundancy_rows(results: Results) -> None:
    """Two hundred small experts: planted pairs found, merged by function and by chance."""
    config = two_hundred.TwoHundred(steps=20) if TRIAL else two_hundred.TwoHundred()
    runs = [
        two_hundred.run(two_hundred.TwoHundred(seed=seed, steps=config.steps))
        for seed in SEEDS[: 1 if TRIAL else None]
    ]
    how = "200 experts, d=32, 40 planted pairs; squared error over the target's variance; three seeds"
    for metric in (
        "planted_pairs_found",
        "error",
        "error_merged",
        "error_pruned",
        "error_merged_by_chance",
        "groups",
    ):
        results.add(f"two_hundred_{metric}", [run[metric] for run in runs], "", how, control=True)


def knowledge_rows(results: Results) -> None:
    """What doesn't survive: facts."""
    from modelhub.ml.distill.knowledge import load_teacher, survive

    teacher = load_teacher(artifacts.find("code-kb"))
    runs = [survive(teacher, steps=3 if TRIAL else 600, seed=seed) for seed in SEEDS[: 1 if TRIAL else None]]
    results.add(
        "knowledge_surviving_share", [run["share"] for run in runs], "",
        f"facts that a student of code-kb recalls over those of its teacher ({runs[0]['teacher_recalled']:.1%}); three seeds",
        control=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
