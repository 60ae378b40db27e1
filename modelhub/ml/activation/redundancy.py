"""Experts that do the same: chosen together, or giving the same output; and what to prune or merge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelhub.ml.activation.load import COLD_TIMES

ALIKE = 0.9


@dataclass(frozen=True, slots=True)
class Pair:
    """Two experts of a layer. `together`: share of the rarer one's rows in which both were chosen, over what chance
    would give; `alike`: cosine of their outputs on the same inputs, NaN when it was not measured."""

    layer: int
    first: int
    second: int
    together: float
    alike: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """kind: prune (a cold expert) or merge (two that are alike). `lost_share`: share of the layer's load that moves."""

    kind: str
    layer: int
    experts: tuple[int, ...]
    lost_share: float
    reason: str


def coactivation(rows: np.ndarray) -> np.ndarray:
    """How often two experts were chosen for the same row, over what independence would give (lift).

    Shapes: rows (N, E) counts of one layer, a row a token or a text -> (E, E), 0 where one never occurs.
    """
    used = (np.asarray(rows) > 0).astype(np.float64)
    if used.ndim != 2:
        raise ValueError(f"rows must be (rows, experts), got shape {used.shape}")
    both = used.T @ used / max(1, len(used))
    alone = used.mean(axis=0) if len(used) else np.zeros(used.shape[1])
    chance = np.outer(alone, alone)
    return np.divide(both, chance, out=np.zeros_like(both), where=chance > 0)


def output_similarity(outputs: np.ndarray) -> np.ndarray:
    """Cosine of experts' outputs on the same inputs, as in HC-SMoE (Chen et al. 2024, arXiv:2410.08589).

    Shapes: outputs (E, N, D), expert e's answer to N probes -> (E, E). An expert that answers zeros is like none.
    """
    flat = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)
    return unit @ unit.T


def expert_outputs(x: np.ndarray, w1: np.ndarray, w2: np.ndarray, activation: str = "silu") -> np.ndarray:
    """Every expert's answer `w2 · act(w1 · x)` to every probe; the activation is `silu` or `gelu_tanh`.

    Shapes: x (N, D), w1 (E, F, D), w2 (E, D, F) -> (E, N, D). Raises KeyError for another activation.
    """
    act = {"silu": _silu, "gelu_tanh": _gelu_tanh}[activation]
    return np.stack([act(x @ first.T) @ second.T for first, second in zip(w1, w2, strict=True)])


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-np.clip(x, -60, 60)))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def pairs(layer: int, together: np.ndarray, alike: np.ndarray | None, *, n: int = 10) -> list[Pair]:
    """The n pairs that are most alike (by output where measured, else by how often they are chosen together)."""
    experts = len(together)
    known = alike if alike is not None else np.full((experts, experts), np.nan)
    upper = [(i, j) for i in range(experts) for j in range(i + 1, experts)]
    measure = together if alike is None else alike
    upper.sort(key=lambda pair: -measure[pair])
    return [Pair(layer, i, j, float(together[i, j]), float(known[i, j])) for i, j in upper[:n]]


def suggest(
    layer: int,
    counts: np.ndarray,
    alike: np.ndarray | None = None,
    *,
    cold: float = COLD_TIMES,
    threshold: float = ALIKE,
    least: int = 2,
) -> list[Suggestion]:
    """What to prune and what to merge in a layer, the cheapest first; each expert is named once.

    `least` experts stay whatever their load, so that the gate's smallest k can always be served.
    Shapes: counts (E,), alike (E, E) from output_similarity.
    """
    load = np.asarray(counts, np.float64)
    total = load.sum()
    if total == 0:
        return []
    share, mean = load / total, 1.0 / len(load)
    found, gone = [], set[int]()
    for expert in np.argsort(share, kind="stable"):
        if share[expert] >= cold * mean or len(load) - len(gone) <= least:
            break
        gone.add(int(expert))
        reason = f"it answers {share[expert]:.2%} of its layer, under {cold:.0%} of an even share"
        found.append(Suggestion("prune", layer, (int(expert),), float(share[expert]), reason))
    found += _merges(layer, share, alike, threshold, gone)
    return sorted(found, key=lambda s: s.lost_share)


def _merges(
    layer: int, share: np.ndarray, alike: np.ndarray | None, threshold: float, gone: set[int]
) -> list[Suggestion]:
    """Pairs over the threshold, the most alike first; an expert goes into one pair only."""
    if alike is None:
        return []
    found = []
    order = sorted(
        ((i, j) for i in range(len(share)) for j in range(i + 1, len(share)) if alike[i, j] >= threshold),
        key=lambda pair: -alike[pair],
    )
    for i, j in order:
        if i in gone or j in gone:
            continue
        gone |= {i, j}
        moved = float(min(share[i], share[j]))
        reason = f"their outputs agree with a cosine of {alike[i, j]:.2f}"
        found.append(Suggestion("merge", layer, (i, j), moved, reason))
    return found
