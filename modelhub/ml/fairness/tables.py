"""Decisions in tables, audited: `SWITCHYARD_DATA=… python -m modelhub.ml.fairness.tables` shows two worked examples.

What each asks: a column of decisions (0 or 1), the truth where there is one, and columns that hold groups as people stated
them. Nothing is inferred. COMPAS is the known case of unequal false alarms; ACS income
shows selection by group where the truth differs.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from modelhub.ml.fairness import frame, rates
from modelhub.ml.fairness.intervals import newcombe, wilson
from modelhub.ml.fairness.paired import holm
from modelhub.ml.fairness.verdict import judge_difference

LIMIT = 0.05
SMALLEST_GROUP = 20
HIGH_RISK_DECILE = 5  # what ProPublica counted as medium or high


def audit(
    selected: np.ndarray, truth: np.ndarray | None, categories: Mapping[str, np.ndarray], limit: float = LIMIT
) -> dict[str, Any]:
    """Impact ratios with intersections; where there is a truth, false alarms and hits of every group against the rest.

    Shapes: (N,) each,
    selected and truth of 0 and 1. Each difference carries Newcombe's interval and a verdict; a group fails
    when its interval lies wholly beyond ±limit and it still does after Holm over all of them.
    """
    selected = np.asarray(selected)
    report: dict[str, Any] = {"n": len(selected), "limit": limit, "impact": {}, "gaps": []}
    for name, rows in frame.impact_ratios(selected, categories).items():
        report["impact"][name] = [
            {
                "category": row.category,
                "n": row.n,
                "selection": row.selection.as_dict(),
                "ratio": row.ratio,
                "left_out": row.left_out,
            }
            for row in rows
            if row.n >= SMALLEST_GROUP
        ]
    if truth is None:
        return report
    truth = np.asarray(truth)
    for name, column in categories.items():
        found = rates.by_group(np.asarray(column).astype(str), selected, truth)
        report.setdefault("parity", {})[name] = {
            "demographic_parity_difference": round(rates.demographic_parity_difference(found), 4),
            "equal_opportunity_difference": round(rates.equal_opportunity_difference(found), 4),
            "equalized_odds_difference": round(rates.equalized_odds_difference(found), 4),
        }
        for group in found:
            member = np.asarray(column).astype(str) == group
            report["gaps"] += [
                _gap(name, group, kind, selected, truth == value, member, limit)
                for kind, value in KINDS.items()
            ]
    judged = [row for row in report["gaps"] if "p_value" in row]
    for row, adjusted in zip(judged, holm([row["p_value"] for row in judged]), strict=True):
        row["p_holm"] = round(adjusted, 5)
        if row["verdict"] == "fail" and adjusted >= 0.05:
            row["verdict"] = "not_enough_data"
    report["verdict"] = _overall(report["gaps"])
    return report


KINDS = {"false alarms": 0, "hits": 1}


def _gap(
    category: str,
    group: str,
    kind: str,
    selected: np.ndarray,
    among: np.ndarray,
    member: np.ndarray,
    limit: float,
) -> dict[str, Any]:
    """A group's rate less that of the rest, among rows whose truth is 0 (false alarms) or 1 (hits)."""
    own, rest = selected[member & among], selected[~member & among]
    told = {"category": category, "group": group, "kind": kind}
    if min(len(own), len(rest)) < SMALLEST_GROUP:
        return told | {
            "n": None,
            "verdict": "not_enough_data",
            "note": f"fewer than {SMALLEST_GROUP} rows: not shown",
        }
    gap = newcombe(int(own.sum()), len(own), int(rest.sum()), len(rest))
    verdict = judge_difference(gap, limit, len(own))
    nearest = min(abs(gap.low), abs(gap.high)) if gap.low * gap.high > 0 else 0.0
    spread = (gap.high - gap.low) / (2 * 1.959963984540054)
    excess = max(0.0, abs(gap.value) - limit) / spread if spread > 0 else 0.0
    return told | {
        "n": len(own), "rate": wilson(int(own.sum()), len(own)).as_dict(),
        "rest": wilson(int(rest.sum()), len(rest)).as_dict(),
        "gap": gap.as_dict(), "at_least": round(nearest, 4), "p_value": float(2 * stats.norm.sf(excess)),
        "verdict": verdict.outcome,
        "n_needed": verdict.n_needed,
    }  # fmt: skip


def _overall(gaps: list[dict[str, Any]]) -> str:
    verdicts = [row["verdict"] for row in gaps if row["n"] is not None]
    if "fail" in verdicts:
        return "fail"
    return "pass" if verdicts and set(verdicts) == {"pass"} else "not_enough_data"


def read(path: Path) -> dict[str, np.ndarray]:
    """A gzip CSV by column. Raises FileNotFoundError."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def compas(data: Path) -> dict[str, Any]:
    """COMPAS scores of five and more as "high risk" against recidivism within two years."""
    column = read(data / "bias" / "compas_dev.csv.gz")
    selected = (column["decile_score"].astype(int) >= HIGH_RISK_DECILE).astype(int)
    return audit(
        selected, column["two_year_recid"].astype(int), {"race": column["race"], "sex": column["sex"]}
    )


def acs_income(data: Path, seed: int = 0) -> dict[str, Any]:
    """A logistic regression's answer to "over $50,000?" on other census rows, without sex or race among its columns."""
    from sklearn.linear_model import LogisticRegression

    fit, held = (read(data / "bias" / f"acs_income_{part}.csv.gz") for part in ("train", "val"))
    names = ("age", "hours_per_week", "schooling_code", "worker_class_code", "marital_code")
    x_fit, x_held = (np.stack([part[name].astype(float) for name in names], axis=1) for part in (fit, held))
    mean, scale = x_fit.mean(axis=0), x_fit.std(axis=0)
    model = LogisticRegression(max_iter=300, random_state=seed).fit(
        (x_fit - mean) / scale, fit["income_over_50k"].astype(int)
    )
    selected = model.predict((x_held - mean) / scale)
    race = np.array(["White", "Black"])[np.minimum(held["race_code"].astype(int), 1)]
    race = np.where(
        held["race_code"].astype(int) == 5,
        "Asian",
        np.where(held["race_code"].astype(int) > 1, "other", race),
    )
    sex = np.where(held["sex_code"] == "2", "female", "male")
    return audit(selected, held["income_over_50k"].astype(int), {"race": race, "sex": sex})


def main() -> None:
    """Print both examples as JSON."""
    place = os.environ.get("SWITCHYARD_DATA")
    if not place:
        print("SWITCHYARD_DATA is not set: it must name the folder that holds bias/", file=sys.stderr)
        raise SystemExit(2)
    told = {"compas": compas(Path(place)), "acs_income": acs_income(Path(place))}
    print(json.dumps(told, indent=1, default=str))


if __name__ == "__main__":
    main()
