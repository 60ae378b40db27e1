"""A model's answers to a workload's validation rows without the rows: right or wrong, and how sure, one byte a row."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STEPS = 255


@dataclass(frozen=True, slots=True)
class Sheet:
    """`rows`: a digest of the rows asked, so that only sheets of the same rows are laid side by side.

    Shapes: right (N,) bool, confidence (N,) float in [0, 1] to within 0.0002 at the sure end (kept as its square root's distance
    from 1, since that is where thresholds lie).
    """

    right: np.ndarray
    confidence: np.ndarray
    rows: str

    def pack(self) -> dict[str, Any]:
        unsure = np.sqrt(1 - np.clip(self.confidence, 0, 1))
        levels = np.rint(unsure * STEPS).astype(np.uint8)
        return {
            "n": len(self.right), "rows": self.rows, "right": _text(np.packbits(self.right.astype(bool))),
            "unsure": _text(levels),
        }  # fmt: skip


def unpack(stored: Any) -> Sheet | None:
    """None where nothing, or something else, was stored."""
    try:
        n = int(stored["n"])
        right = np.unpackbits(np.frombuffer(base64.b64decode(stored["right"]), np.uint8), count=n).astype(
            bool
        )
        unsure = np.frombuffer(base64.b64decode(stored["unsure"]), np.uint8)
        rows = str(stored["rows"])
    except (KeyError, TypeError, ValueError):
        return None
    return Sheet(right, 1 - (unsure / STEPS) ** 2, rows) if len(unsure) == n == len(right) else None


def digest_of(texts: Sequence[str]) -> str:
    """Of rows in their order."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode()).digest())
    return whole.hexdigest()[:32]


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
