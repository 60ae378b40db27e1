"""What the teacher says: its calibrated logits for rows whose tokens are at hand, and whether it may teach at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml import features, tokens
from modelhub.ml.features import Features, open_session
from modelhub.ml.text.served import FrozenBody

Progress = Callable[[int, int], None]


class TeacherRefused(ValueError):
    """The teacher may not teach. `code`: missing, corrupt, unsigned, not_converged, no_head."""

    def __init__(self, why: str, code: str) -> None:
        super().__init__(why)
        self.code = code


def check_teacher(
    teacher_dir: Path, head: str, *, signed: Callable[[Path], None] | None = None
) -> dict[str, Any]:
    """The manifest of a teacher that is whole, signed where that is asked for, and trained to a plateau.

    `signed` raises when the folder's signature isn't one to trust. Raises TeacherRefused. A student of a teacher that
    was stopped early can beat it and teach nothing about compression, so its manifest must say `train.plateau: true`.
    """
    if not (Path(teacher_dir) / artifacts.MANIFEST).is_file():
        why = f"There is no teacher in {Path(teacher_dir).name}: no manifest. Register or train one first."
        raise TeacherRefused(why, "missing")
    try:
        manifest = artifacts.verify(teacher_dir)
    except artifacts.ArtifactCorrupt as error:
        raise TeacherRefused(
            f"The teacher's files are not what its manifest says: {error}.", "corrupt"
        ) from None
    if signed is not None:
        try:
            signed(Path(teacher_dir))
        except Exception as error:
            why = f"The teacher {manifest['id']} carries no signature of this installation: {error}"
            raise TeacherRefused(why, "unsigned") from None
    if head not in manifest.get("heads", {}):
        known = ", ".join(manifest.get("heads", {})) or "none"
        raise TeacherRefused(
            f"The teacher {manifest['id']} has no head {head!r}; it has: {known}.", "no_head"
        )
    if manifest.get("train", {}).get("plateau") is not True:
        why = (
            f"The teacher {manifest['id']} is not converged: its manifest must say that validation accuracy has "
            f"reached a plateau (train.plateau: true). Train it on until it has."
        )
        raise TeacherRefused(why, "not_converged")
    return manifest


def teacher_logits(
    teacher_dir: Path, head: str, rows: Features, progress: Progress | None = None
) -> np.ndarray:
    """Logits of a text artifact's head over its temperature. Gives (N, L) float32.

    Raises ArtifactCorrupt when the artifact is not what its manifest says, KeyError for an unknown head.
    """
    manifest = artifacts.verify(teacher_dir)
    entry = manifest["heads"][head]
    if manifest.get("body_reads") == "embedded" or not manifest["requires"]:
        vectors = _token_vectors(teacher_dir, rows.ids, progress)
    else:
        body = open_session(artifacts.file_of(teacher_dir, manifest, "body"))
        groups = np.array_split(rows.pooled, max(1, len(rows.pooled) // 1024))
        vectors = np.concatenate([body.run(["features"], {"pooled": group})[0] for group in groups])
    last = open_session(artifacts.file_of(teacher_dir, manifest, f"head:{head}"))
    found = np.zeros((len(rows.ids), len(entry["labels"])), np.float32)
    for group in tokens.batches_by_length([len(row) for row in rows.ids], 8192, 128):
        ids, mask = tokens.pad([rows.ids[i] for i in group])
        feed = {"input_ids": ids, "attention_mask": mask, "features": vectors[group]}
        found[group] = last.run(["logits"], feed)[0]
    return found / np.float32(entry.get("temperature", 1.0))


def _token_vectors(teacher_dir: Path, ids: list[np.ndarray], progress: Progress | None) -> np.ndarray:
    """A body that reads tokens, in spans of like length so that progress can be told. Gives (N, D)."""
    body = FrozenBody(teacher_dir)
    order = np.argsort([len(row) for row in ids], kind="stable")
    spans = np.array_split(order, max(1, len(ids) // 512))
    found: np.ndarray | None = None
    done = 0
    for span in spans:
        made = body.features_of([ids[i] for i in span], budget=2048, most=32)
        found = np.zeros((len(ids), made.shape[1]), np.float32) if found is None else found
        found[span] = made
        done += len(span)
        if progress is not None:
            progress(done, len(ids))
    assert found is not None
    return found


def needs_pooled(manifest: dict[str, Any]) -> bool:
    """Whether the teacher's body reads the trunk's pooled states, which then must be computed for every row."""
    return bool(manifest["requires"]) and manifest.get("body_reads") != "embedded"


def cached_logits(
    teacher_dir: Path, head: str, rows: Features, progress: Progress | None = None
) -> np.ndarray:
    """Like `teacher_logits`, from the disk when this very teacher was asked about these very rows before."""
    manifest = artifacts.load_manifest(teacher_dir)
    own = {role: manifest["files"][role]["sha256"] for role in ("body", f"head:{head}")}
    key = hashlib.sha256(repr((own, manifest["heads"][head].get("temperature", 1.0), head)).encode())
    for row in rows.ids:
        key.update(np.asarray(row, np.int32).tobytes() + b"\xff")
    path = features.cache_folder() / f"teacher-{key.hexdigest()[:32]}.npy"
    if path.is_file():
        kept = np.load(path)
        if kept.shape == (len(rows.ids), len(manifest["heads"][head]["labels"])):
            return kept
    made = teacher_logits(teacher_dir, head, rows, progress)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    np.save(temporary, made)
    os.replace(temporary, path)
    return made
