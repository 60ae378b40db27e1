"""A replay in dollars, shares and names: the report whose shape routing.whatif.services.what_if tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override
from numpy.typing import NDArray

from routing.whatif.columns import day_name
from routing.whatif.estimate import Estimate
from routing.whatif.intervals import interval
from routing.whatif.movers import crossings, leaves, movers
from routing.whatif.replay import Question, Replayed
from switchyard.core.money import format_usd

Floats = NDArray[np.float64]
MOST_UNKNOWN = (
    0.05  # share of the answers whose rate of right ones nobody knows, from which on no accuracy is told
)
DAYS_TO_SAY, DAYS_TO_SAY_SURELY = 2, 8
COST_FIGURES = (
    "before_usd", "after_usd", "change_usd", "low_usd", "high_usd", "change_pct", "low_pct", "high_pct",
)  # fmt: skip
NOTES = {
    "today": _("Deployments and qualities are those of today; a deployment that is gone is passed over."),
    "judged": _(
        "Right answers are judged by feedback and evaluations; who gives feedback is taken to be nobody special."
    ),
    "dynamic": _(
        "Budgets and queues are as they were recorded: how the new version would fill them is not played through."
    ),
    "chances": _(
        "A rule chooses by each prompt's own chances, and no record holds any: the evaluated quality stands in."
    ),
    "short": _("The window is too short for intervals."),
    "wide": _("The intervals rest on few spans of time and are wide."),
}


def build(question: Question, found: Replayed) -> dict[str, Any]:
    """Everything but the names of the versions, the window and the time it took."""
    traffic = found.traffic
    rows = [
        {"lob": lob, "workload": workload, **metrics(found, [w])}
        for w, (lob, workload) in enumerate(found.strata.names)
    ]
    by_lob: dict[str, list[int]] = defaultdict(list)
    for w, (lob, _workload) in enumerate(found.strata.names):
        by_lob[lob].append(w)
    everything = list(range(len(found.strata.names)))
    return {
        "requests": traffic.requests,
        "left_out": dict(traffic.left_out.most_common()),
        "distinct": len(traffic.groups),
        "changed": round(float(changed(found).sum())),
        "totals": metrics(found, everything),
        "lobs": [{"lob": lob, **metrics(found, ws)} for lob, ws in sorted(by_lob.items())],
        "workloads": sorted(rows, key=lambda row: (row["lob"], row["workload"])),
        "by_day": _by_day(found),
        "movers": movers(found),
        "crossings": crossings(found),
        "leaves": leaves(found),
        "not_enough": _not_enough(found),
        "notes": _notes(question, found),
    }


def metrics(found: Replayed, workloads: Sequence[int]) -> dict[str, Any]:
    """METRICS of some workloads together."""
    before = {name: values[:, workloads].sum(1) for name, values in found.before.estimate.totals.items()}
    after = {name: values[:, workloads].sum(1) for name, values in found.after.estimate.totals.items()}
    n = float(before["n"][0])
    mine = np.isin(found.strata.workload[found.traffic.rows["group"]], workloads)
    return {
        "requests": round(n),
        "changed": round(float(changed(found)[mine].sum())),
        "cost": _cost(before["cost"], after["cost"], before["n"], found.blocks),
        "cost_today": _cost(before["today"], after["today"], before["n"], found.blocks),
        "accuracy": _accuracy(found, before, after, workloads),
        "latency_ms": _latency(before, after, found.blocks),
        "sides": {"before": _sides(before), "after": _sides(after)},
    }


def _cost(before: Floats, after: Floats, n: Floats, blocks: int) -> dict[str, Any]:
    """Totals of the window; the interval is that of the mean change, times the requests there were."""
    told = float(before[0]), float(after[0])
    if not np.isfinite(told).all():
        return dict.fromkeys(
            (
                "before_usd",
                "after_usd",
                "change_usd",
                "low_usd",
                "high_usd",
                "change_pct",
                "low_pct",
                "high_pct",
            )
        )
    requests = float(n[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        change = interval((after - before) / n * requests, blocks)
        share = interval(100 * (after - before) / before, blocks)
    low, high = change or (None, None)
    return {
        "before_usd": format_usd(round(told[0])), "after_usd": format_usd(round(told[1])),
        "change_usd": format_usd(round(told[1]) - round(told[0])),
        "low_usd": None if low is None else format_usd(round(low)),
        "high_usd": None if high is None else format_usd(round(high)),
        "change_pct": round(100 * (told[1] - told[0]) / told[0], 2) if told[0] else None,
        "low_pct": round(share[0], 2) if share else None, "high_pct": round(share[1], 2) if share else None,
    }  # fmt: skip


def _accuracy(
    found: Replayed, before: dict[str, Floats], after: dict[str, Floats], workloads: Sequence[int]
) -> dict[str, Any]:
    n = evidence(found.after.estimate, found, workloads)
    nothing = {"before": None, "after": None, "change": None, "low": None, "high": None, "n": n}
    for arm in (before, after):
        if arm["answered"][0] <= 0 or arm["judgeable"][0] < (1 - MOST_UNKNOWN) * arm["answered"][0]:
            return nothing | {"verdict": "not_enough_data"}
    if _thin(found, workloads):
        return nothing | {"verdict": "not_enough_data"}
    with np.errstate(invalid="ignore", divide="ignore"):
        old, new = before["right"] / before["judgeable"], after["right"] / after["judgeable"]
    low, high = interval(new - old, found.blocks) or (None, None)
    return {
        "before": round(float(old[0]), 4), "after": round(float(new[0]), 4),
        "change": round(float(new[0] - old[0]), 4), "low": None if low is None else round(low, 4),
        "high": None if high is None else round(high, 4), "n": n, "verdict": "enough",
    }  # fmt: skip


def _thin(found: Replayed, workloads: Sequence[int]) -> bool:
    """Whether more than a trifle of the answers would come from somebody who was hardly ever judged."""
    wanted = set(workloads)
    resting = sum(
        requests
        for (workload, _target, what), (_n, _needed, requests) in found.after.estimate.evidence.items()
        if what == "accuracy" and workload in wanted
    )
    answered = float(found.after.estimate.totals["answered"][0, list(workloads)].sum())
    return resting > MOST_UNKNOWN * answered


def evidence(estimate: Estimate, found: Replayed, workloads: Sequence[int]) -> int:
    """Judged answers of the deployments that would answer, evaluations included."""
    wanted, targets = set(workloads), {t.name: i for i, t in enumerate(found.basis.targets)}
    used: set[tuple[int, int]] = set()
    for key in found.after.cells.key.tolist():
        if key[0] in wanted:
            used |= {(key[0], targets[name]) for name, _until in found.after.cells.chains[key[7]]}
    return int(sum(found.basis.of(workload).judged[target] for workload, target in used))


def _latency(before: dict[str, Floats], after: dict[str, Floats], blocks: int) -> dict[str, Any]:
    if before["answered"][0] <= 0 or after["answered"][0] <= 0:
        return {"before": None, "after": None, "change": None, "low": None, "high": None}
    with np.errstate(invalid="ignore", divide="ignore"):
        old, new = before["latency"] / before["answered"], after["latency"] / after["answered"]
    low, high = interval(new - old, blocks) or (None, None)
    told = {"before": old[0], "after": new[0], "change": new[0] - old[0], "low": low, "high": high}
    return {name: None if value is None else round(float(value), 2) for name, value in told.items()}


def _sides(arm: dict[str, Floats]) -> dict[str, int]:
    external, private = round(float(arm["external"][0])), round(float(arm["private"][0]))
    return {
        "private": private,
        "external": external,
        "refused": max(0, round(float(arm["n"][0])) - external - private),
    }


def changed(found: Replayed) -> Floats:
    """By row: the share of it that another deployment would answer first."""
    moved = np.zeros(len(found.traffic.groups))
    for g, (old, new) in enumerate(zip(found.before.outcomes, found.after.outcomes, strict=True)):
        shares: dict[Any, float] = defaultdict(float)
        for outcome in old:
            shares[outcome.chain] += outcome.share
        moved[g] = 1 - sum(
            min(outcome_share, shares.get(chain, 0.0)) for chain, outcome_share in _shares(new)
        )
    return moved[found.traffic.rows["group"]]


def _shares(outcomes: Sequence[Any]) -> list[tuple[Any, float]]:
    found: dict[Any, float] = defaultdict(float)
    for outcome in outcomes:
        found[outcome.chain] += outcome.share
    return list(found.items())


def _by_day(found: Replayed) -> list[dict[str, Any]]:
    days = found.traffic.rows["day"]
    if not len(days):
        return []
    first, last = int(days.min()), int(days.max())
    sums = []
    for side in (found.before, found.after):
        cost = side.cells.by_row(np.nan_to_num(side.estimate.cells["cost"]), found.traffic.requests)
        sums.append(np.bincount(days - first, cost, last - first + 1))
    count = np.bincount(days - first, minlength=last - first + 1)
    return [
        {
            "day": day_name(first + i), "before_usd": format_usd(round(float(sums[0][i]))),
            "after_usd": format_usd(round(float(sums[1][i]))), "requests": int(count[i]),
        }
        for i in range(last - first + 1)
    ]  # fmt: skip


def _not_enough(found: Replayed) -> list[dict[str, Any]]:
    rows = [
        {
            "lob": found.strata.names[w][0], "workload": found.strata.names[w][1],
            "deployment": found.basis.targets[target].name, "what": what, "n": n, "needed": needed,
            "requests": round(requests),
        }
        for (w, target, what), (n, needed, requests) in found.after.estimate.evidence.items()
        if round(requests)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row["requests"])


def _notes(question: Question, found: Replayed) -> list[str]:
    """What a reader must know to weigh the figures; sentences of NOTES, which pages translate."""
    tested = question.relevant()
    told = ["today", "judged"]
    if any(fact.startswith(("budget.", "private.queue")) for fact in tested.facts):
        told.append("dynamic")
    if tested.learned and not any(group.chances for group in found.traffic.groups):
        told.append("chances")
    if found.blocks < DAYS_TO_SAY:
        told.append("short")
    elif found.blocks < DAYS_TO_SAY_SURELY:
        told.append("wide")
    with override("en"):  # the report is stored; pages say it in their reader's language
        return [str(NOTES[name]) for name in told]
