"""Fewer experts from many: found by what they do, aligned neuron by neuron, merged by how often they are used, or left out.

Experts that answer alike are clustered by average linkage on their outputs (HC-SMoE, Chen et al. 2024, arXiv
2410.08589), with how often they are chosen together as a second voice. Neurons have no order of their own, so two equal
experts may look nothing alike weight by weight: they are brought into one order first (Ainsworth et al. 2023, arXiv
2209.04836), then averaged, each by its share of the load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from modelhub.ml.activation.redundancy import coactivation, expert_outputs, output_similarity

How = Literal["merge", "prune"]
ALIKE = 0.8


@dataclass(frozen=True, slots=True)
class Experts:
    """The routed experts of one layer. Shapes: w1 (E, F, D), w2 (E, D, F), keys (E, D)."""

    w1: np.ndarray
    w2: np.ndarray
    keys: np.ndarray
    activation: str = "silu"

    def __len__(self) -> int:
        return len(self.w1)

    def said(self, x: np.ndarray) -> np.ndarray:
        """Every expert's answer to every probe. Gives (E, N, D)."""
        return expert_outputs(x, self.w1, self.w2, self.activation)


@dataclass(frozen=True, slots=True)
class Reduced:
    """What is left, where each old expert went (−1: left out), and the report."""

    experts: Experts
    home: np.ndarray
    report: dict[str, Any]


def clusters(
    outputs: np.ndarray,
    *,
    log: np.ndarray | None = None,
    log_weight: float = 0.0,
    alike: float | None = ALIKE,
    count: int | None = None,
) -> np.ndarray:
    """Group experts by function; gives each one's group (E,), numbered by its first member.

    Cut where outputs are less alike than `alike`, or into `count` groups. `log` (N, E): counts of an activation log; its
    lift, brought to 0..1, is mixed in with `log_weight`. Raises ValueError unless just one of alike and count is given.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if (alike is None) == (count is None):
        raise ValueError("give either how alike experts must be, or how many groups to make")
    closeness = output_similarity(outputs)
    if log is not None and log_weight > 0:
        lift = coactivation(log)
        closeness = (1 - log_weight) * closeness + log_weight * lift / (1 + lift)
    distance = np.clip(1 - closeness, 0, 2)
    np.fill_diagonal(distance, 0)
    if len(distance) == 1:
        return np.zeros(1, np.int64)
    tree = linkage(squareform((distance + distance.T) / 2, checks=False), method="average")
    found = (
        fcluster(tree, 1 - alike, criterion="distance")
        if alike is not None
        else fcluster(tree, count, criterion="maxclust")
    )
    return _renumber(found)


def _renumber(groups: np.ndarray) -> np.ndarray:
    order = {group: number for number, group in enumerate(dict.fromkeys(groups.tolist()))}
    return np.array([order[group] for group in groups.tolist()])


def align(w1: np.ndarray, w2: np.ndarray, like_w1: np.ndarray, like_w2: np.ndarray) -> np.ndarray:
    """The order of an expert's neurons that is most like another's. Shapes: w1 (F, D), w2 (D, F) -> (F,) positions.

    `w1[order]` and `w2[:, order]` compute what the expert computed. Gated experts, whose w1 has 2F rows, are not taken.
    """
    from scipy.optimize import linear_sum_assignment

    if len(w1) != w2.shape[1]:
        raise ValueError(
            f"w1 has {len(w1)} rows and w2 {w2.shape[1]} columns; gated experts can't be aligned this way"
        )
    closeness = _unit(like_w1) @ _unit(w1).T + _unit(like_w2.T) @ _unit(w2.T).T
    return linear_sum_assignment(-closeness)[1]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def reduce(
    experts: Experts, groups: np.ndarray, load: np.ndarray, x: np.ndarray, how: How = "merge"
) -> Reduced:
    """One expert for each group: the members' average by load (`merge`), or the busiest member alone (`prune`).

    Keys move likewise, so a token finds the group where it found a member. The report says, on probes x (N, D), how well
    each group's expert answers for its members. Shapes: groups (E,), load (E,).
    """
    if how not in ("merge", "prune"):
        raise ValueError(f"how={how!r} must be 'merge' or 'prune'")
    share = np.asarray(load, np.float64) + 1e-9
    made: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == number)
        first = int(members[int(np.argmax(share[members]))])
        if how == "prune" or len(members) == 1:
            made.append((experts.w1[first], experts.w2[first], experts.keys[first]))
            continue
        weights = share[members] / share[members].sum()
        aligned = [_aligned(experts, int(member), first) for member in members]
        w1, w2 = (sum(w * pair[i] for w, pair in zip(weights, aligned, strict=True)) for i in range(2))
        key = sum(w * experts.keys[member] for w, member in zip(weights, members, strict=True))
        made.append((np.asarray(w1), np.asarray(w2), np.asarray(key)))
    w1s, w2s, keys = (np.stack([one[i] for one in made]).astype(np.float32) for i in range(3))
    left = Experts(w1s, w2s, keys, experts.activation)
    return Reduced(left, groups, _report(experts, left, groups, share, x))


def _aligned(experts: Experts, member: int, like: int) -> tuple[np.ndarray, np.ndarray]:
    if member == like:
        return experts.w1[member], experts.w2[member]
    order = align(experts.w1[member], experts.w2[member], experts.w1[like], experts.w2[like])
    return experts.w1[member][order], experts.w2[member][:, order]


def leave_out(experts: Experts, load: np.ndarray, least_share: float) -> Reduced:
    """Without the experts whose share of the load is under `least_share` of an even one; at least one stays."""
    share = np.asarray(load, np.float64) / max(1e-9, float(np.sum(load)))
    kept = np.flatnonzero(share >= least_share / len(share))
    kept = kept if len(kept) else np.array([int(share.argmax())])
    home = np.full(len(experts), -1)
    home[kept] = np.arange(len(kept))
    left = Experts(experts.w1[kept], experts.w2[kept], experts.keys[kept], experts.activation)
    gone = np.flatnonzero(home < 0)
    report = {"experts_before": len(experts), "experts_after": len(kept), "left_out": gone.tolist()}
    return Reduced(left, home, report | {"load_that_moves": round(float(share[gone].sum()), 4)})


def _report(
    before: Experts, after: Experts, groups: np.ndarray, share: np.ndarray, x: np.ndarray
) -> dict[str, Any]:
    said, now = before.said(x), after.said(x)
    alike = [_cosine(said[expert], now[groups[expert]]) for expert in range(len(before))]
    sizes = np.bincount(groups)
    return {
        "experts_before": len(before),
        "experts_after": len(after),
        "largest_group": int(sizes.max()),
        "merged": int((sizes[groups] > 1).sum()),
        "answers_alike": round(float(np.average(alike, weights=share)), 4),
        "least_alike": round(float(min(alike)), 4),
    }


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / length) if length else 0.0
