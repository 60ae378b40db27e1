"""From how many answers a day on own machines are the cheaper side, for each workload and for the organisation."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Any

from django.db.models import Sum

from costs.models import SpendHour
from costs.planning.break_even import Day, Estimate, estimate
from costs.pricing import HOUR_NS, PPM
from costs.reports import planning_words as words
from costs.reports.base import Report, groups_of, zone_of
from costs.reports.both_sides import DAY, Key, Machines, Work, machines_of, rows_of, whole_days, work_of
from costs.rollups import as_of
from switchyard.core.clock import now
from switchyard.tenancy.models import SENSITIVITIES, Workload
from switchyard.tenancy.querysets import Scope

STAYS_HOME = SENSITIVITIES[SENSITIVITIES.index("confidential") :]
DAYS_PER_MONTH = Fraction(487, 16)  # 365.25 ÷ 12


def break_even(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "workload",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows by workload {"key", "lob", "answers_per_day", "break_even_per_day", "low", "high", "private_fixed_nusd_per_day",
    "private_nusd_per_answer", "external_nusd_per_answer", …_per_1000, "capacity_per_day", "verdict", "action", "sentence"},
    and first the organisation's own for those who see all of it.

    Whole UTC days of the period count, from a workload's first on. Where the reader sees all machines a workload carries
    its share of them by use, else it is reckoned on a machine of its own.
    """
    groups_of(group), zone_of(tz)  # the rows are always workloads; what is wrong is refused all the same
    days = whole_days(start, min(end, now()))
    machines = machines_of(scope, days)
    works = {key: work_of(rows, days, machines) for key, rows in rows_of(scope, days, lob).items()}
    kept = set(
        Workload.objects.for_tenant(scope).filter(sensitivity__in=STAYS_HOME).values_list("name", flat=True)
    )
    found = {
        key: estimate(list(work.days.values()), movable=bool(work.movable) or key[1] not in kept)
        for key, work in works.items()
    }
    rows = [_row(key, works[key], found[key]) for key in sorted(found, key=lambda k: (k[1], k[0]))]
    if machines.shared and not lob and works:
        whole = _organisation(scope, works, machines, days)
        if whole["verdict"] == "always" and whole["machines_bound"]:
            rows = [_riding(row) for row in rows]
        rows.insert(0, whole)
    totals = {
        "days": len(days), "machines": len(machines.names) if machines.shared else None,
        "sentence": rows[0]["sentence"] if rows else words.no_days(),
    }  # fmt: skip
    return Report("break-even", as_of(), rows, totals)


def _row(key: Key, work: Work, found: Estimate) -> dict[str, Any]:
    at_home = Fraction(work.private_answers, max(1, sum(day.answers for day in work.days.values())))
    action = _action(found, at_home)
    row = {"key": key[1], "lob": key[0]} | _figures(found) | {
        "basis": work.basis, "movable_share": float(work.movable_share), "private_share": float(at_home), "action": action,
        "machines_off": None, "saving_nusd_per_month": None,
    }  # fmt: skip
    return row | {"sentence": words.break_even(row)}


def _riding(row: dict[str, Any]) -> dict[str, Any]:
    """By its share of the bills work may be dearer at home, and still cost nothing there: bound work keeps the machines."""
    if row["verdict"] not in ("external", "never", "unclear"):
        return row
    return row | {"action": "ride_along", "sentence": words.riding(row)}


def _action(found: Estimate, at_home: Fraction) -> str:
    if found.verdict == "bound":
        return "keep"
    if found.verdict in ("private", "always"):
        return "keep" if at_home >= Fraction(1, 2) else "move_home"
    if found.verdict in ("external", "never"):
        return "move_out" if at_home > Fraction(1, 2) else "keep"
    return "wait" if found.verdict in ("unclear", "not_enough_data") else ""


def _figures(found: Estimate) -> dict[str, Any]:
    def each(nusd: Fraction | None, times: int = 1) -> int | None:
        return None if nusd is None else round(nusd * times)

    return {
        "answers_per_day": float(found.answers_per_day), "break_even_per_day": found.break_even, "low": found.low,
        "high": found.high, "private_fixed_nusd_per_day": each(found.fixed_nusd),
        "private_nusd_per_answer": each(found.marginal_nusd), "external_nusd_per_answer": each(found.external_nusd),
        "private_nusd_per_1000": each(found.marginal_nusd, 1000),
        "external_nusd_per_1000": each(found.external_nusd, 1000), "capacity_per_day": found.capacity_per_day,
        "days": found.days, "verdict": found.verdict,
    }  # fmt: skip


def _organisation(
    scope: Scope, works: dict[Key, Work], machines: Machines, days: list[datetime]
) -> dict[str, Any]:
    """All work that may leave, against the machines that could go: bound work keeps those that its busiest hour needs."""
    bound = [key for key, work in works.items() if not work.movable]
    movable = [work for work in works.values() if work.movable]
    running = len(machines.names)
    must_stay = min(running, _needed(scope, bound, machines, days)) if bound else 0
    free = must_stay == running > 0 and _needed(scope, list(works), machines, days) <= running
    share = Fraction(running - must_stay, running) if running else Fraction(0)
    told = _together(movable, machines, share, free, days)
    found = estimate(told, movable=bool(movable) or not bound)
    at_home = Fraction(
        sum(work.private_answers for work in movable), max(1, sum(day.answers for day in told))
    )
    off = running - must_stay if found.verdict in ("external", "never") else 0
    saved = None
    if off and found.fixed_nusd is not None and found.external_nusd is not None:
        saved = round((found.fixed_nusd - found.external_nusd * found.answers_per_day) * DAYS_PER_MONTH)
    requests = sum(work.requests for work in works.values())
    row = {"key": "organisation", "lob": ""} | _figures(found) | {
        "basis": "machines", "movable_share": sum(work.movable for work in movable) / requests if requests else 0.0,
        "private_share": float(min(at_home, Fraction(1))), "action": "switch_off" if off else _action(found, at_home),
        "machines_off": off, "saving_nusd_per_month": saved, "machines": running, "machines_bound": must_stay,
        "machines_nusd_per_day": _bill_of_a_day(machines, days), "rides_free": free,
    }  # fmt: skip
    return row | {"sentence": words.organisation(row)}


def _together(
    works: list[Work], machines: Machines, share: Fraction, free: bool, days: list[datetime]
) -> list[Day]:
    """The days of all movable work, and on each that share of what the machines cost. `free`: bound work keeps machines
    with room enough, so that at home one more answer costs nothing."""
    if not works:
        return []
    first, told = min(min(work.days) for work in works), []
    for day in (day for day in days if day >= first):
        parts = [(work.days[day], work.movable_share) for work in works if day in work.days]
        bills = [machines.a_day(node, day) for node in machines.names]
        told.append(
            Day(
                answers=round(sum((part.answers * movable for part, movable in parts), Fraction(0))),
                external_nusd=sum((part.external_nusd for part, _ in parts), Fraction(0)),
                external_answers=sum((part.external_answers for part, _ in parts), Fraction(0)),
                private_nusd=Fraction(0)
                if free
                else sum((part.private_nusd for part, _ in parts), Fraction(0)),
                private_answers=sum((part.private_answers for part, _ in parts), Fraction(0)),
                fixed_nusd=share * sum((bill for bill in bills if bill is not None), Fraction(0)),
            )
        )
    return told


def _bill_of_a_day(machines: Machines, days: list[datetime]) -> int:
    """Nano-dollars of all machines, the mean of these days."""
    bills = [machines.a_day(node, day) for node in machines.names for day in days]
    return round(sum((bill for bill in bills if bill is not None), Fraction(0)) / max(1, len(days)))


def _needed(scope: Scope, bound: list[Key], machines: Machines, days: list[datetime]) -> int:
    """Machines that the busiest hour of bound work fills as planned; one at least."""
    rows = SpendHour.objects.for_tenant(scope).filter(
        side="private",
        workload__in=[workload for _lob, workload in bound],
        start__gte=days[0],
        start__lt=days[-1] + DAY,
    )
    hours = rows.order_by().values("start").annotate(ns=Sum("accelerator_ns"))
    busiest = max((row["ns"] for row in hours), default=0)
    planned = min((rate.planned_utilisation_ppm for rate in machines.rates.values()), default=PPM)
    return max(1, ceil(Fraction(busiest * PPM, HOUR_NS * planned)))
