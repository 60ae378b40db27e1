"""`txt-edge`: the student, distilled from `txt-base` and quantised to 8 bits, as one artifact."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml import export, features, tokens, trunk
from modelhub.ml.distill.loop import DistillConfig, Lesson, distill, student_logits
from modelhub.ml.distill.targets import teacher_logits
from modelhub.ml.quantize.ptq import loss_points, quantise_dynamic
from modelhub.ml.text import augment, card, edge_graph, evaluate, graphs, wide
from modelhub.ml.text.base import WIDE, add_elapsed
from modelhub.ml.text.blend import fit_blend
from modelhub.ml.text.corpus import Part, Parts, load_parts
from modelhub.ml.text.student import Student, StudentShape
from modelhub.ml.train.loop import Progress

COPIES = {
    "support-intent": 1,
    "assistant-intent": 1,
    "support-sentiment": 6,
    "contract-clauses": 0,
    "terms-review": 1,
    "clinical-notes": 1,
}


@dataclass(frozen=True, slots=True)
class EdgeTraining:
    """The run of `make_edge`; `copies` multiplies the broken texts a workload adds (0 leaves them out)."""

    epochs: int = 8
    batch: int = 128
    copies: float = 1.0
    seed: int = 1


def make_edge(
    out: Path,
    *,
    teacher_dir: Path,
    work: Path,
    config: EdgeTraining,
    limit: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Distil, quantise, check and describe `txt-edge`; gives its manifest. Resumes from `work`."""
    started, shape = time.monotonic(), StudentShape()
    trunk_dir = trunk.ensure_trunk(artifacts.home())
    work.mkdir(parents=True, exist_ok=True)
    train, val = (load_parts(split, trunk_dir, limit=limit) for split in ("train", "val"))
    copies = 0.0 if limit is not None else config.copies
    lessons = {
        name: _lesson(name, part, teacher_dir, trunk_dir, copies, config.seed) for name, part in train.items()
    }
    torch.manual_seed(config.seed)
    student = Student(shape, {name: _start_table(name, part, work) for name, part in train.items()})
    run = DistillConfig(epochs=config.epochs, batch=config.batch, seed=config.seed)
    curve = distill(student, lessons, run, work=work / "student", progress=progress)
    return _finish(out, student, train, val, teacher_dir, trunk_dir, work, config, curve, started)


def _lesson(name: str, part: Part, teacher_dir: Path, trunk_dir: Path, copies: float, seed: int) -> Lesson:
    rows = part.features
    y = part.y
    count = round(COPIES[name] * copies)
    if count:
        more = features.cached(augment.augment(part.texts, count, seed), trunk_dir)
        rows = features.Features(np.concatenate([rows.pooled, more.pooled]), rows.ids + more.ids)
        y = np.concatenate([y, np.full(len(more.ids), -1)])
    return Lesson(rows.ids, teacher_logits(teacher_dir, name, rows), y)


def _start_table(name: str, part: Part, work: Path) -> tuple[wide.WideTable, float]:
    path = work / f"wide-{name}.npz"
    if not path.is_file():
        table = wide.fit(part.features.ids, part.y, len(part.labels), WIDE[name])
        np.savez(path, **{field: getattr(table, field) for field in wide.WideTable.__slots__})
    with np.load(path) as stored:
        return wide.WideTable(**dict(stored)), 1.0


def _finish(
    out: Path,
    student: Student,
    train: Parts,
    val: Parts,
    teacher_dir: Path,
    trunk_dir: Path,
    work: Path,
    config: EdgeTraining,
    curve: list[dict[str, float]],
    started: float,
) -> dict[str, Any]:
    files = _write(out, student, trunk_dir, work, val)
    metrics, heads, losses = {}, {}, {}
    body = features.open_session(out / "body.onnx")
    for name, part in val.items():
        served = _served_logits(out, body, name, part)
        single = _torch_logits(student, name, part)
        blend = fit_blend(served, np.zeros_like(served), part.y)
        teacher = teacher_logits(teacher_dir, name, part.features)
        metrics[name] = evaluate.validation_row(name, train[name], part, served / blend.temperature, work)
        metrics[name]["teacher_agreement"] = round(float((served.argmax(1) == teacher.argmax(1)).mean()), 4)
        heads[name] = {"labels": part.labels, "output": "logits", "temperature": round(blend.temperature, 6)}
        losses[name] = (single.argmax(1) == part.y, served.argmax(1) == part.y)
    right = [np.concatenate([pair[i] for pair in losses.values()]) for i in range(2)]
    manifest = {
        "id": "txt-edge",
        "kind": "text-classifier",
        "version": "1",
        "sparse": False,
        "precision": "int8",
        "requires": {},
        "heads": heads,
        "max_tokens": trunk.MAX_TOKENS,
        "wide_tokens": features.WIDE_TOKENS,
        "metrics": metrics,
        "quantisation": {"int8_loss_points": loss_points(*right), "n": len(right[0]), "method": "dynamic"},
        "parameters": _count(student),
        "train": {
            "command": "python -m modelhub.ml.train.text --model txt-edge",
            "seed": config.seed,
            "seconds": add_elapsed(work, started),
            "machine": "2 CPU cores",
            "teacher": artifacts.load_manifest(teacher_dir)["files"]["body"]["sha256"],
            "temperature": "5 to 1",
            "curve": curve,
        },
        "created": date.today().isoformat(),
    }
    manifest = artifacts.write_manifest(out, manifest, files)
    card.write(out, manifest)
    return manifest


def _write(out: Path, student: Student, trunk_dir: Path, work: Path, val: Parts) -> dict[str, str]:
    out.mkdir(parents=True, exist_ok=True)
    single = work / "body-fp32.onnx"
    edge_graph.write_student_body(export.state_arrays(student.encoder), student.encoder.shape, single)
    sample = next(iter(val.values())).take(np.arange(min(16, len(next(iter(val.values()))))))
    ids, mask = tokens.pad([features.cut(row) for row in sample.features.ids])
    with torch.no_grad():
        expected = student.encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    export.check_parity(single, {"input_ids": ids, "attention_mask": mask}, expected)
    quantise_dynamic(single, out / "body.onnx")
    shutil.copyfile(trunk_dir / "tokenizer.json", out / "tokenizer.json")
    files = {"body": "body.onnx", "tokenizer": "tokenizer.json"}
    for name in student.names:
        head = student.linear(name)
        weight, bias = (p.detach().numpy() for p in (head.weight, head.bias))
        graphs.write_head(out / f"{name}.onnx", weight, bias, student.wide(name).quantised(), 1.0)
        files[f"head:{name}"] = f"{name}.onnx"
    return files


def _served_logits(out: Path, body: Any, name: str, part: Part) -> np.ndarray:
    head = features.open_session(out / f"{name}.onnx")
    found = np.zeros((len(part), len(part.labels)), np.float32)
    for group in tokens.batches_by_length([len(row) for row in part.features.ids], 8192, 128):
        rows = [part.features.ids[i] for i in group]
        short, short_mask = tokens.pad([features.cut(row) for row in rows])
        vector = body.run(["features"], {"input_ids": short, "attention_mask": short_mask})[0]
        ids, mask = tokens.pad(rows)
        found[group] = head.run(["logits"], {"input_ids": ids, "attention_mask": mask, "features": vector})[0]
    return found


@torch.no_grad()
def _torch_logits(student: Student, name: str, part: Part) -> np.ndarray:
    student.eval()
    bags = student.wide(name).bags(part.features.ids)
    chunks = [np.arange(start, min(start + 128, len(part))) for start in range(0, len(part), 128)]
    ids = part.features.ids
    return np.concatenate(
        [student_logits(student, name, [ids[i] for i in c], [bags[i] for i in c]).numpy() for c in chunks]
    )


def _count(student: Student) -> dict[str, float]:
    total = sum(p.numel() for p in student.parameters())
    tables = sum(p.numel() for p in student.parameters_of(sparse=True))
    embedding = tables + student.encoder.words.weight.numel() + student.encoder.places.weight.numel()
    return {
        "total": total,
        "active": total - embedding,
        "non_embedding": total - embedding,
        "active_share": 1.0,
    }
