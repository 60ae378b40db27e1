"""How the risk classifier does: on its own validation rows, on ordinary business texts, and on HateCheck."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.risk.model import RiskWeights

MAY_ENFORCE = 0.10  # of the harmless sentences that name a group, at most so many may be blocked


def rate(flags: np.ndarray) -> dict[str, Any]:
    """A rate with its Wilson interval and n. Shapes: (N,) of bool."""
    return {**wilson(int(flags.sum()), len(flags)).as_dict(), "n": len(flags)}


def on_validation(
    model: RiskWeights, language: str, threshold: float, limit: int | None = None
) -> dict[str, Any]:
    """Recall on offensive rows and false alarms on the others of one language's validation part."""
    rows = datasets.load_offensive(language, "val")
    rows = rows.take(range(len(rows))[:limit])
    blocked, y = model.score(rows.texts) >= threshold, np.array(rows.labels)
    return {"recall": rate(blocked[y == 1]), "false_alarms": rate(blocked[y == 0])}


def business_texts(limit: int | None = None) -> list[str]:
    """Validation texts of the workloads, at most `limit` of each."""
    return [text for name in datasets.TEXT_WORKLOADS for text in datasets.load(name, "val").texts[:limit]]


def on_business_texts(model: RiskWeights, threshold: float, limit: int | None = None) -> dict[str, Any]:
    """The share of the workloads' own validation texts that would be blocked."""
    return rate(model.score(business_texts(limit)) >= threshold)


def on_hatecheck(model: RiskWeights, threshold: float) -> dict[str, Any]:
    """Missed hate, and harmless sentences blocked: in all, where a group is named, by group, by function."""
    cases = datasets.load_hatecheck()
    blocked = model.score([case["text"] for case in cases]) >= threshold
    hateful = np.array([case["label"] == "hateful" for case in cases])
    target = np.array([case["target_ident"] for case in cases])
    named = ~hateful & (target != "")
    groups = sorted(set(target[named]))
    functions: dict[str, list[bool]] = defaultdict(list)
    for case, hit in zip(cases, blocked, strict=True):
        functions[case["functionality"]].append(bool(hit))
    return {
        "missed_hate": rate(~blocked[hateful]),
        "harmless_naming_a_group_blocked": rate(blocked[named]),
        "harmless_naming_no_group_blocked": rate(blocked[~hateful & (target == "")]),
        "by_group": {
            group: {
                "missed_hate": rate(~blocked[hateful & (target == group)]),
                "harmless_blocked": rate(blocked[named & (target == group)]),
            }
            for group in groups
        },
        "blocked_by_function": {
            name: round(float(np.mean(hits)), 4) for name, hits in sorted(functions.items())
        },
    }
