"""What one business event costs and brings, where the app reports them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from django.db.models import Q, Sum

from costs.lifetime import Events, Lifetime, before, shared_cost, unit_figures
from costs.models import BusinessEvent, WorkloadPlan
from costs.reports.base import Report, groups_of, zone_of
from costs.reports.lifetime import Key, Span, lifetimes, plans_of
from costs.rollups import as_of
from switchyard.core.money import usd_to_nusd
from switchyard.tenancy.querysets import Scope

Kind = tuple[str, str, str]  # line of business, workload, event


def unit_economics(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "workload",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows by workload and kind of event {"key": "workload|event", "workload", "lob", "event", "events", "cost_nusd",
    "value_nusd", "margin_nusd", "nusd_per_event", "inference_nusd_per_event", "value_nusd_per_event",
    "margin_nusd_per_event", "answers_per_event"}, and the same of the period before under "before_…".

    The cost is the workload's lifetime cost; where it has several kinds of event it is shared by their number, so that
    rows sum to the totals. A value is what the app reported, else what the plan says one event is worth.
    """
    groups_of(group), zone_of(tz)  # the rows are always kinds of event; what is wrong is refused all the same
    span, plans = Span.of(start, end), plans_of(scope, lob)
    now_rows, now_total = _figures(scope, span, lob, plans)
    past_rows, past_total = _figures(scope, span.before(), lob, plans)
    nothing = unit_figures(Events(), 0, 0, Fraction(0))
    rows = [
        {"key": f"{kind[1]}|{kind[2]}", "workload": kind[1], "lob": kind[0], "event": kind[2]}
        | now_rows.get(kind, nothing)
        | before(past_rows.get(kind, nothing))
        for kind in sorted(now_rows.keys() | past_rows.keys(), key=lambda kind: (kind[1], kind[2], kind[0]))
    ]
    return Report("unit-economics", as_of(), rows, now_total | before(past_total))


def _figures(
    scope: Scope, span: Span, lob: str | None, plans: Mapping[Key, WorkloadPlan]
) -> tuple[dict[Kind, dict[str, Any]], dict[str, Any]]:
    """Each kind's figures, and those of all together."""
    kinds = _events(scope, span, lob, plans)
    costs = lifetimes(scope, span, lob, plans) if kinds else {}
    by_workload: defaultdict[Key, list[Kind]] = defaultdict(list)
    for kind in sorted(kinds):
        by_workload[kind[:2]].append(kind)
    rows: dict[Kind, dict[str, Any]] = {}
    total, whole = Events(), Lifetime()
    for key, members in by_workload.items():
        cost = costs.get(key, Lifetime())
        counts = [kinds[kind].count for kind in members]
        full, inference = shared_cost(cost.total_nusd, counts), shared_cost(cost.inference_nusd, counts)
        for place, kind in enumerate(members):
            answers = Fraction(cost.answers * counts[place], sum(counts))
            rows[kind] = unit_figures(kinds[kind], full[place], inference[place], answers)
            total = total + kinds[kind]
        whole += cost
    return rows, unit_figures(total, whole.total_nusd, whole.inference_nusd, Fraction(whole.answers))


def _events(
    scope: Scope, span: Span, lob: str | None, plans: Mapping[Key, WorkloadPlan]
) -> dict[Kind, Events]:
    rows = BusinessEvent.objects.for_tenant(scope).filter(at__gte=span.start, at__lt=span.end)
    rows = rows.filter(lob=lob) if lob else rows
    known = Q(value_nusd__isnull=False)
    sums = rows.order_by().values("lob", "workload", "name")
    found = {}
    for row in sums.annotate(n=Sum("count"), value=Sum("value_nusd"), told=Sum("count", filter=known)):
        kind = (row["lob"], row["workload"], row["name"])
        told, value = row["told"] or 0, row["value"] or 0
        each = _planned_value(plans.get(kind[:2]), row["name"])
        if each is not None:
            value, told = value + each * (row["n"] - told), row["n"]
        found[kind] = Events(row["n"], told, value)
    return found


def _planned_value(plan: WorkloadPlan | None, name: str) -> int | None:
    """Nano-dollars of one event, where the plan speaks of this kind."""
    if plan is None or plan.event_value_usd is None or plan.event_name not in ("", name):
        return None
    return usd_to_nusd(plan.event_value_usd)
