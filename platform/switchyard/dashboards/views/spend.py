"""Spend by whatever a reader looks by, step by step down to one request; and over time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from costs import charts, reports
from costs.reports.labels import LABELS
from switchyard.dashboards.pages import Ask, Column, Link, PageRequest, Panel, page, show_panels
from switchyard.dashboards.selectors import has_demonstration
from switchyard.dashboards.views import panels

TOKEN_CLASS = "token_class"
# The way down: grouped by the first, a row leads to itself grouped by the second.
DOWN = {"lob": "application", "application": "workload", "workload": "deployment"}
NARROWED_BY = ("application", "workload", "deployment", "model", "side", "node", "purpose")
RIGHT_BY = ("lob", "workload", "deployment", "model")


def titles() -> dict[str, str]:
    return {
        "lob": _("Line of business"),
        "application": _("Application"),
        "workload": _("Workload"),
        "deployment": _("Deployment"),
        "model": _("Model"),
        "side": _("Side"),
        "node": _("Node"),
        "purpose": _("Purpose"),
        TOKEN_CLASS: _("Token class"),
    }


def narrowed(query: Mapping[str, str]) -> dict[str, str]:
    """Which one application, workload, … the address looks at."""
    return {name: query[name] for name in NARROWED_BY if query.get(name)}


def keep(ask: Ask, query: Mapping[str, str], **more: str) -> str:
    """A query string that keeps the question and narrows it further."""
    kept = {name: query[name] for name in ("period", "from", "to", "tz", "lob") if query.get(name)}
    return urlencode({k: v for k, v in (kept | narrowed(query) | more).items() if v})


@page
def spend(request: PageRequest) -> HttpResponse:
    ask, query = request.ask, request.GET
    group = query.get("group", "workload")
    group = group if group in titles() else "workload"
    right = query.get("right", "workload")
    right = right if right in RIGHT_BY else "workload"
    only = narrowed(query)
    builders = {
        "spend-over-time": partial(_over_time, ask, query),
        "spend-by": partial(_by_class if group == TOKEN_CLASS else _by, ask, query, group),
        "cost-per-correct": partial(panels.cost_per_correct, ask, right),
        "counterfactual": partial(panels.counterfactual, ask),
    }
    if ask.scope.lob_ids is None:
        builders["node-bill"] = partial(panels.node_bill, ask)
    context: dict[str, Any] = {"groups": titles().items(), "group": group, "right": right}
    if "csv" not in query:
        context |= {
            "demonstration": has_demonstration(ask),
            "trail": _trail(ask, only),
            "totals": reports.spend(**ask.report(group="side", **only)).totals,
            "rights": [(name, titles()[name]) for name in RIGHT_BY],
        }
    return show_panels(request, "dashboards/spend.html", builders, context)


def _trail(ask: Ask, only: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(parameter, title, value) of everything the page is narrowed to, widest first."""
    narrow = {"lob": ask.lob, **only} if ask.lob else dict(only)
    return [(name, titles()[name], str(value)) for name, value in narrow.items()]


def _leads_to(ask: Ask, query: Mapping[str, str], group: str, key: str) -> str | Link:
    """A row's own rows: one step further down, at the end its requests."""
    if not key or key == LABELS:
        return _("labels") if key else "–"
    if group in DOWN:
        return Link(
            key, f"{reverse('dashboards:spend')}?{keep(ask, query, **{group: key, 'group': DOWN[group]})}"
        )
    return Link(key, f"{reverse('dashboards:spend-requests')}?{keep(ask, query, **{group: key})}")


def _side(key: str) -> str:
    side = key.rpartition("|")[2]
    return _("labels") if side == LABELS else side


def _by(ask: Ask, query: Mapping[str, str], group: str) -> Panel:
    asked = group if group == "side" else f"{group},side"
    rows = reports.spend(**ask.report(group=asked, **narrowed(query))).rows
    for row in rows:
        row["key"] = row["key"] if group != "side" else f"{row['key']}|{row['key']}"
    title = titles()[group]
    note = _(
        "Beside each row the period of equal length before. The cost with idle adds what closed hours of own machines "
        "came to beyond the metered price. Labels stand beside the cost, without a side where nothing answered."
    )
    figure, note = panels.spent(charts.cost_by_side, rows, note)
    return Panel(
        "spend-by",
        _("Spend by %(what)s") % {"what": title.lower()},
        [
            Column(title), Column(_("Side")), Column(_("Cost"), "usd"), Column(_("Labels"), "usd"),
            Column(_("Period before"), "usd"), Column(pgettext("of a figure", "Change"), "rate"),
            Column(_("Cost with idle"), "usd"), Column(_("Requests"), "count"),
            Column(_("Answers"), "count"), Column(_("Tokens in"), "count"), Column(_("Tokens out"), "count"),
            Column(_("Cost per 1,000 answers"), "usd"),
        ],
        [
            [
                _leads_to(ask, query, group, r["key"].rpartition("|")[0]), _side(r["key"]), r["cost_nusd"],
                r["labels_nusd"], r["prev_cost_nusd"], r["change"], r["loaded_nusd"], r["requests"], r["answers"], r["tokens_in"],
                r["tokens_out"], r["cost_nusd"] * 1000 / r["answers"] if r["answers"] else None,
            ]
            for r in rows
        ],
        figure, wide=True, note=note,
    )  # fmt: skip


def _by_class(ask: Ask, query: Mapping[str, str], group: str) -> Panel:
    rows = reports.spend(**ask.report(group=f"{TOKEN_CLASS},side", **narrowed(query))).rows
    pairs = [row["key"].split("|", 1) for row in rows]
    note = _(
        "The parts that each cost is made of; they add up to it. Units are tokens, calls, or accelerator nanoseconds."
    )
    figure, note = panels.spent(charts.cost_by_side, rows, note)
    return Panel(
        "spend-by",
        _("Spend by %(what)s") % {"what": titles()[group].lower()},
        [
            Column(titles()[group]), Column(_("Side")), Column(_("Cost"), "usd"), Column(_("Labels"), "usd"),
            Column(_("Period before"), "usd"),
            Column(pgettext("of a figure", "Change"), "rate"), Column(_("Units"), "count"),
        ],
        [[*(_("labels") if part == LABELS else part for part in pair), r["cost_nusd"], r["labels_nusd"], r["prev_cost_nusd"],
          r["change"], r["units"]] for pair, r in zip(pairs, rows, strict=True)],
        figure, wide=True, note=note,
    )  # fmt: skip


def _over_time(ask: Ask, query: Mapping[str, str]) -> Panel:
    panel = panels.spend_over_time(ask, only=narrowed(query))
    requests = reverse("dashboards:spend-requests")
    rows = [
        row
        if row[1] == _("labels")
        else [Link(row[0], f"{requests}?{keep(ask, query, at=row[0], side=row[1])}"), *row[1:]]
        for row in panel.rows
    ]
    return Panel(panel.name, panel.title, panel.columns, rows, panel.figure, panel.note, panel.wide)
