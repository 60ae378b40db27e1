"""Confidence into chance: a map fitted on judged answers, kept only where it beats the confidence as it comes. Pure numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_ROWS = 100
STEEP = 8.0  # Platt's slope is held within 1/STEEP … STEEP
Fitter = Callable[[np.ndarray, np.ndarray], "Calibration"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising piecewise linear map [0, 1] → [0, 1] through `knots` (confidence, chance)."""

    kind: str  # identity | platt | isotonic
    knots: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 1.0))

    def __call__(self, confidence: float) -> float:
        """The chance of a right answer; what is no number counts as no confidence at all."""
        if self.kind == "identity" or not 0.0 <= confidence <= 1.0:
            return confidence if 0.0 <= confidence <= 1.0 else 0.0
        before = self.knots[0]
        for knot in self.knots[1:]:
            if confidence <= knot[0]:
                share = (confidence - before[0]) / max(knot[0] - before[0], 1e-12)
                return before[1] + share * (knot[1] - before[1])
            before = knot
        return before[1]

    def many(self, confidence: np.ndarray) -> np.ndarray:
        """Shapes: (N,) -> (N,)."""
        return np.interp(confidence, [x for x, _ in self.knots], [y for _, y in self.knots])

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "knots": [[round(x, 6), round(y, 6)] for x, y in self.knots]}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Calibration:
        """Raises ValueError for a map that falls or leaves [0, 1]."""
        knots = tuple((float(x), float(y)) for x, y in stored["knots"])
        flat = np.array(knots)
        if len(knots) < 2 or not np.isfinite(flat).all() or flat.min() < 0 or flat.max() > 1:
            raise ValueError("a calibration's knots must be two or more points within [0, 1]")
        if (np.diff(flat[:, 0]) <= 0).any() or (np.diff(flat[:, 1]) < 0).any():
            raise ValueError("a calibration must rise")
        return cls(str(stored["kind"]), knots)


IDENTITY = Calibration("identity")


def platt(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """σ(a·logit(c) + b) by Newton's method on the log-likelihood with Platt's smoothed targets. Shapes: (N,) each."""
    x = _logit(confidence)
    hits = float(right.sum())
    target = np.where(right > 0, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    a, b = 1.0, 0.0
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(a * x + b)))
        error, weight = chance - target, chance * (1 - chance) + 1e-9
        gradient = np.array([(error * x).mean() + 1e-4 * (a - 1), error.mean()])
        hessian = np.array(
            [[(weight * x * x).mean() + 1e-4, (weight * x).mean()], [(weight * x).mean(), weight.mean()]]
        )
        step = np.linalg.solve(hessian, gradient)
        a, b = float(np.clip(a - step[0], 1 / STEEP, STEEP)), float(b - step[1])
        if np.abs(step).max() < 1e-8:
            break
    grid = np.concatenate([[0.0, 0.01], np.linspace(0.05, 0.95, 19), [0.97, 0.98, 0.99, 0.995, 0.999, 1.0]])
    return Calibration(
        "platt", tuple(zip(grid.tolist(), _sigmoid(a * _logit(grid) + b).tolist(), strict=True))
    )


def isotonic(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """Pool adjacent violators over at most 20 blocks of equal count, joined by straight lines. Shapes: (N,) each."""
    order = np.argsort(confidence, kind="stable")
    blocks: list[list[float]] = []  # [Σ confidence, Σ right, rows]
    for part in np.array_split(order, min(20, max(2, len(order) // 25))):
        blocks.append([float(confidence[part].sum()), float(right[part].sum()), float(len(part))])
        while len(blocks) > 1 and blocks[-2][1] / blocks[-2][2] >= blocks[-1][1] / blocks[-1][2]:
            last = blocks.pop()
            blocks[-1] = [p + q for p, q in zip(blocks[-1], last, strict=True)]
    points = [(c / n, (r + 0.5) / (n + 1)) for c, r, n in blocks]
    knots: list[tuple[float, float]] = [(0.0, min(points[0][1], points[0][0]))]
    for x, y in points:
        if x > knots[-1][0] + 1e-9:
            knots.append((x, max(y, knots[-1][1])))
    if knots[-1][0] < 1.0:
        knots.append((1.0, knots[-1][1]))
    return Calibration("isotonic", tuple(knots))


FITTERS: dict[str, Fitter] = {"identity": lambda c, r: IDENTITY, "platt": platt, "isotonic": isotonic}


@dataclass(frozen=True, slots=True)
class Fitted:
    """The map chosen, what each kind reached on rows it hadn't seen (mean log loss), and those rows' chances (N,)."""

    calibration: Calibration
    log_loss: dict[str, float]
    unseen: np.ndarray


def fit(confidence: np.ndarray, right: np.ndarray, *, folds: int = 5, seed: int = 0) -> Fitted:
    """Identity, Platt or isotonic, by log loss across folds; another than identity only where it is better by more than one
    standard error of the paired difference. Shapes: (N,) each. Raises ValueError under LEAST_ROWS rows or with one outcome."""
    right = right.astype(float)
    if len(right) < LEAST_ROWS or right.min() == right.max():
        raise ValueError(
            f"{len(right)} judged answers; {LEAST_ROWS} with both outcomes are needed to calibrate"
        )
    unseen = {name: crossed(confidence, right, fitter, folds, seed) for name, fitter in FITTERS.items()}
    losses = {name: _losses(chance, right) for name, chance in unseen.items()}
    best = "identity"
    for name in ("platt", "isotonic"):
        gain = losses[best] - losses[name]
        if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            best = name
    means = {name: float(loss.mean()) for name, loss in losses.items()}
    return Fitted(FITTERS[best](confidence, right), means, unseen[best])


def crossed(confidence: np.ndarray, right: np.ndarray, fitter: Fitter, folds: int, seed: int) -> np.ndarray:
    """Each row's chance by a map that was fitted without it. Shapes: (N,) each."""
    order = np.random.default_rng(seed).permutation(len(right))
    found = np.empty(len(right))
    for held in np.array_split(order, folds):
        rest = np.setdiff1d(order, held)
        found[held] = fitter(confidence[rest], right[rest]).many(confidence[held])
    return found


def _losses(chance: np.ndarray, right: np.ndarray) -> np.ndarray:
    kept = np.clip(chance, 1e-3, 1 - 1e-3)
    return -(right * np.log(kept) + (1 - right) * np.log(1 - kept))


def _logit(value: np.ndarray | Sequence[float]) -> np.ndarray:
    kept = np.clip(np.asarray(value, float), 1e-4, 1 - 1e-4)
    return np.log(kept / (1 - kept))


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))
