"""Reading expert counts: hot and cold experts, concentration, and how lines of business differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HOT_TIMES, COLD_TIMES = 2.0, 0.1


@dataclass(frozen=True, slots=True)
class LayerLoad:
    """One layer's load. `share` (E,) sums to one; hot: over twice the mean; cold: under a tenth of it."""

    layer: int
    share: np.ndarray
    hot: tuple[int, ...]
    cold: tuple[int, ...]
    imbalance: float  # the busiest expert's load over the mean: 1 is even
    effective: float  # exp(entropy): how many equally loaded experts would spread the load as much


def layer_loads(counts: np.ndarray, *, hot: float = HOT_TIMES, cold: float = COLD_TIMES) -> list[LayerLoad]:
    """Shapes: counts (L, E) -> one LayerLoad a layer. A layer without tokens has no hot and no cold experts."""
    found = []
    for layer, row in enumerate(_table(counts)):
        total = row.sum()
        if total == 0:
            found.append(LayerLoad(layer, np.zeros(len(row)), (), (), 1.0, float(len(row))))
            continue
        share = row / total
        mean = 1.0 / len(row)
        used = share[share > 0]
        found.append(
            LayerLoad(
                layer,
                share,
                tuple(int(e) for e in np.flatnonzero(share > hot * mean)),
                tuple(int(e) for e in np.flatnonzero(share < cold * mean)),
                float(share.max() / mean),
                float(np.exp(-(used * np.log(used)).sum())),
            )
        )
    return found


def hottest(counts: np.ndarray, n: int = 2) -> list[tuple[int, int]]:
    """The n busiest (layer, expert) of a table, by share of their layer. Shapes: counts (L, E)."""
    table = _table(counts)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    order = np.argsort(-share, axis=None, kind="stable")[:n]
    return [
        (int(layer), int(expert)) for layer, expert in zip(*np.unravel_index(order, share.shape), strict=True)
    ]


def lift(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """How much more an expert is used by a part than by the whole: 1 is alike, 0 where the whole never used it.

    Shapes: part and whole (L, E) counts -> (L, E).
    """
    part, whole = _table(part), _table(whole)
    mine = part / np.maximum(part.sum(axis=1, keepdims=True), 1)
    theirs = whole / np.maximum(whole.sum(axis=1, keepdims=True), 1)
    return np.divide(mine, theirs, out=np.zeros_like(mine), where=theirs > 0)


def divergence(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen–Shannon divergence of two loads in bits, mean over layers: 0 alike, 1 no expert in common.

    Shapes: (L, E) counts each. Layers where either saw nothing are left out; NaN when none is left.
    """
    values = []
    for a, b in zip(_table(first), _table(second), strict=True):
        if a.sum() == 0 or b.sum() == 0:
            continue
        p, q = a / a.sum(), b / b.sum()
        middle = (p + q) / 2
        values.append((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)
    return float(np.mean(values)) if values else float("nan")


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    used = p > 0
    return float((p[used] * np.log2(p[used] / q[used])).sum())


def _table(counts: np.ndarray) -> np.ndarray:
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or (table < 0).any():
        raise ValueError(f"counts must be a (layers, experts) table of counts >= 0, got shape {table.shape}")
    return table
