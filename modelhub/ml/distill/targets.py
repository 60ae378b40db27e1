"""What the teacher says: its calibrated logits for rows whose tokens and trunk features are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelhub import artifacts
from modelhub.ml import tokens
from modelhub.ml.features import Features, open_session
from modelhub.ml.text.served import FrozenBody


def teacher_logits(teacher_dir: Path, head: str, rows: Features) -> np.ndarray:
    """Logits of a text artifact's head over its temperature. Gives (N, L) float32.

    Raises ArtifactCorrupt when the artifact is not what its manifest says, KeyError for an unknown head.
    """
    manifest = artifacts.verify(teacher_dir)
    entry = manifest["heads"][head]
    if manifest.get("body_reads") == "embedded":
        vectors = FrozenBody(teacher_dir).features_of(rows.ids)
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
