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
    withheld: np.ndarray | None = (
        None  # (N,) bool: stopped by the model's own operator; nobody else is asked for those
    )

    @property
    def given(self) -> np.ndarray:
        """Rows that got an answer, (N,) bool."""
        return np.ones(len(self.right), bool) if self.withheld is None else ~self.withheld

    def pack(self) -> dict[str, Any]:
        unsure = np.sqrt(1 - np.clip(self.confidence, 0, 1))
        told = {
            "n": len(self.right), "rows": self.rows, "right": _text(np.packbits(self.right.astype(bool))),
            "unsure": _text(np.rint(unsure * STEPS).astype(np.uint8)),
        }  # fmt: skip
        if self.withheld is not None and self.withheld.any():
            told["withheld"] = _text(np.packbits(self.withheld))
        return told


def unpack(stored: Any) -> Sheet | None:
    """None where nothing, or something else, was stored."""
    try:
        n = int(stored["n"])
        right, unsure = _bits(stored["right"], n), np.frombuffer(base64.b64decode(stored["unsure"]), np.uint8)
        withheld = _bits(stored["withheld"], n) if "withheld" in stored else None
        rows = str(stored["rows"])
    except (KeyError, TypeError, ValueError):
        return None
    return Sheet(right, 1 - (unsure / STEPS) ** 2, rows, withheld) if len(unsure) == n == len(right) else None


def _bits(text: str, n: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=n).astype(bool)


def digest_of(texts: Sequence[str]) -> str:
    """Of rows in their order."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode()).digest())
    return whole.hexdigest()[:32]


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
