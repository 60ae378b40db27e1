"""The distilled student as an artifact: 8 bits, gate, thresholds, golden set, figures, card.

write the float body → choose its 8-bit form → put heads and gate into one file → set the gate's thresholds on that very
file → keep answers to recognise it by → measure
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml import export, features, tokens, trunk
from modelhub.ml.distill.targets import cached_logits
from modelhub.ml.quantize import choose
from modelhub.ml.risk import operator_figures
from modelhub.ml.risk.operator_templates import KINDS
from modelhub.ml.text import card, edge_graph, evaluate
from modelhub.ml.text.base import add_elapsed
from modelhub.ml.text.blend import fit_blend
from modelhub.ml.text.corpus import Part, Parts
from modelhub.ml.text.gate_graph import answer_names, set_tau
from modelhub.ml.text.golden import write_golden
from modelhub.ml.text.lessons import Reader
from modelhub.ml.text.student import Student
from modelhub.serving.gated import GatedFile

MODEL, FLOAT_MODEL, PLAIN_MODEL = "model.onnx", "model-fp32.onnx", "model-without-operator.onnx"
CALIBRATION_ROWS = 256
LearnOn = Callable[
    [list[Path]], dict[str, Any]
]  # finished files, the served one first → what the manifest tells of it


@dataclass(frozen=True, slots=True)
class Naming:
    """What the artifact is called, and what its card says it was made by."""

    id: str = "txt-edge"
    version: str = "2"
    command: str = "python -m modelhub.ml.train.text --model txt-edge"
    machine: str = "2 CPU cores"


def finish(
    out: Path,
    student: Student,
    parts: dict[str, Parts],
    curve: list[dict[str, float]],
    *,
    teacher_dir: Path,
    work: Path,
    seed: int,
    started: float,
    limit: int | None = None,
    naming: Naming | None = None,
    kept: Path | None = None,
    learn_on: LearnOn | None = None,
) -> dict[str, Any]:
    """Write the artifact of a trained student; gives its manifest. `kept`: where the TF-IDF row's answers are kept.

    `learn_on` may change heads and operator in the finished files, all alike, before thresholds are set.
    """
    naming = naming or Naming()
    trunk_dir = trunk.ensure_trunk(artifacts.home())
    out.mkdir(parents=True, exist_ok=True)
    single = write_float_body(student, parts["val"], work)
    quantised = choose.quantise(
        single,
        work / "body-int8.onnx",
        make_judge(student, parts["val"]),
        calibration_feeds(parts["train"], seed),
        work=work / "forms",
    )
    assemble(student, work / "body-int8.onnx", out / MODEL)
    assemble(student, single, work / FLOAT_MODEL)  # to compare with; it isn't part of the artifact
    assemble(student, work / "body-int8.onnx", work / PLAIN_MODEL, operator=False)
    told = learn_on([out / MODEL, work / FLOAT_MODEL, work / PLAIN_MODEL]) if learn_on is not None else {}
    shutil.copyfile(trunk_dir / "tokenizer.json", out / "tokenizer.json")
    operator = calibrate_gate(out / MODEL, student.names, Reader(trunk_dir), seed, limit)
    write_golden(out, out / MODEL, student.names, parts["val"], Reader(trunk_dir))
    results = {"int8": quantised.report, "distillation": {"curve": curve, "learnt_on": told}}
    return describe(
        out, student, parts, results, teacher_dir=teacher_dir, work=work, seed=seed, naming=naming,
        operator=operator, kept=kept, seconds=add_elapsed(work, started),
    )  # fmt: skip


def describe(
    out: Path,
    student: Student,
    parts: dict[str, Parts],
    results: dict[str, Any],
    *,
    teacher_dir: Path,
    work: Path,
    seed: int,
    naming: Naming,
    operator: dict[str, Any],
    kept: Path | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Manifest and card of a finished file; gives the manifest. `results`: reports of the stages `int8` and `distillation`."""
    served = {name: logits_of(out / MODEL, student.names, name, part) for name, part in parts["val"].items()}
    heads, metrics = heads_of(student.names, served, parts["train"], parts["val"], teacher_dir, kept or work)
    shape = student.encoder.shape
    manifest = {
        "id": naming.id,
        "kind": "text-classifier",
        "version": naming.version,
        "sparse": False,
        "precision": "int8",
        "requires": {},
        "bias_operator": "required",
        "gate": operator,
        "shape": {
            "width": shape.width,
            "attention_heads": shape.attention_heads,
            "hidden": shape.hidden,
            "risk_hidden": shape.risk_hidden,
        },
        "heads": heads,
        "max_tokens": trunk.MAX_TOKENS,
        "wide_tokens": features.WIDE_TOKENS,
        "metrics": metrics,
        "quantisation": {**results["int8"], "int8_loss_points": results["int8"]["loss_points"]},
        "parameters": count(student),
        "train": {
            "command": naming.command,
            "seed": seed,
            "seconds": seconds or 0,
            "machine": naming.machine,
            "teacher": artifacts.load_manifest(teacher_dir)["files"]["body"]["sha256"],
            "temperature": "5 to 1",
            "plateau": False,
            "curve": results["distillation"]["curve"],
            **results["distillation"].get("learnt_on", {}),
        },
        "created": date.today().isoformat(),
    }
    files = {"body": MODEL, "tokenizer": "tokenizer.json", "golden": "golden.json"}
    manifest = artifacts.write_manifest(out, manifest, files)
    card.write(out, manifest)
    return manifest


def write_float_body(student: Student, val: Parts, work: Path) -> Path:
    """The encoder in float32, held against the network. Raises ParityBroken."""
    target = work / "body-fp32.onnx"
    edge_graph.write_student_body(export.state_arrays(student.encoder), student.encoder.shape, target)
    part = next(iter(val.values()))
    ids, mask = tokens.pad([features.cut(row) for row in part.features.ids[:16]])
    student.eval()
    with torch.no_grad():
        expected = student.encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    export.check_parity(target, {"input_ids": ids, "attention_mask": mask}, expected)
    return target


def make_judge(student: Student, val: Parts) -> choose.Judge:
    """Compares bodies by the heads' answers to all validation rows; every second row may choose."""
    width = max(len(part.labels) for part in val.values())
    sides = {name: student.wide(name).quantised().logits(part.features.ids) for name, part in val.items()}

    def logits(path: Path) -> np.ndarray:
        session, found = features.open_session(path), []
        for name, part in val.items():
            head = student.linear(name)
            weight, bias = (p.detach().numpy() for p in (head.weight, head.bias))
            own = _vectors(session, part) @ weight.T + bias + sides[name]
            found.append(np.pad(own, ((0, 0), (0, width - own.shape[1])), constant_values=-np.inf))
        return np.concatenate(found)

    y = np.concatenate([part.y for part in val.values()])
    return choose.Judge(logits, y, np.arange(len(y)) % 2 == 0)


def _vectors(session: Any, part: Part) -> np.ndarray:
    rows = [features.cut(row) for row in part.features.ids]
    found: np.ndarray | None = None
    for group in tokens.batches_by_length([len(row) for row in rows], 4096, 64):
        ids, mask = tokens.pad([rows[i] for i in group])
        got = session.run(["features"], {"input_ids": ids, "attention_mask": mask})[0]
        found = np.zeros((len(rows), got.shape[1]), np.float32) if found is None else found
        found[group] = got
    assert found is not None
    return found


def calibration_feeds(train: Parts, seed: int) -> list[dict[str, np.ndarray]]:
    """Training rows of every workload as inputs of the body, in batches of like length."""
    rng, rows = np.random.default_rng(seed), []
    for part in train.values():
        rows += [features.cut(part.features.ids[i]) for i in rng.permutation(len(part))[:CALIBRATION_ROWS]]
    groups = tokens.batches_by_length([len(row) for row in rows], 2048, 32)
    return [
        dict(zip(("input_ids", "attention_mask"), tokens.pad([rows[i] for i in group]), strict=True))
        for group in groups
    ]


def assemble(student: Student, body: Path, target: Path, *, operator: bool = True) -> None:
    """The whole student in one file; `operator=False` leaves the gate out, to measure its cost by."""
    heads = {}
    for name in student.names:
        head = student.linear(name)
        weight, bias = (p.detach().numpy() for p in (head.weight, head.bias))
        heads[name] = edge_graph.HeadParts(weight, bias, student.wide(name).quantised())
    inner, outer = student.risk.inner, student.risk.outer
    parts = [p.detach().numpy() for p in (inner.weight, inner.bias, outer.weight, outer.bias)]
    edge_graph.write_gated(body, heads, edge_graph.RiskParts(*parts) if operator else None, target)


def calibrate_gate(
    path: Path, names: list[str], reader: Reader, seed: int, limit: int | None = None
) -> dict[str, Any]:
    """Set the gate's thresholds on the finished file and measure it there; gives the manifest's `gate` entry."""
    scored = risk_reader(path, names, reader)
    found = operator_figures.choose_tau(scored, seed, limit)
    tau = np.array([found["tau"][kind] for kind in KINDS], np.float32)
    set_tau(path, tau)
    return {"kinds": list(KINDS), **found, **operator_figures.measure(scored, tau, seed, limit)}


def risk_reader(path: Path, names: list[str], reader: Reader) -> Callable[[list[str]], np.ndarray]:
    """Risk of texts, (N, K), as the finished file gives it."""
    answered = GatedFile(path, names)

    def scored(texts: list[str]) -> np.ndarray:
        ids = reader.read(texts)
        found = np.zeros((len(ids), len(KINDS)), np.float32)
        for group in tokens.batches_by_length([len(row) for row in ids], 4096, 64):
            found[group] = answered.run(names[0], [ids[i] for i in group]).risk
        return found

    return scored


def logits_of(path: Path, names: list[str], name: str, part: Part) -> np.ndarray:
    """Gated logits of a workload's rows from the finished file; blocked rows are −inf. Gives (N, L)."""
    answered = GatedFile(path, names)
    found = np.zeros((len(part), len(part.labels)), np.float32)
    for group in tokens.batches_by_length([len(row) for row in part.features.ids], 4096, 64):
        found[group] = answered.run(name, [part.features.ids[i] for i in group]).logits
    return found


def heads_of(
    names: list[str],
    served: dict[str, np.ndarray],
    train: Parts,
    val: Parts,
    teacher_dir: Path,
    kept: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels and temperature of each head, and how it does: a blocked row counts as wrong."""
    heads, metrics = {}, {}
    for name, part in val.items():
        logits = served[name]
        passed = np.isfinite(logits).all(axis=1)
        blend = fit_blend(logits[passed], np.zeros_like(logits[passed]), part.y[passed])
        teacher = cached_logits(teacher_dir, name, part.features)
        wrong = -1e4 * (np.arange(logits.shape[1]) != ((part.y + 1) % logits.shape[1])[:, None])
        shown = np.where(
            passed[:, None], logits, wrong
        )  # whatever was stopped has another label than the right one
        metrics[name] = evaluate.validation_row(name, train[name], part, shown / blend.temperature, kept)
        metrics[name]["teacher_agreement"] = round(
            float((logits.argmax(1) == teacher.argmax(1))[passed].mean()), 4
        )
        metrics[name]["teacher_accuracy"] = round(float((teacher.argmax(1) == part.y).mean()), 4)
        metrics[name]["blocked"] = int((~passed).sum())
        outputs = answer_names(name, len(names) > 1)
        heads[name] = {
            "labels": part.labels, "output": outputs[0], "blocked": outputs[1],
            "temperature": round(blend.temperature, 6),
        }  # fmt: skip
    return heads, metrics


def count(student: Student) -> dict[str, float]:
    """Parameters; those of n-gram tables and token embeddings are looked up, not multiplied."""
    total = sum(p.numel() for p in student.parameters())
    tables = sum(p.numel() for p in student.parameters_of(sparse=True))
    embedding = tables + student.encoder.words.weight.numel() + student.encoder.places.weight.numel()
    return {
        "total": total,
        "active": total - embedding,
        "non_embedding": total - embedding,
        "active_share": 1.0,
    }
