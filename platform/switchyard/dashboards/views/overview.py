"""The first page: this period's cost as it was, all private, all external, and the saving; then the charts."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse

from costs import charts, reports
from costs.models import Forecast
from costs.reports.labels import LABELS
from switchyard.dashboards.pages import Ask, PageRequest, page, show_panels
from switchyard.dashboards.selectors import has_demonstration
from switchyard.dashboards.views import panels


@page
def overview(request: PageRequest) -> HttpResponse:
    ask = request.ask
    worlds = spend = right = None
    if "csv" not in request.GET:  # the figures above the charts come from the charts' own reports
        worlds = reports.counterfactual(**ask.report())
        spend, right = reports.spend(**ask.report(group="lob,side")), reports.accuracy(**ask.report())
    builders = {
        "counterfactual": partial(panels.counterfactual, ask, worlds),
        "cost-by-lob": partial(panels.cost_by_lob, ask, spend),
        "accuracy-by-lob": partial(panels.accuracy_by_lob, ask, right),
        "share-by-lob": partial(panels.share_by_lob, ask),
        "cost-per-correct": partial(panels.cost_per_correct, ask),
        "spend-over-time": partial(panels.spend_over_time, ask),
    }
    if ask.scope.lob_ids is None:  # a machine's bill is everybody's: only for those who may see everybody
        builders["node-bill"] = partial(panels.node_bill, ask)
    context: dict[str, Any] = {}
    if worlds is not None and spend is not None and right is not None:
        context = _first_figure(ask, worlds) | {
            "spend": spend,
            "sides": _sides(spend),
            "accuracy": right.totals,
        }
    return show_panels(request, "dashboards/overview.html", builders, context)


def _sides(spend: reports.Report) -> list[dict[str, Any]]:
    """What each side cost, private first, of rows by line of business and side."""
    sums: dict[str, dict[str, Any]] = {}
    for row in spend.rows:
        side = row["key"].partition("|")[2]
        if side == LABELS:
            continue
        found = sums.setdefault(side, {"key": side, "cost_nusd": 0, "requests": 0})
        found["cost_nusd"] += row["cost_nusd"]
        found["requests"] += row["requests"]
    return sorted(sums.values(), key=lambda row: row["key"] != "private")


def _first_figure(ask: Ask, report: reports.Report) -> dict[str, Any]:
    totals = report.totals
    mostly = [row for row in report.rows if row["bound_requests"] * 2 > row["requests"]]
    return {
        "totals": totals,
        "against": [(totals[f"saving_to_{side}_nusd"], side) for side in ("private", "external")],
        "as_of": report.as_of,
        "bound": mostly,
        "bound_elsewhere": sum(r["bound_requests"] for r in report.rows if r not in mostly),
        "worlds": charts.counterfactual(totals),
        "has_requests": bool(totals.get("requests")),
        "demonstration": has_demonstration(ask),
        "month": Forecast.objects.for_tenant(ask.scope).filter(lob=ask.lob or "").order_by("-month").first(),
    }
