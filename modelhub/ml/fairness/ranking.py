"""How well a score tells bad from good where a group is named: subgroup, BPSN and BNSP AUC (Borkan et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def auc(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """The chance that a positive row scores above a negative one, ties half. Shapes: (P,), (Q,). None when either is empty."""
    positive, negative = np.asarray(positive, float), np.asarray(negative, float)
    if not len(positive) or not len(negative):
        return None
    both = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]  # mean rank of each value, from 1
    above = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(above / (len(positive) * len(negative)))


@dataclass(frozen=True, slots=True)
class NamedAuc:
    """`subgroup`: inside the group. `bpsn`: background positives against the group's negatives; low means that naming the
    group reads as bad. `bnsp`: the group's positives against background negatives; low means that harm to it is missed."""

    n: int
    subgroup: float | None
    bpsn: float | None
    bnsp: float | None


def by_named_group(score: np.ndarray, bad: np.ndarray, member: np.ndarray) -> NamedAuc:
    """The three for one group. Shapes: (N,) each, bad and member of bool. Raises ValueError for unequal lengths."""
    score, bad, member = np.asarray(score, float), np.asarray(bad, bool), np.asarray(member, bool)
    if not len(score) == len(bad) == len(member):
        raise ValueError(f"{len(score)} scores, {len(bad)} labels and {len(member)} memberships differ")
    return NamedAuc(
        int(member.sum()), auc(score[member & bad], score[member & ~bad]), auc(score[~member & bad], score[member & ~bad]),
        auc(score[member & bad], score[~member & ~bad]),
    )  # fmt: skip
