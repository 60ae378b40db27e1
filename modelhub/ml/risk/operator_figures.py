"""The operator's thresholds and how it does: set where nearly nobody harmless is blocked, measured on what it never saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.risk.operator import RiskRows, benign_texts, framed_rows, planted_rows, unseen_rows
from modelhub.ml.risk.operator_templates import KINDS

MOST_BLOCKED, LEAST_ROWS = 0.01, 20  # upper 95 % bound of benign texts blocked; smaller groups are not shown
Scored = Callable[[list[str]], np.ndarray]


def choose_tau(scored: Scored, seed: int = 1, limit: int | None = None) -> dict[str, Any]:
    """The lowest thresholds at which the upper bound of benign texts blocked is at most 1 %, all kinds together.

    Every kind may block the same share. Where the rows are too few for such a bound, the gate blocks what lies over all
    of them. Gives `tau` by kind and what was blocked on the rows that set it.
    """
    texts = benign_texts(seed)
    texts = texts if limit is None else texts[:: max(1, len(texts) // (limit * 8))]
    risk = scored(texts).astype(np.float64)
    if not np.isfinite(risk).all():
        raise ValueError("the risk head gives values that are no numbers: no threshold can be set")
    chosen = risk.max(axis=0) + 1e-4
    for share in np.linspace(0, MOST_BLOCKED, 101):
        tau = np.quantile(risk, 1 - share, axis=0, method="higher") + 1e-6
        if wilson(int((risk >= tau).any(axis=1).sum()), len(risk)).high > MOST_BLOCKED:
            break
        chosen = tau
    stored = np.minimum(chosen, 1.0).astype(np.float32)
    return {
        "tau": {kind: float(value) for kind, value in zip(KINDS, stored, strict=True)},
        "benign": rate(~(risk.astype(np.float32) < stored).all(axis=1)),
    }


def measure(scored: Scored, tau: np.ndarray, seed: int = 1, limit: int | None = None) -> dict[str, Any]:
    """Recall by kind and harmless sentences blocked: planted set, unseen forms, unseen frames of another hand; then HateCheck
    and tweets as they are."""
    found: dict[str, Any] = {}
    sets = {"planted": planted_rows(seed), "unseen": unseen_rows(seed), "frames": framed_rows(seed)}
    for name, rows in sets.items():
        rows = rows if limit is None else rows.take(np.arange(0, len(rows), max(1, len(rows) // (limit * 8))))
        blocked, kinds = ~(scored(rows.texts) < tau).all(axis=1), rows.labels()
        found[name] = {
            **{kind: rate(blocked[kinds[:, place] == 1]) for place, kind in enumerate(KINDS)},
            "all": rate(blocked[kinds.max(axis=1) == 1]),
            "harmless_blocked": rate(blocked[kinds.max(axis=1) == 0]),
        }
        if name == "planted":
            found["by_group"] = _by_group(rows, blocked, kinds)
    tweets, cases = datasets.load_offensive("en", "val"), datasets.load_hatecheck()
    step = 1 if limit is None else max(1, len(cases) // (limit * 8))
    said = ~(scored(tweets.texts[::step]) < tau).all(axis=1)
    offensive = np.array(tweets.labels[::step]) == 1
    found["tweets"] = {"recall": rate(said[offensive]), "harmless_blocked": rate(said[~offensive])}
    hit = ~(scored([case["text"] for case in cases[::step]]) < tau).all(axis=1)
    hateful = np.array([case["label"] == "hateful" for case in cases[::step]])
    found["hatecheck"] = {"recall": rate(hit[hateful]), "harmless_blocked": rate(hit[~hateful])}
    return found


def _by_group(rows: RiskRows, blocked: np.ndarray, kinds: np.ndarray) -> dict[str, Any]:
    """Harmless sentences blocked and harmful ones found for each group, and the widest gap between two groups."""
    groups, harmful = np.array(rows.groups), kinds.max(axis=1) == 1
    found, shares = {}, []
    for group in sorted(set(groups) - {""}):
        own = groups == group
        row = {"harmless_blocked": rate(blocked[own & ~harmful]), "recall": rate(blocked[own & harmful])}
        found[group] = row
        if (own & ~harmful).sum() >= LEAST_ROWS / 4:
            shares.append(row["harmless_blocked"]["value"])
    return {"groups": found, "gap": round(max(shares, default=0.0) - min(shares, default=0.0), 4)}


def rate(flags: np.ndarray) -> dict[str, Any]:
    """A rate with its Wilson interval and n; without rows only n. Shapes: (N,) of bool."""
    if not len(flags):
        return {"value": None, "low": None, "high": None, "n": 0}
    return {**wilson(int(flags.sum()), len(flags)).as_dict(), "n": len(flags)}
