"""A prompt's chance of a right answer from each model, by four smoothers of training rows and the weights that mix them.

Every part predicts each model's score: a ridge over terms, a ridge over token means and marks, the mean of the nearest training
prompts, and the shrunken mean of the domain the prompt seems to belong to. What models have in common (how hard the prompt is)
and how they differ (which one to ask) are mixed with weights of their own, fitted on rows that no part had seen; so the chances
come out calibrated and the differences keep their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routing.learned.features import Read

PARTS = ("terms", "dense", "neighbours", "domain")
LEAST, MOST = 0.01, 0.99
SHARP = 20.0  # turns the domain ridge's scores into shares


@dataclass(frozen=True, slots=True)
class Parts:
    """The fitted parts. F terms kept, C domains, D token dimensions, K rows kept, M models.

    slot (TERMS,) int32: a term's row, −1 where it isn't kept; idf (F,); term_weight (F, M), term_bias (M,); domain_weight (F, C),
    domain_bias (C,), prior (C, M); centre and scale of the dense features (D + 18,), dense_weight (D + 18, M); near (K, D) of
    unit length, near_score (K, M); mean (M,). All float32 but `slot`.
    """

    slot: np.ndarray
    idf: np.ndarray
    term_weight: np.ndarray
    term_bias: np.ndarray
    domain_weight: np.ndarray
    domain_bias: np.ndarray
    prior: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    dense_weight: np.ndarray
    near: np.ndarray
    near_score: np.ndarray
    mean: np.ndarray
    neighbours: int
    width: float = 0.2  # of the neighbours' kernel, in cosine

    def predict(self, rows: Read) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each part's prediction (N, 4, M), each domain's share of a prompt (N, C), and its likeness to its nearest training
        prompt (N,)."""
        n, models = len(rows.terms), len(self.mean)
        found = np.empty((n, len(PARTS), models), np.float32)
        dense = np.concatenate([rows.means, rows.marks], axis=1)
        found[:, 1] = self.mean + ((dense - self.centre) / self.scale) @ self.dense_weight
        alike, shares = np.empty(n, np.float32), np.empty((n, len(self.prior)), np.float32)
        for i, terms in enumerate(rows.terms):
            places = self.slot[terms]
            places = places[places >= 0]
            weight = self.idf[places]
            weight = weight / max(float(np.sqrt(weight @ weight)), 1e-6)
            found[i, 0] = self.term_bias + weight @ self.term_weight[places]
            shares[i] = self._shares(weight, places)
            found[i, 3] = shares[i] @ self.prior
            found[i, 2], alike[i] = self._by_neighbours(rows.means[i])
        return found, shares, alike

    def _shares(self, weight: np.ndarray, places: np.ndarray) -> np.ndarray:
        score = SHARP * (weight @ self.domain_weight[places] + self.domain_bias)
        share = np.exp(score - score.max())
        return share / share.sum()

    def _by_neighbours(self, mean: np.ndarray) -> tuple[np.ndarray, float]:
        centred = mean - self.centre[: len(mean)]
        likeness = self.near @ (centred / max(float(np.sqrt(centred @ centred)), 1e-6))
        k = min(self.neighbours, len(likeness))
        nearest = np.argpartition(likeness, -k)[-k:]
        best = float(likeness[nearest].max())
        weight = np.exp((likeness[nearest] - best) / self.width)
        return (weight / weight.sum()) @ self.near_score[nearest], best


@dataclass(frozen=True, slots=True)
class Mix:
    """How the parts are mixed: for what models have in common, and for how they differ. Shapes: (4,) each; base (M,).

    `base` is each model's mean; parts enter as their distance from `centre` (4, M), their own mean on rows they hadn't seen.
    """

    common: np.ndarray
    apart: np.ndarray
    base: np.ndarray
    centre: np.ndarray

    def chances(self, parts: np.ndarray) -> np.ndarray:
        """Shapes: (N, 4, M) -> (N, M), unclipped."""
        moved = parts - self.centre
        shared = moved.mean(axis=2, keepdims=True)
        mixed = np.einsum("p,npm->nm", self.common, np.broadcast_to(shared, moved.shape))
        mixed += np.einsum("p,npm->nm", self.apart, moved - shared)
        return self.base + mixed


@dataclass(frozen=True, slots=True)
class Scored:
    """N prompts: chances (N, M) of a right answer, the likeliest domain's place (N,), and whether each is like those it was
    trained on (N,)."""

    chance: np.ndarray
    domain: np.ndarray
    familiar: np.ndarray


@dataclass(frozen=True, slots=True)
class Scorer:
    """Parts and their mix for named models. Scores only: what to do with them is the caller's threshold.

    `offset` (C, M): what the mix is off by in the table that a domain belongs to, on rows that no part had seen.
    """

    models: tuple[str, ...]
    domains: tuple[str, ...]
    parts: Parts
    mix: Mix
    offset: np.ndarray
    familiar: float = -1.0  # prompts less like every training prompt than this are strangers

    def score(self, rows: Read) -> Scored:
        parts, shares, alike = self.parts.predict(rows)
        chance = np.clip(self.mix.chances(parts) + shares @ self.offset, LEAST, MOST)
        return Scored(chance, shares.argmax(axis=1), alike >= self.familiar)
