"""Spend by line of business, application, workload, deployment and model; and over time."""

from __future__ import annotations

from functools import partial

from django.http import HttpResponse
from django.utils.translation import gettext as _

from costs import charts, reports
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, page, show_panels
from switchyard.dashboards.selectors import has_demonstration
from switchyard.dashboards.views import panels

GROUPS = ("lob", "application", "workload", "deployment", "model")


def _titles() -> dict[str, str]:
    return {
        "lob": _("Line of business"),
        "application": _("Application"),
        "workload": _("Workload"),
        "deployment": _("Deployment"),
        "model": _("Model"),
    }


@page
def spend(request: PageRequest) -> HttpResponse:
    ask = request.ask
    group = request.GET.get("group", "workload")
    group = group if group in GROUPS else "workload"
    builders = {
        "spend-over-time": partial(panels.spend_over_time, ask),
        "spend-by": partial(_by, ask, group),
        "cost-per-correct": partial(panels.cost_per_correct, ask, "workload"),
        "counterfactual": partial(panels.counterfactual, ask),
    }
    if ask.scope.lob_ids is None:
        builders["node-bill"] = partial(panels.node_bill, ask)
    context = {"groups": _titles().items(), "group": group}
    if "csv" not in request.GET:
        context["demonstration"] = has_demonstration(ask)
    return show_panels(request, "dashboards/spend.html", builders, context)


def _by(ask: Ask, group: str) -> Panel:
    rows = reports.spend(**ask.report(group=f"{group},side")).rows
    title = _titles()[group]
    return Panel(
        "spend-by",
        _("Spend by %(what)s") % {"what": title.lower()},
        [
            Column(title),
            Column(_("Side")),
            Column(_("Cost"), "usd"),
            Column(_("Requests"), "count"),
            Column(_("Answers"), "count"),
            Column(_("Tokens in"), "count"),
            Column(_("Tokens out"), "count"),
            Column(_("Cost per 1,000 answers"), "usd"),
        ],
        [
            [
                *r["key"].split("|", 1),
                r["cost_nusd"],
                r["requests"],
                r["answers"],
                r["tokens_in"],
                r["tokens_out"],
                r["cost_nusd"] * 1000 / r["answers"] if r["answers"] else None,
            ]
            for r in rows
        ],
        charts.cost_by_side(rows),
        wide=True,
    )
