"""The replay of a company's mix over real arrivals: every plan beside every other, under assumptions that can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from costs.reports.base import Report, groups_of, zone_of
from costs.rollups import as_of
from switchyard.core.money import NUSD_PER_USD
from switchyard.supervisor.home import ROOT
from switchyard.tenancy.querysets import Scope

if TYPE_CHECKING:
    from costs.economics.answers import Bar

TRACE = ROOT / "data" / "traces" / "servegen_week.csv.gz"


@lru_cache(maxsize=1)
def shapes() -> Mapping[str, Any]:
    from costs.economics.streams import read_shapes  # numpy only where somebody asks for it

    return read_shapes(TRACE)


def economics(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "plan",
    lob: str | None = None,
    tz: str = "UTC",
    **changes: float,
) -> Report:
    """Rows {"key": plan, "cost_nusd", "machines_nusd", "right", "late_share", "lawful", "floors", "share"}: six days of the
    trace; totals hold the ratios with their intervals. Period, group and LOB change nothing: it is a simulation, not
    anybody's spending. ValueError for an assumption that isn't one or can't be."""
    groups_of(group, ("plan",)), zone_of(tz)
    rows, totals = _replayed(tuple(sorted(changes.items())))
    return Report("economics", as_of(), deepcopy(rows), deepcopy(totals))


# Nothing of a reader or of the books is in it, so what was replayed once need not be again while the process lives.
@lru_cache(maxsize=64)
def _replayed(changes: tuple[tuple[str, float], ...]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from costs.economics.answers import accuracy_delta_points, ratios, replay

    outcomes = replay(dict(changes), shapes=shapes())
    dearest = outcomes["all_external_large"].total_usd
    rows = [
        {
            "key": plan,
            "cost_nusd": round(one.total_usd * NUSD_PER_USD),
            "machines_nusd": round(sum(one.machines_usd) * NUSD_PER_USD),
            "right": one.right,
            "late_share": one.late_share,
            "lawful": one.lawful,
            "floors": one.floors,
            "share": one.total_usd / dearest if dearest else None,
        }
        for plan, one in outcomes.items()
    ]
    totals: dict[str, Any] = {"accuracy_delta_points": accuracy_delta_points(outcomes)}
    for name, ratio in ratios(outcomes).items():
        totals[name] = None if ratio is None else {"value": ratio.value, "low": ratio.low, "high": ratio.high}
    return rows, totals


@lru_cache(maxsize=64)
def sensitivity(ratio: str, changes: tuple[tuple[str, float], ...]) -> tuple[Bar, ...]:
    """The ratio with each assumption alone at its low and its high value, farthest first."""
    from costs.economics.answers import tornado

    return tuple(tornado(ratio, dict(changes), shapes=shapes()))
