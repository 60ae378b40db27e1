"""How the risk model does: on validation rows, on business texts, on the planted set, on HateCheck and XSTest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.fairness.ranking import auc, by_named_group
from modelhub.ml.risk.net import JUDGED, KINDS, RiskNet
from modelhub.ml.risk.planted import Planted

MAY_ENFORCE = 0.10  # of the harmless sentences of HateCheck that name a group, at most so many may be blocked
CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def rate(flags: np.ndarray) -> dict[str, Any]:
    """A rate with its Wilson interval and n. Shapes: (N,) of bool."""
    return {**wilson(int(flags.sum()), len(flags)).as_dict(), "n": len(flags)}


def on_tweets(model: RiskNet, threshold: float, limit: int | None = None) -> dict[str, Any]:
    """Validation tweets by what the crowd called them: hate ought to be found, swearing is told as abuse."""
    rows = list(datasets.read_csv("offensive_tweets", "val"))[:limit]
    kinds = model.kinds([row["text"] for row in rows])
    label = np.array([row["label"] for row in rows])
    blocked = kinds[:, :JUDGED].max(axis=1, initial=0.0) >= threshold
    abusive = kinds[:, KINDS.index("abuse")] >= threshold
    return {
        "recall": rate(blocked[label == "hate"]), "swearing_blocked": rate(blocked[label == "offensive"]),
        "false_alarms": rate(blocked[label == "neither"]), "abuse_recall": rate(abusive[label != "neither"]),
        "abuse_false_alarms": rate(abusive[label == "neither"]),
    }  # fmt: skip


def on_cold(model: RiskNet, threshold: float, limit: int | None = None) -> dict[str, Any]:
    """Recall on offensive rows of COLD's validation part, false alarms on the others."""
    rows = datasets.load_offensive("zh", "val")
    rows = rows.take(range(len(rows))[:limit])
    blocked, y = model.score(rows.texts) >= threshold, np.array(rows.labels)
    return {"recall": rate(blocked[y == 1]), "false_alarms": rate(blocked[y == 0])}


def let_pass(written: tuple[int, int], garbled: tuple[int, int]) -> dict[str, Any]:
    """What of held texts that the net blocks a look before it lets pass, each (missed, of)."""
    parts = {"missed": written, "garbled_missed": garbled}
    return {name: {**wilson(n, of).as_dict(), "n": of} for name, (n, of) in parts.items()}


def business_texts(limit: int | None = None) -> list[str]:
    """Validation texts of the workloads, at most `limit` of each."""
    return [text for name in datasets.TEXT_WORKLOADS for text in datasets.load(name, "val").texts[:limit]]


def on_business_texts(model: RiskNet, threshold: float, limit: int | None = None) -> dict[str, Any]:
    """The share of the workloads' own validation texts that would be blocked."""
    return rate(model.score(business_texts(limit)) >= threshold)


def on_planted(model: RiskNet, threshold: float, examined: Sequence[Planted]) -> dict[str, Any]:
    """Recall by kind, harmless sentences blocked, and both by group with the largest distance between two groups."""
    blocked = model.score([one.text for one in examined]) >= threshold
    kind, group = np.array([one.kind for one in examined]), np.array([one.group for one in examined])
    bad = kind != ""
    by_group = {
        str(name): {
            "recall": rate(blocked[bad & (group == name)]),
            "harmless_blocked": rate(blocked[~bad & (group == name)]),
        }
        for name in np.unique(group[group != ""])
        if (bad & (group == name)).any() and (~bad & (group == name)).any()
    }
    recalls = [row["recall"]["value"] for row in by_group.values()] or [0.0]
    return {
        "recall": rate(blocked[bad]), "harmless_blocked": rate(blocked[~bad]),
        "lowest_group_recall": min(recalls), "highest_group_recall": max(recalls),
        "recall_by_kind": {name: rate(blocked[kind == name]) for name in KINDS[:JUDGED] if (kind == name).any()},
        "by_group": by_group, "same_sentence_differs": _differing(examined, blocked),
    }  # fmt: skip


def _differing(examined: Sequence[Planted], blocked: np.ndarray) -> dict[str, Any]:
    """Of sentences said of several groups: how many are blocked for one and not for another."""
    verdicts: dict[int, set[bool]] = defaultdict(set)
    several: dict[int, int] = defaultdict(int)
    for one, hit in zip(examined, blocked, strict=True):
        if one.group:
            verdicts[one.pair].add(bool(hit))
            several[one.pair] += 1
    return rate(np.array([len(verdicts[pair]) > 1 for pair, n in several.items() if n > 1], bool))


def on_hatecheck(model: RiskNet, threshold: float) -> dict[str, Any]:
    """Missed hate, and harmless sentences blocked: in all, where a group is named, by group, by function; and the curve."""
    cases = datasets.load_hatecheck()
    score = model.score([case["text"] for case in cases])
    blocked = score >= threshold
    hateful = np.array([case["label"] == "hateful" for case in cases])
    target = np.array([case["target_ident"] for case in cases])
    named = ~hateful & (target != "")
    functions: dict[str, list[bool]] = defaultdict(list)
    for case, hit in zip(cases, blocked, strict=True):
        functions[case["functionality"]].append(bool(hit))
    return {
        "recall": rate(blocked[hateful]), "missed_hate": rate(~blocked[hateful]), "harmless_blocked": rate(blocked[~hateful]),
        "harmless_naming_a_group_blocked": rate(blocked[named]),
        "harmless_naming_no_group_blocked": rate(blocked[~hateful & (target == "")]),
        "auc": round(auc(score[hateful], score[~hateful]) or 0.0, 4),
        "by_group": {
            group: {
                "missed_hate": rate(~blocked[hateful & (target == group)]),
                "harmless_blocked": rate(blocked[named & (target == group)]),
                **_auc_of(score, hateful, target == group),
            }
            for group in sorted(set(target[named]))
        },
        "blocked_by_function": {name: round(float(np.mean(hits)), 4) for name, hits in sorted(functions.items())},
        "curve": [
            {"threshold": at, "recall": round(float((score[hateful] >= at).mean()), 4),
             "harmless_blocked": round(float((score[~hateful] >= at).mean()), 4)}
            for at in CURVE
        ],
    }  # fmt: skip


def _auc_of(score: np.ndarray, hateful: np.ndarray, member: np.ndarray) -> dict[str, Any]:
    found = by_named_group(score, hateful, member)
    told = {"subgroup_auc": found.subgroup, "bpsn_auc": found.bpsn, "bnsp_auc": found.bnsp}
    return {name: None if value is None else round(value, 4) for name, value in told.items()}


def on_xstest(model: RiskNet, threshold: float) -> dict[str, Any]:
    """Prompts that only look unsafe, and their unsafe contrasts; the guard reads for harm to groups, XSTest is wider."""
    rows = list(datasets.read_csv("xstest", "dev"))
    blocked = model.score([row["prompt"] for row in rows]) >= threshold
    safe = np.array([row["label"] == "safe" for row in rows])
    return {"safe_blocked": rate(blocked[safe]), "unsafe_found": rate(blocked[~safe])}
