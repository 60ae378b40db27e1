"""What was spent, and which side answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from costs.models import LEGS
from costs.reports.base import TIMES, Asked, Report, grouped, groups_of, totals_of, zone_of
from costs.reports.labels import labels_by
from costs.rollups import as_of, hour_of
from switchyard.tenancy.querysets import Scope

TOKEN_CLASS = "token_class"
COUNTS = ("cost_nusd", "requests", "answers", "errors", "tokens_in", "tokens_out")
FILTERS = ("application", "workload", "deployment", "model", "side", "node", "purpose")
UNSPLIT = "unsplit"  # what was metered before costs were kept by their parts


def spend(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
    **only: str | None,
) -> Report:
    """Rows {"key", "cost_nusd", "loaded_nusd", "prev_cost_nusd", "change", "requests", "answers", "errors", "tokens_in",
    "tokens_out", "labels_nusd"}; totals the same, and "all_in_nusd": calls and labels together.

    `labels_nusd` is what labels, reviews and accepted feedback cost, which no call is behind: where a label has no such name
    (an application, a side, …) it stands in the row "labels". `cost_nusd` never holds it.

    `prev_cost_nusd` is what the same key cost in the period of equal length before, `change` the difference as a share of it
    (None from nothing); keys that cost something then and nothing now are listed too. Rows by time have neither: the totals
    do. `loaded_nusd` is the metered cost with the variance that closed node hours brought. Grouped by `token_class`, alone
    or with one more, rows are {"key", "cost_nusd", "prev_cost_nusd", "change", "units", "labels_nusd"}: input, cached_input,
    cache_write, output, reasoning and audio tokens, calls, searches, seconds, compute (accelerator nanoseconds), and what a
    minimum charge added.
    `only`: application, workload, deployment, model, side, node or purpose = the one to look at.
    """
    groups, zone = groups_of(group, (TOKEN_CLASS,)), zone_of(tz)
    unknown = set(only) - set(FILTERS)
    if unknown:
        raise ValueError(
            f"Spend is not narrowed by {', '.join(sorted(unknown))}: only by {', '.join(FILTERS)}."
        )
    start = hour_of(start)
    before = start - (end - start)
    names = [g for g in groups if g != TOKEN_CLASS]
    found = grouped(Asked(scope, start, end, lob, only), names, zone)
    # The hour that the earlier period ends in is this one's, whole.
    past = grouped(Asked(scope, before, start, lob, only), [n for n in names if n not in TIMES], zone)
    total, was = totals_of(found.values()), totals_of(past.values())
    labels = labels_by(scope=scope, start=start, end=end, groups=groups, zone=zone, lob=lob, only=only)
    if TOKEN_CLASS in groups:
        out = _by_class(found, {} if any(n in TIMES for n in names) else past, groups)
        totals: dict[str, Any] = {"cost_nusd": total["cost_nusd"]}
    else:
        timed = any(n in TIMES for n in names)
        keys = sorted({*found, *labels, *({} if timed else past)})
        nothing = dict.fromkeys(total, 0)
        out = [
            {"key": key}
            | _row(found.get(key, nothing))
            | ({} if timed else _change(found.get(key, nothing), past.get(key)))
            for key in keys
        ]
        totals = _row(total)
    of_labels = sum(labels.values())
    beside = {"labels_nusd": of_labels, "all_in_nusd": total["cost_nusd"] + of_labels}
    return Report("spend", as_of(), _with_labels(out, labels), totals | _change(total, was) | beside)


def _with_labels(rows: list[dict[str, Any]], labels: Mapping[str, int]) -> list[dict[str, Any]]:
    """The rows, each with what its labels cost; keys of labels that have no row of calls get one."""
    known = {row["key"] for row in rows}
    empty = {"cost_nusd": 0, "prev_cost_nusd": 0, "change": None, "units": None}
    more = [{"key": key} | empty for key in labels if key not in known]
    return [row | {"labels_nusd": labels.get(row["key"], 0)} for row in [*rows, *more]]


def _row(sums: dict[str, int]) -> dict[str, Any]:
    return {n: sums[n] for n in COUNTS} | {"loaded_nusd": sums["cost_nusd"] + sums["variance_nusd"]}


def _change(sums: dict[str, int], was: dict[str, int] | None, name: str = "cost_nusd") -> dict[str, Any]:
    before = was[name] if was else 0
    return {"prev_cost_nusd": before, "change": (sums[name] - before) / before if before else None}


def _by_class(
    found: dict[str, dict[str, int]], past: dict[str, dict[str, int]], groups: list[str]
) -> list[dict[str, Any]]:
    """Each key's cost by its parts; they sum to the cost, and parts that nobody paid for are left out."""
    last = groups[-1] == TOKEN_CLASS
    legs, keys = (*LEGS, UNSPLIT), sorted({*found, *past})
    pairs = (
        [(key, leg) for key in keys for leg in legs] if last else [(key, leg) for leg in legs for key in keys]
    )
    out = []
    for key, leg in pairs:
        now, was = _legs(found.get(key)), _legs(past.get(key))
        if now[leg] or was[leg]:
            name = "|".join(part for part in ((key, leg) if last else (leg, key)) if part)
            sums = {"cost_nusd": now[leg], **_change(now, was, leg), "units": _units(found.get(key), leg)}
            out.append({"key": name} | sums)
    return out


def _legs(sums: dict[str, int] | None) -> dict[str, int]:
    if sums is None:
        return dict.fromkeys((*LEGS, UNSPLIT), 0)
    legs = {leg: sums[f"{leg}_nusd"] for leg in LEGS}
    return legs | {UNSPLIT: sums["cost_nusd"] - sum(legs.values())}


def _units(sums: dict[str, int] | None, leg: str) -> int | None:
    """What the part counts; None where the roll-ups don't say."""
    if sums is None:
        return 0
    cached, written = sums["cached_tokens_in"], sums["cache_write_tokens"]
    heard, spoken = sums["audio_tokens_in"], sums["audio_tokens_out"]
    found = {
        "input": sums["tokens_in"] - cached - written - heard, "cached_input": cached, "cache_write": written,
        "output": sums["tokens_out"] - sums["reasoning_tokens"] - spoken, "reasoning": sums["reasoning_tokens"],
        "calls": sums["requests"], "compute": sums["accelerator_ns"], "audio_input": heard, "audio_output": spoken,
        "searches": sums["searches"],
    }  # fmt: skip
    return found.get(leg)


def share(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key", "private", "external"}: requests that each side answered."""
    first = groups_of(group)[0]
    if first == "side":
        raise ValueError("The share is of the sides already: group it by something else.")
    found = grouped(Asked(scope, start, end, lob), [first, "side"], zone_of(tz))
    rows: dict[str, dict[str, Any]] = {}
    for both, sums in found.items():
        key, _, side = both.rpartition("|")
        row = rows.setdefault(key, {"key": key, "private": 0, "external": 0})
        row[side] += sums["requests"]
    totals = {side: sum(row[side] for row in rows.values()) for side in ("private", "external")}
    return Report("share", as_of(), list(rows.values()), totals)
