"""How many machines the private side needs: its own arrivals and service times through an exact queue, not averages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from django.db.models import Min

from costs.contracts import NodeRate
from costs.models import Node, WorkloadPlan
from costs.nodes.standard import node_rates
from costs.planning.queueing import Outcome, Planner
from costs.pricing import HOURS_PER_MONTH
from costs.reports import planning_words as words
from costs.reports.arrivals import Arrivals, NothingToQueue, private_arrivals
from costs.reports.base import Report, groups_of, zone_of
from costs.reports.options import number, numbers
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope

FACTORS = (0.5, 1.0, 2.0, 5.0)
# Where those leave one machine idle: today's arrivals, and those that fill one to these shares, so that the knee is seen.
BUSY = (0.5, 0.8, 0.95)
TARGET_MS, PERCENTILE = 1000.0, 95.0
PARAMETERS = {
    "factor": numbers("factor", 0.01, 10_000_000),
    "target_ms": number("target_ms", 0.001, 3_600_000),
    "percentile": number("percentile", 50, 99.9),
    "workload": str,
    "pool": str,
}


def capacity(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
    factor: Collection[float] | None = None,
    target_ms: float | None = None,
    percentile: float = PERCENTILE,
    workload: str | None = None,
    pool: str | None = None,
    arrivals_of: Callable[..., Arrivals] = private_arrivals,
) -> Report:
    """Rows {"key": "2x|3", "factor", "servers", "utilisation", "stable", "wait_p50_ms" … "response_p99_ms", "over_target",
    "meets"}: 2 times today's arrivals before 3 machines. Totals: the fewest that meet the target by factor, and what follows.

    Without `factor` half to five times today's arrivals, or where one machine hardly notices those, up to where it is full.
    Without `target_ms` the strictest latency target of the plans holds, else one second. All machines are told of to those
    who see the whole organisation; narrower questions are answered as if that work had machines of its own.
    """
    groups_of(group), zone_of(tz)  # rows are always loads and machines; what is wrong is refused all the same
    rates = machines_of(scope, pool)
    alone = rates is None or bool(lob or workload)
    target = target_ms or strictest_target(scope, lob, workload)
    asked = {"target_ms": target, "percentile": percentile, "machines": None if alone else len(rates or {})}
    nodes = Node.objects.filter(organisation_id=scope.organisation_id, pool=pool) if pool else None
    try:
        arrivals = arrivals_of(
            scope, start, end, lob=lob, workload=workload,
            nodes=None if nodes is None else frozenset(nodes.values_list("name", flat=True)),
        )  # fmt: skip
    except NothingToQueue:
        return Report("capacity", as_of(), [], asked | {"sentence": words.nothing_to_queue()})
    planner = Planner(arrivals.trace, target_ms=target, percentile=percentile)
    factors = sorted(factor or loads_of(arrivals.trace.load))
    outcomes = planner.table(factors, also=[] if alone else [len(rates or {})])
    totals = asked | {"factors": factors} | _sample(arrivals)
    totals |= _needed(planner, factors, None if alone else rates or {})
    return Report("capacity", as_of(), [_row(o, percentile) for o in outcomes], totals)


def loads_of(load: float) -> tuple[float, ...]:
    """Multiples of today's arrivals that are worth a look where these keep `load` machines busy."""
    if max(FACTORS) * load >= BUSY[0]:
        return FACTORS
    return (1.0, *(float(f"{busy / load:.2g}") for busy in BUSY))


def machines_of(scope: Scope, pool: str | None = None) -> dict[str, NodeRate] | None:
    """The organisation's machines and their rates; None for those who see a part of it. ValueError for a pool without any,
    or asked for by somebody who may not know."""
    if scope.organisation_id is None or scope.lob_slugs is not None:
        if pool:
            raise ValueError("Pools are seen by those who see the whole organisation: leave `pool` out.")
        return None
    rates = node_rates(scope.organisation_id)
    if not pool:
        return rates
    inside = set(
        Node.objects.filter(organisation_id=scope.organisation_id, pool=pool).values_list("name", flat=True)
    )
    if not inside:
        raise ValueError(f"There is no machine in a pool {pool!r}.")
    return {name: rate for name, rate in rates.items() if name in inside}


def month_nusd(rates: dict[str, NodeRate]) -> int:
    """What these machines cost a month."""
    return round(sum(rate.nusd_per_hour for rate in rates.values()) * HOURS_PER_MONTH)


def strictest_target(scope: Scope, lob: str | None, workload: str | None = None) -> float:
    """Milliseconds within which answers are planned to come."""
    plans = WorkloadPlan.objects.for_tenant(scope)
    plans = plans.filter(lob__slug=lob) if lob else plans
    plans = plans.filter(workload=workload) if workload else plans
    return float(plans.aggregate(least=Min("latency_target_ms"))["least"] or TARGET_MS)


def _row(found: Outcome, percentile: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "key": f"{found.factor:.10g}x|{found.servers}", "factor": found.factor, "servers": found.servers,
        "utilisation": found.utilisation, "stable": found.stable,
    }  # fmt: skip
    row |= {f"wait_p{p}_ms": value for p, value in found.wait_ms.items()}
    row |= {f"response_p{p}_ms": value for p, value in found.response_ms.items()}
    return row | {"over_target": found.over_target, "meets": found.meets(percentile)}


def _sample(arrivals: Arrivals) -> dict[str, Any]:
    return {
        "sample_from": arrivals.start, "sample_to": arrivals.end, "sample_rows": arrivals.rows,
        "sample_whole": arrivals.whole, "load": arrivals.trace.load, "measured_p95_ms": arrivals.measured_p95_ms,
        "mean_service_ms": float(arrivals.trace.services_s.mean() * 1000),
    }  # fmt: skip


def _needed(planner: Planner, factors: list[float], rates: dict[str, NodeRate] | None) -> dict[str, Any]:
    """The fewest machines by factor, and for the load nearest to today's what to buy or switch off."""
    needed = {f"{factor:.10g}": planner.smallest(factor) for factor in factors}
    at = min(factors, key=lambda f: (abs(f - 1), f))
    fewest = needed[f"{at:.10g}"]
    told: dict[str, Any] = {"needed": needed, "advice_factor": at, "fewest": fewest, "change": None}
    told |= {"change_nusd_per_month": None}
    if rates and fewest is not None:
        told["change"] = fewest - len(rates)
        told["change_nusd_per_month"] = round(told["change"] * month_nusd(rates) / len(rates))
    found = planner.at(at, fewest) if fewest is not None else None
    return told | {
        "sentence": words.capacity(planner, found, at, None if rates is None else len(rates), told)
    }
