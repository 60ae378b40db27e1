"""An untrained student with two heads as a whole artifact: gated, with thresholds at which half of the planted rows block."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml import datasets, features
from modelhub.ml.quantize.ptq import quantise_dynamic
from modelhub.ml.risk.operator import planted_rows
from modelhub.ml.risk.operator_templates import KINDS
from modelhub.ml.text import edge_artifact, wide
from modelhub.ml.text.gate_graph import answer_names, set_tau
from modelhub.ml.text.golden import write_golden
from modelhub.ml.text.lessons import Reader
from modelhub.ml.text.student import Student, StudentShape

READER_FOLDER = artifacts.SHIPPED / "txt-edge"  # its tokenizer is the trunk's
HEADS = ("support-sentiment", "terms-review")


def make_parts(reader: Reader, heads: tuple[str, ...], rows: int = 24) -> dict[str, Any]:
    parts = {}
    for name in heads:
        loaded, labels = datasets.load(name, "val"), datasets.label_names(name)
        y = np.array([labels.index(label) for label in loaded.labels[:rows]])
        parts[name] = reader.part(loaded.texts[:rows], y, labels)
    return parts


def make_student(heads: tuple[str, ...] = HEADS, seed: int = 0) -> tuple[Student, dict[str, Any], Reader]:
    reader = Reader(READER_FOLDER)
    parts = make_parts(reader, heads)
    tables = {
        name: (wide.fit(part.features.ids, part.y, len(part.labels), wide.WideConfig(buckets=1 << 12)), 1.0)
        for name, part in parts.items()
    }
    torch.manual_seed(seed)
    student = Student(StudentShape(16, 2, 32), tables).eval()
    with torch.no_grad():
        student.risk.outer.weight.mul_(8.0)
    return student, parts, reader


def make_artifact(folder: Path, heads: tuple[str, ...] = HEADS, *, name: str = "txt-edge") -> dict[str, Any]:
    """Write it and give its manifest; nothing of it was trained, everything of it is as a trained one's."""
    student, parts, reader = make_student(heads)
    folder.mkdir(parents=True, exist_ok=True)
    work = folder.parent / f"{folder.name}-work"
    work.mkdir(exist_ok=True)
    single = edge_artifact.write_float_body(student, parts, work)
    quantise_dynamic(single, work / "body.onnx")
    edge_artifact.assemble(student, work / "body.onnx", folder / "model.onnx")
    bad = [text for text, kinds in zip(planted_rows().texts, planted_rows().kinds, strict=True) if 1 in kinds]
    risk = edge_artifact.risk_reader(folder / "model.onnx", student.names, reader)(bad[::8])
    tau = np.quantile(risk, 0.8, axis=0).astype(np.float32)
    set_tau(folder / "model.onnx", tau)
    shutil.copyfile(READER_FOLDER / "tokenizer.json", folder / "tokenizer.json")
    write_golden(folder, folder / "model.onnx", student.names, parts, reader)
    entries = {}
    for head, part in parts.items():
        safe, blocked = answer_names(head, len(parts) > 1)
        entries[head] = {"labels": part.labels, "output": safe, "blocked": blocked, "temperature": 1.0}
    manifest = {
        "id": name, "kind": "text-classifier", "version": "1", "sparse": False, "precision": "int8", "requires": {},
        "bias_operator": "required", "heads": entries, "max_tokens": 256, "wide_tokens": features.WIDE_TOKENS,
        "gate": {"kinds": list(KINDS), "tau": {kind: float(value) for kind, value in zip(KINDS, tau, strict=True)}},
        "train": {"plateau": False}, "metrics": {},
    }  # fmt: skip
    files = {"body": "model.onnx", "tokenizer": "tokenizer.json", "golden": "golden.json"}
    return artifacts.write_manifest(folder, manifest, files)
