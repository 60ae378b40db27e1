"""The first page: this period's cost as it was, all private, all external, and the saving; then the charts."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse

from costs import charts, reports
from costs.models import Forecast
from switchyard.dashboards.pages import Ask, PageRequest, page, show_panels
from switchyard.dashboards.selectors import has_demonstration
from switchyard.dashboards.views import panels


@page
def overview(request: PageRequest) -> HttpResponse:
    ask = request.ask
    worlds = (
        reports.counterfactual(**ask.report()) if request.GET.get("csv") in (None, "counterfactual") else None
    )
    builders = {
        "counterfactual": partial(panels.counterfactual, ask, worlds),
        "cost-by-lob": partial(panels.cost_by_lob, ask),
        "accuracy-by-lob": partial(panels.accuracy_by_lob, ask),
        "share-by-lob": partial(panels.share_by_lob, ask),
        "cost-per-correct": partial(panels.cost_per_correct, ask),
        "spend-over-time": partial(panels.spend_over_time, ask),
    }
    if ask.scope.lob_ids is None:  # a machine's bill is everybody's: only for those who may see everybody
        builders["node-bill"] = partial(panels.node_bill, ask)
    context = {} if worlds is None else _first_figure(ask, worlds)
    return show_panels(request, "dashboards/overview.html", builders, context)


def _first_figure(ask: Ask, report: reports.Report) -> dict[str, Any]:
    spend = reports.spend(**ask.report(group="side"))
    spend.rows.sort(key=lambda row: row["key"] != "private")
    totals = report.totals
    mostly = [row for row in report.rows if row["bound_requests"] * 2 > row["requests"]]
    return {
        "totals": totals,
        "against": [
            (totals[f"all_{side}_nusd"] - totals["actual_nusd"], side) for side in ("private", "external")
        ],
        "as_of": report.as_of,
        "bound": mostly,
        "bound_elsewhere": sum(r["bound_requests"] for r in report.rows if r not in mostly),
        "worlds": charts.counterfactual(totals),
        "has_requests": bool(totals.get("requests")),
        "demonstration": has_demonstration(ask),
        "accuracy": reports.accuracy(**ask.report()).totals,
        "spend": spend,
        "month": Forecast.objects.for_tenant(ask.scope).filter(lob=ask.lob or "").order_by("-month").first(),
    }
