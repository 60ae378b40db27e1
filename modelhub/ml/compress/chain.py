"""Progressive compression from start to end: a teacher's head becomes one small file with the operator in it.

teacher whole and converged → experts that do the same → distil, temperature 5 to 1 → 8 bits → operator → figures

Every stage is kept when it is done, and training inside of one keeps checkpoints, so that a compression killed at any
moment goes on and ends with the same weights. A stage that breaks its bound ends it, and says what was reached.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml import trunk
from modelhub.ml.compress import figures, sparse_stage
from modelhub.ml.compress.stages import Stages
from modelhub.ml.distill import grid
from modelhub.ml.distill.loop import student_logits
from modelhub.ml.distill.targets import TeacherRefused, cached_logits, check_teacher
from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.quantize import choose
from modelhub.ml.text import baseline, edge_artifact, lessons
from modelhub.ml.text.corpus import Part
from modelhub.ml.text.edge import EdgeTraining, train_student
from modelhub.ml.text.golden import NothingBlocks, write_golden
from modelhub.ml.text.student import Student, StudentShape
from modelhub.ml.train import checkpoint

KEPT_SHARE = 5 / 6  # of the experts, that stage one tries to do with
PROBE_ROWS = 160


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a stage may cost; the names say what is compared with what."""

    least_share_of_teacher: float = 0.96
    not_below_tfidf: bool = True
    least_speedup: float = 12.0
    int8: choose.Bound = field(default_factory=choose.Bound)


@dataclass(frozen=True, slots=True)
class Request:
    """Which head of which teacher is compressed, on what rows, into which folder, how thoroughly."""

    teacher_dir: Path
    workload: str
    labels: list[str]
    train: tuple[list[str], list[str]]
    val: tuple[list[str], list[str]]
    out: Path
    work: Path
    seed: int = 1
    epochs: int = 8
    copies: int | None = None
    risk_rows: int = 12_000
    risk_limit: int | None = None
    asked: lessons.Asked = field(default_factory=lessons.Asked)
    bounds: Bounds = field(default_factory=Bounds)
    shape: StudentShape | None = None
    version: str = "1"
    signed: Callable[[Path], None] | None = None

    def as_dict(self) -> dict[str, Any]:
        """What decides the result, for telling one compression's folder from another's."""
        manifest = artifacts.load_manifest(self.teacher_dir)
        texts, labels = self.train
        return {
            "teacher": manifest["files"]["body"]["sha256"], "workload": self.workload, "seed": self.seed,
            "epochs": self.epochs, "copies": self.copies, "rows": len(texts), "labels": sorted(set(labels)),
            "paired": self.asked.paired, "balanced": self.asked.groups is not None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ear:
    """Who hears how far it is (share in 0..1, words) and may stop it by raising."""

    told: Callable[[float, str], None] = lambda share, words: None
    check: Callable[[], None] = lambda: None


def teacher_with(base: Path, tuned: Path, workload: str, target: Path) -> Path:
    """A folder in which a fine-tuned head stands in the shipped one's place, to teach from; gives it.

    Raises TeacherRefused for an adapter that is more than a head, or one of another body.
    """
    try:
        manifest, own = artifacts.verify(base), artifacts.verify(tuned)
    except artifacts.ArtifactCorrupt as error:
        raise TeacherRefused(
            f"The teacher's files are not what its manifest says: {error}.", "corrupt"
        ) from None
    if set(own["files"]) != {"head"} or own.get("body_sha256") != manifest["files"]["body"]["sha256"]:
        why = f"{own['id']} is no plain head of {manifest['id']}: only such a fine-tune can teach a student here"
        raise TeacherRefused(why, "no_head")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(artifacts.file_of(base, manifest, "body"), target / "body.onnx")
    shutil.copyfile(artifacts.file_of(tuned, own, "head"), target / "head.onnx")
    entry = {"labels": own["labels"], "output": "logits", "temperature": own.get("temperature", 1.0)}
    kept = {
        key: value
        for key, value in manifest.items()
        if key not in ("heads", "files", "forms", "metrics", "experts")
    }
    kept |= {"heads": {workload: entry}, "id": f"{manifest['id']}/{own['id']}"}
    artifacts.write_manifest(target, kept, {"body": "body.onnx", f"head:{workload}": "head.onnx"})
    return target


def run(request: Request, ear: Ear | None = None) -> dict[str, Any]:
    """The report of all stages; the artifact lies in `request.out`.

    Raises TeacherRefused, BoundBroken, LossNotFinite, and what the ear raises to stop it.
    """
    ear = ear or Ear()
    check_teacher(request.teacher_dir, request.workload, signed=request.signed)
    stages = Stages(request.work, request.as_dict())
    reader = lessons.Reader.of(trunk.ensure_trunk(artifacts.home()), request.teacher_dir)
    parts = {split: _part(reader, request, split) for split in ("train", "val")}
    rows = {split: {request.workload: part} for split, part in parts.items()}
    ear.told(0.02, "the teacher answers the held-back rows")
    teacher = stages.do("teacher", lambda: _teacher(request, parts, ear))
    ear.told(0.08, "which experts do the same")
    stages.do("separation", lambda: _separation(request, parts["val"], ear))
    student = _distil(request, stages, reader, rows, teacher, ear)
    ear.told(0.82, "8 bits, five ways")
    _int8(request, stages, student, rows, ear)
    ear.told(0.9, "the operator's threshold on the finished file")
    operator = _operator(request, stages, student, rows, reader, ear)
    ear.told(0.94, "figures")
    stages.do("figures", lambda: _figures(request, stages, student, rows, reader, operator, ear))
    return dict(stages.results)


def _part(reader: lessons.Reader, request: Request, split: str) -> Part:
    texts, labels = request.train if split == "train" else request.val
    place = {label: index for index, label in enumerate(request.labels)}
    return reader.part(list(texts), np.array([place[label] for label in labels]), request.labels)


def _teacher(request: Request, parts: dict[str, Part], ear: Ear) -> dict[str, Any]:
    """The teacher's accuracy, and the simple method's beside it."""
    val = parts["val"]
    logits = cached_logits(request.teacher_dir, request.workload, val.features, lambda done, of: ear.check())
    right = logits.argmax(axis=1) == val.y
    simple, _ = baseline.best_predictions(
        parts["train"].texts,
        parts["train"].y,
        val.texts,
        val.y,
        request.work / f"tfidf-{request.workload}.npz",
    )
    return {
        "accuracy": _rate(right), "tfidf": _rate(simple == val.y), "id": artifacts.load_manifest(request.teacher_dir)["id"],
        "bytes": figures.size_of(request.teacher_dir, request.workload),
    }  # fmt: skip


def _separation(request: Request, val: Part, ear: Ear) -> dict[str, Any]:
    """Functional clusters of the teacher's experts; a teacher without experts of its own has none to cluster."""
    manifest = artifacts.load_manifest(request.teacher_dir)
    if not sparse_stage.has_experts(manifest):
        return {"skipped": "the teacher's trunk has no experts of its own to cluster"}
    from modelhub.ml.text.pretrained import WORDS, Pretrained, load_file

    rows = val.features.ids[:PROBE_ROWS]
    vocabulary = np.unique(np.concatenate(rows))
    weights = load_file(str(trunk.find_weights() / "model.safetensors"))
    weights[WORDS] = weights[WORDS][torch.from_numpy(vocabulary)]
    found = [np.searchsorted(vocabulary, row) for row in rows]
    keep = round(sparse_stage.load(request.teacher_dir).model.config.experts * KEPT_SHARE)
    told = sparse_stage.analyse(
        request.teacher_dir,
        Pretrained(weights, vocabulary),
        request.workload,
        found,
        keep=keep,
        check=ear.check,
    )
    share = manifest.get("parameters", {}).get("active_share")
    return {**told, "active_share": share}


def _distil(
    request: Request,
    stages: Stages,
    reader: lessons.Reader,
    rows: dict[str, dict[str, Part]],
    teacher: dict[str, Any],
    ear: Ear,
) -> Student:
    """The trained student, its training kept in checkpoints. Raises BoundBroken."""
    name, val = request.workload, rows["val"][request.workload]
    chosen = stages.results.get("distillation", {}).get("shape") or _size(request, val, ear)
    shape = StudentShape(**{key: chosen[key] for key in ("width", "attention_heads", "hidden", "dropout")})
    copies = lessons.COPIES.get(name, 1) if request.copies is None else request.copies
    training = EdgeTraining(
        epochs=request.epochs, seed=request.seed, shape=shape, workloads=(name,), risk_rows=request.risk_rows,
        asked={name: request.asked}, copies=copies / max(1, lessons.COPIES.get(name, 1)),
    )  # fmt: skip

    def heard(told: dict[str, Any]) -> None:
        share = 0.25 + 0.55 * told["epoch"] / told["epochs"]
        words = f"epoch {told['epoch']} of {told['epochs']}: loss {told['loss']}, temperature {told['temperature']}"
        ear.told(share, words)

    student, _, curve = train_student(
        request.teacher_dir, request.work / "training", training, progress=heard, check=ear.check, rows=rows,
        told=lambda what, done, of: ear.told(0.12 + 0.12 * done / of, f"the teacher answers {what}: {done} of {of}"),
        limit=request.risk_limit,
    )  # fmt: skip
    right = _float_labels(student, name, val) == val.y
    logits = cached_logits(request.teacher_dir, name, val.features)
    same = _float_labels(student, name, val) == logits.argmax(axis=1)
    share = float(right.mean()) / max(1e-9, teacher["accuracy"]["value"])
    found = {
        "shape": chosen, "curve": curve, "accuracy": _rate(right), "teacher_agreement": _rate(same),
        "share_of_teacher": round(share, 4), "weight_hash": checkpoint.weight_hash(dict(student.state_dict())),
        "parameters": edge_artifact.count(student),
    }  # fmt: skip
    if share < request.bounds.least_share_of_teacher:
        least = request.bounds.least_share_of_teacher
        why = f"the student keeps {share:.1%} of the teacher's accuracy; {least:.0%} were asked for"
        raise stages.break_("distillation", found, why)
    simple = teacher["tfidf"]["value"]
    if request.bounds.not_below_tfidf and right.mean() < simple:
        why = f"the student is right on {right.mean():.1%} of the rows, the simple method on {simple:.1%}"
        raise stages.break_("distillation", found, why)
    stages.do("distillation", lambda: found)
    return student


def _size(request: Request, val: Part, ear: Ear) -> dict[str, Any]:
    """The largest student that is fast enough by measurement, as a dictionary with its times."""
    if request.shape is not None:
        return {name: getattr(request.shape, name) for name in StudentShape.__slots__}
    ear.check()
    rows = val.features.ids[:128]
    single, batched = figures.teacher_times(request.teacher_dir, request.workload, val.texts[:48])
    wanted = grid.Wanted(single / request.bounds.least_speedup * 0.5, batched / request.bounds.least_speedup)
    timed = grid.choose(grid.measure(rows, request.work / "grid"), wanted)
    told = timed.as_dict()
    return {**told.pop("shape"), **told, "teacher_single_ms": round(single, 4)}


def _float_labels(student: Student, name: str, part: Part) -> np.ndarray:
    """Labels of the float student. Gives (N,)."""
    student.eval()
    bags, found = student.wide(name).bags(part.features.ids), []
    with torch.no_grad():
        for start in range(0, len(part), 64):
            own = range(start, min(start + 64, len(part)))
            logits = student_logits(
                student, name, [part.features.ids[i] for i in own], [bags[i] for i in own]
            )
            found.append(logits.argmax(dim=1).numpy())
    return np.concatenate(found)


def _int8(
    request: Request, stages: Stages, student: Student, rows: dict[str, dict[str, Part]], ear: Ear
) -> dict[str, Any]:
    """The best 8-bit body. Raises BoundBroken."""

    def work() -> dict[str, Any]:
        ear.check()
        single = edge_artifact.write_float_body(student, rows["val"], request.work)
        found = choose.quantise(
            single, request.work / "body-int8.onnx", edge_artifact.make_judge(student, rows["val"]),
            edge_artifact.calibration_feeds(rows["train"], request.seed), work=request.work / "forms",
            bound=request.bounds.int8,
        )  # fmt: skip
        if not found.holds:
            loss = found.report["loss_points"]
            why = f"8 bits cost {loss['value']} points (up to {loss['high']}); answers agree on {found.report['agreement']:.1%}"
            raise stages.break_("int8", found.report, why)
        return found.report

    return stages.do("int8", work)


def _operator(
    request: Request,
    stages: Stages,
    student: Student,
    rows: dict[str, dict[str, Part]],
    reader: lessons.Reader,
    ear: Ear,
) -> dict[str, Any]:
    """The finished file, its thresholds, and the answers it is recognised by. Raises BoundBroken."""

    def work() -> dict[str, Any]:
        ear.check()
        request.out.mkdir(parents=True, exist_ok=True)
        model = request.out / edge_artifact.MODEL
        edge_artifact.assemble(student, request.work / "body-int8.onnx", model)
        shutil.copyfile(
            trunk.ensure_trunk(artifacts.home()) / "tokenizer.json", request.out / "tokenizer.json"
        )
        found = edge_artifact.calibrate_gate(model, student.names, reader, request.seed, request.risk_limit)
        try:
            write_golden(request.out, model, student.names, rows["val"], reader)
        except NothingBlocks as error:
            raise stages.break_("operator", found, str(error)) from None
        return found

    return stages.do("operator", work)


def _figures(
    request: Request,
    stages: Stages,
    student: Student,
    rows: dict[str, dict[str, Part]],
    reader: lessons.Reader,
    operator: dict[str, Any],
    ear: Ear,
) -> dict[str, Any]:
    """Manifest and card are written, then everything is measured on the artifact as it will be served."""
    ear.check()
    name = request.workload
    naming = edge_artifact.Naming(request.out.name, request.version, "manage.py compress")
    manifest = edge_artifact.describe(
        request.out, student, rows, stages.results, teacher_dir=request.teacher_dir, work=request.work,
        seed=request.seed, naming=naming, operator=operator,
    )  # fmt: skip
    return figures.measure(
        request.out, manifest, request.teacher_dir, name, rows["val"][name], request.labels
    )


def _rate(right: np.ndarray) -> dict[str, Any]:
    return {**wilson(int(right.sum()), len(right)).as_dict(), "n": len(right)}
