"""How many labels a workload needs when the rows are chosen: Banking77, CLINC150 and CUAD against random picks.

Rounds: fit a head on frozen trunk features of what is labelled so far, score the rest, have the next rows labelled. The share
of labels at which 95 % of the full-data accuracy is reached, and what the saved labels would have cost. The trunk saw none of
these labels; the validation rows are judged only.
"""

from __future__ import annotations

import math
import statistics
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from bench.common import Results
from modelhub import artifacts
from modelhub.ml import datasets, features, trunk
from modelhub.ml.active import pick, uncertainty

SETS = {"banking77": "support-intent", "clinc150": "assistant-intent", "cuad": "contract-clauses"}
SHARES = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.50, 0.60, 0.80)
ENOUGH, TARGET, SEEDS = 0.95, 0.40, (0, 1, 2)
LABEL_USD = 10.0  # what the article says a label costs in verticals; a line of business enters its own
ITERATIONS = 40


@dataclass(frozen=True)
class Pool:
    """Unit features and labels. Shapes: (N, D), (N,)."""

    rows: np.ndarray
    labels: np.ndarray
    held: np.ndarray
    held_labels: np.ndarray


def pool_of(workload: str, limit: int | None = None) -> Pool:
    """Frozen trunk features of a workload's training and validation rows, unit length; kept on disk by their texts."""
    place = trunk.ensure_trunk(artifacts.home())
    parts = []
    for split in ("train", "val"):
        told = datasets.load(workload, split)
        texts, labels = told.texts, told.labels
        if limit is not None:
            chosen = np.random.default_rng(0).permutation(len(texts))[:limit]
            texts, labels = [texts[i] for i in chosen], [labels[i] for i in chosen]
        found = features.cached(texts, place).pooled
        parts += [found / np.linalg.norm(found, axis=1, keepdims=True), np.array(labels)]
    return Pool(*parts)


def fit(pool: Pool, chosen: np.ndarray) -> LogisticRegression:
    """A head as the fine-tune fits one, on the chosen rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=20.0, max_iter=ITERATIONS)
        return model.fit(pool.rows[chosen], pool.labels[chosen])


def accuracy(pool: Pool, model: LogisticRegression) -> float:
    return float((model.predict(pool.held) == pool.held_labels).mean())


def curve(pool: Pool, *, seed: int, actively: bool, goal: float = 2.0) -> dict[float, float]:
    """Share of labels → accuracy, up to the round that reaches the goal. The first is random for both, by the same seed."""
    rng, count = np.random.default_rng(seed), len(pool.labels)
    order = rng.permutation(count)
    chosen = order[: math.ceil(SHARES[0] * count)]
    if len(set(pool.labels[chosen])) < 2:
        raise ValueError("the first round holds one label only: take more rows")
    found = {}
    for place, share in enumerate(SHARES):
        model = fit(pool, chosen)
        found[share] = accuracy(pool, model)
        print(
            f"    seed {seed} {'chosen' if actively else 'random'} {share:.2f}: {found[share]:.4f}",
            flush=True,
        )
        if found[share] >= goal or place + 1 == len(SHARES):
            break
        more = math.ceil(SHARES[place + 1] * count) - len(chosen)
        rest = np.setdiff1d(order, chosen, assume_unique=True)
        if actively:
            worth = uncertainty(model.predict_proba(pool.rows[rest]))
            picked = rest[pick(worth, pool.rows[rest], more, pool_factor=2, seed=seed)]
        else:
            picked = rng.permutation(rest)[:more]
        chosen = np.concatenate([chosen, picked])
    return found


def share_needed(found: dict[float, float], goal: float) -> float:
    """The share at which the goal is first reached, between two rounds on a straight line; 1 where none reaches it."""
    before = None
    for share, reached in sorted(found.items()):
        if reached >= goal:
            if before is None:
                return share
            s, r = before
            return s + (share - s) * (goal - r) / (reached - r)
        before = (share, reached)
    return 1.0


def label_rows(results: Results, limit: int | None = None) -> None:
    """`labels_share_<set>` with random picks as controls; the dollars saved are printed and stand in `how`."""
    for name, workload in SETS.items():
        pool = pool_of(workload, limit)
        count = len(pool.labels)
        full = accuracy(pool, fit(pool, np.arange(count)))
        goal = ENOUGH * full
        active = [share_needed(curve(pool, seed=seed, actively=True, goal=goal), goal) for seed in SEEDS]
        random = [share_needed(curve(pool, seed=seed, actively=False, goal=goal), goal) for seed in SEEDS]
        saved = (statistics.median(random) - statistics.median(active)) * count * LABEL_USD
        against_all = (1 - statistics.median(active)) * count * LABEL_USD
        words = (
            f"labels of {count} rows until {goal:.3f} = 95 % of the full data's {full:.3f} on {len(pool.held_labels)} held-back "
            f"rows, frozen trunk and logistic head, unsure rows first and apart; at ${LABEL_USD:g} a label "
            f"${saved:,.0f} less than random picks, ${against_all:,.0f} less than labelling all"
        )
        print(f"  {name}: {words}", flush=True)
        results.add(f"labels_share_{name}", active, "share", words, at_most=TARGET, judged=limit is None)
        results.add(f"labels_share_{name}_random", random, "share", "the same by random picks", control=True)


rows = label_rows  # the name that `bench.adapters` calls
