"""The student's training on another machine: what is taken along, the run there, and what comes back.

`python -m modelhub.ml.text.edge_carry --write DIR` here, where the teacher is; `--from DIR --out DIR --device cuda` there, which
needs neither teacher nor trunk; `python -m modelhub.ml.train.text --model txt-edge --weights FILE` makes the artifact.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from modelhub import artifacts
from modelhub.ml import datasets, trunk
from modelhub.ml.distill.loop import DistillConfig, Lesson, distill, risk_logits, student_logits
from modelhub.ml.risk import operator_figures
from modelhub.ml.risk.operator_templates import KINDS
from modelhub.ml.text import graphs, lessons, neighbours, wide
from modelhub.ml.text.corpus import Part
from modelhub.ml.text.student import Student, StudentShape

COMMAND = (
    "python -m modelhub.ml.text.edge_carry, then python -m modelhub.ml.train.text --model txt-edge --weights"
)
LESSONS, DEEPEST = "lessons.npz", 20.0  # logits further below the best than this say no more
CARRIED_SETS = ("offensive_tweets", "hatecheck")
FIELDS = wide.WideTable.__slots__


# --- what is taken along ---------------------------------------------------------------------------------------------


def write(folder: Path, teacher_dir: Path) -> int:
    """Write what a student's training needs: rows, tokenizer, the teacher's views, tables, words. Gives its bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = lessons.Reader.of(trunk.ensure_trunk(artifacts.home()), teacher_dir)
    shutil.copyfile(trunk.ensure_trunk(artifacts.home()) / "tokenizer.json", folder / "tokenizer.json")
    for source in [datasets.TEXT_SETS[name].folder for name in datasets.TEXT_WORKLOADS] + list(CARRIED_SETS):
        shutil.copytree(datasets.DATA / source, folder / "data" / source, dirs_exist_ok=True)
    manifest = artifacts.verify(teacher_dir)
    held: dict[str, np.ndarray] = {}
    used = [lessons.make_risk_lesson(reader, 1).ids]
    for name, part in lessons.load_parts(reader, "train", datasets.TEXT_WORKLOADS).items():
        lesson = lessons.make_lesson(
            reader, name, part, teacher_dir, copies=lessons.COPIES[name], seed=1, more=neighbours.texts(name)
        )
        held |= {f"{name}/views": _rounded(lesson.teacher), f"{name}/digest": np.array(_digest(lesson.ids))}
        table = graphs.read_head(artifacts.file_of(teacher_dir, manifest, f"head:{name}")).table
        held |= {f"{name}/{field}": getattr(table, field) for field in FIELDS}
        used.append(lesson.ids)
    seen = np.unique(np.concatenate([row for ids in used for row in ids]))
    words = Student(StudentShape(), {}).start_words(lessons.trunk_words())[seen]
    scale = np.abs(words).max(axis=1, keepdims=True) / 127
    held |= {"seen": seen.astype(np.uint16), "word_scale": scale.astype(np.float32)}
    held["words"] = np.rint(words / scale).astype(np.int8)
    np.savez_compressed(folder / LESSONS, **held)  # type: ignore[arg-type]
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _rounded(logits: np.ndarray) -> np.ndarray:
    """Logits below each row's best one, in steps of DEEPEST / 255. Shapes: (N, L) -> (N, L) uint8."""
    below = np.clip(logits - logits.max(axis=1, keepdims=True), -DEEPEST, 0)
    return np.rint(255 * (1 + below / DEEPEST)).astype(np.uint8)


def _read_views(rounded: np.ndarray) -> np.ndarray:
    return ((rounded.astype(np.float32) / 255 - 1) * DEEPEST).astype(np.float32)


def _digest(ids: list[np.ndarray]) -> str:
    total = hashlib.sha256()
    for row in ids:
        total.update(np.asarray(row, np.int32).tobytes() + b"\xff")
    return total.hexdigest()


# --- the run there ---------------------------------------------------------------------------------------------------


def read(folder: Path) -> tuple[lessons.Reader, dict[str, np.ndarray]]:
    """The reader and the arrays of a folder that `write` made; rows are read from it from then on."""
    datasets.DATA = folder / "data"
    with np.load(folder / LESSONS) as stored:
        return lessons.Reader(folder), dict(stored)


def teach(reader: lessons.Reader, held: dict[str, np.ndarray], name: str, part: Part) -> Lesson:
    """A workload's lesson with the views that were taken along. Raises ValueError when the texts came out otherwise."""
    lesson = lessons.make_lesson(
        reader, name, part, Path(), copies=lessons.COPIES[name], seed=1, more=neighbours.texts(name),
        views=_read_views(held[f"{name}/views"]),
    )  # fmt: skip
    if _digest(lesson.ids) != str(held[f"{name}/digest"]):
        raise ValueError(f"the texts of {name} are not those that its teacher was asked about")
    return lesson


def start(held: dict[str, np.ndarray], shape: StudentShape, seed: int) -> Student:
    """A student at its start: the teacher's tables, the trunk's words made narrow (random ones where they don't occur)."""
    torch.manual_seed(seed)
    tables = {
        name: (wide.WideTable(*(held[f"{name}/{field}"] for field in FIELDS)), 1.0)
        for name in datasets.TEXT_WORKLOADS
    }
    student = Student(shape, tables)
    words = held["words"].astype(np.float32) * held["word_scale"]
    with torch.no_grad():
        student.encoder.words.weight[held["seen"].astype(np.int64)] = torch.from_numpy(words)
    return student


def judge(student: Student, val: dict[str, Part], reader: lessons.Reader, seed: int) -> dict[str, Any]:
    """Accuracy on validation rows with and without the operator, at the thresholds it would get, and what it finds."""

    @torch.no_grad()
    def scored(texts: list[str]) -> np.ndarray:
        ids = reader.read(texts)
        found = np.zeros((len(ids), len(KINDS)), np.float32)
        for group in np.array_split(np.argsort([len(row) for row in ids]), max(1, len(ids) // 128)):
            found[group] = risk_logits(student, [ids[i] for i in group]).sigmoid().cpu().numpy()
        return found

    gate = operator_figures.choose_tau(scored, seed)
    tau = np.array([gate["tau"][kind] for kind in KINDS], np.float32)
    gate |= operator_figures.measure(scored, tau, seed)
    found: dict[str, Any] = {"gate": gate, "accuracy": {}, "open": {}}
    for name, part in val.items():
        bags, right = student.wide(name).bags(part.features.ids), np.zeros(len(part), bool)
        for group in np.array_split(
            np.argsort([len(row) for row in part.features.ids]), max(1, len(part) // 128)
        ):
            with torch.no_grad():
                logits = student_logits(
                    student, name, [part.features.ids[i] for i in group], [bags[i] for i in group]
                )
            right[group] = logits.argmax(dim=1).cpu().numpy() == part.y[group]
        passed = (scored(part.texts) < tau).all(axis=1)
        found["open"][name], found["accuracy"][name] = float(right.mean()), float((right & passed).mean())
    return found


def train(
    folder: Path, out: Path, config: DistillConfig, shape: StudentShape, device: str, label: str
) -> dict[str, Any]:
    """Distil one student and write `<label>-<seed>.safetensors` and `.json`; gives what the latter says."""
    started = time.monotonic()
    reader, held = read(folder)
    parts = {split: lessons.load_parts(reader, split, datasets.TEXT_WORKLOADS) for split in ("train", "val")}
    taught = {name: teach(reader, held, name, part) for name, part in parts["train"].items()}
    risk = lessons.make_risk_lesson(reader, config.seed)
    print(
        f"{label}-{config.seed}: lessons after {time.monotonic() - started:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    student = start(held, shape, config.seed).to(device)

    def told(row: dict[str, Any]) -> None:
        print(f"{label}-{config.seed} {time.monotonic() - started:.0f} s {row}", file=sys.stderr, flush=True)

    curve = distill(student, taught, config, risk=risk, progress=told)
    report: dict[str, Any] = {
        "label": label, "seed": config.seed, "config": asdict(config), "shape": asdict(shape), "curve": curve,
        "device": _device_name(device), "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    report |= judge(student, parts["val"], reader, config.seed)
    out.mkdir(parents=True, exist_ok=True)
    save(out / f"{label}-{config.seed}.safetensors", student.cpu(), held["seen"], report)
    (out / f"{label}-{config.seed}.json").write_text(json.dumps(report), "utf-8")
    return report


def _device_name(device: str) -> str:
    return f"one {torch.cuda.get_device_name()}" if device.startswith("cuda") else "one CPU core"


# --- what comes back --------------------------------------------------------------------------------------------------


def save(path: Path, student: Student, seen: np.ndarray, report: dict[str, Any]) -> None:
    """A trained student: tables in 8 bits as they are served, the rest in 16, words that no row holds left out."""
    tensors: dict[str, np.ndarray] = {"seen": seen}
    for name, value in student.state_dict().items():
        if not name.startswith("wides."):
            tensors[name] = value.numpy().astype(np.float16)
    tensors["encoder.words.weight"] = tensors["encoder.words.weight"][seen.astype(np.int64)]
    for name in student.names:
        table = student.wide(name).quantised()
        tensors |= {f"wides.{name}.{field}": getattr(table, field) for field in FIELDS}
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, str(path),
        metadata={"report": json.dumps(report)},
    )  # fmt: skip


def load(path: Path) -> tuple[Student, dict[str, Any]]:
    """The student and its report again. Raises OSError, KeyError for another file."""
    held = load_file(str(path))
    with safe_open(str(path), "np") as stream:
        report = json.loads(stream.metadata()["report"])
    names = [key.removeprefix("wides.").removesuffix(".row") for key in held if key.endswith(".row")]
    tables = {
        name: (wide.WideTable(*(held[f"wides.{name}.{field}"] for field in FIELDS)), 1.0) for name in names
    }
    ordered = {name: tables[name] for name in datasets.TEXT_WORKLOADS if name in tables}
    student = Student(StudentShape(**report["shape"]), ordered)
    words = student.start_words(lessons.trunk_words())
    words[held["seen"].astype(np.int64)] = held["encoder.words.weight"]
    state = student.state_dict()
    for name in state.keys() & held.keys():
        if not name.startswith("wides."):
            state[name] = torch.from_numpy(held[name].astype(np.float32))
    state["encoder.words.weight"] = torch.from_numpy(words)
    student.load_state_dict(state)
    return student.eval(), report


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what is taken along, or train one student from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", type=Path, help="write what is taken along into this folder, train nothing"
    )
    parser.add_argument("--teacher", type=Path, default=artifacts.SHIPPED / "txt-base")
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--risk-rows", type=int, default=40_000)
    parser.add_argument("--risk-blank", type=float, default=0.0)
    parser.add_argument("--ngram-drop", type=float, default=DistillConfig().ngram_drop)
    parser.add_argument("--risk-hidden", type=int, default=StudentShape().risk_hidden)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--label", default="student")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.write is not None:
        print(f"{write(given.write, given.teacher):,} bytes")
        return
    if given.source is None or given.out is None:
        parser.error("name --write, or --from and --out")
    config = DistillConfig(
        epochs=given.epochs, batch=given.batch, rate=given.rate, seed=given.seed, risk_rows=given.risk_rows,
        risk_blank=given.risk_blank, ngram_drop=given.ngram_drop,
    )  # fmt: skip
    shape = replace(StudentShape(), risk_hidden=given.risk_hidden)
    report = train(given.source, given.out, config, shape, given.device, given.label)
    print(json.dumps({key: report[key] for key in ("label", "seed", "seconds", "accuracy", "open")}))


if __name__ == "__main__":
    main()
