"""What the month will come to, and which days stood out."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from costs import charts
from costs.reports.anomalies import anomalies
from costs.reports.forecast import forecast
from switchyard.dashboards.pages import Ask, Column, Link, PageRequest, Panel, page, show_panels
from switchyard.dashboards.selectors import has_demonstration


@page
def foresight(request: PageRequest) -> HttpResponse:
    ask = request.ask
    builders = {
        "forecast": partial(_forecast, ask),
        "forecast-by-day": partial(_by_day, ask),
        "anomalies": partial(_anomalies, ask),
    }
    context = {} if "csv" in request.GET else {"demonstration": has_demonstration(ask)}
    return show_panels(request, "costs/foresight.html", builders, context)


def _forecast(ask: Ask) -> Panel:
    rows = forecast(**ask.report()).rows
    return Panel(
        "forecast",
        _("What the month will come to"),
        [
            Column(_("Line of business")), Column(_("Month"), "word"), Column(_("Spent so far"), "usd"),
            Column(_("Month's end"), "usd"), Column(_("Low"), "usd"), Column(_("High"), "usd"), Column(_("Method")),
            Column(_("Mean error of its backtest"), "rate"), Column(_("Interval held"), "rate"),
            Column(_("Backtests"), "count"), Column(_("Note")),
        ],
        [
            [r["key"], r["month"], r["spent_nusd"], r["estimate_nusd"], r["low_nusd"], r["high_nusd"], r["method"], r["mape"],
             r["coverage"], r["backtests"], r["note"]]
            for r in rows
        ],
        wide=True,
        # xgettext:no-python-format
        note=_("90 % interval, from what the same method was off by on this series' own past. Days and months are those of UTC; "
               "made anew every ten minutes."),
    )  # fmt: skip


def _by_day(ask: Ask) -> Panel:
    """The organisation's line, or that of the one line of business that is looked at."""
    rows = [r for r in forecast(**ask.report()).rows if r["points"]]
    points: list[dict[str, Any]] = rows[0]["points"] if rows else []
    name = rows[0]["key"] if rows else ""
    title = _("The month day by day: %(what)s") % {"what": name} if name else _("The month day by day")
    return Panel(
        "forecast-by-day",
        title,
        [Column(_("Day")), Column(_("Spent"), "usd"), Column(_("Foreseen"), "usd"), Column(_("Low"), "usd"),
         Column(_("High"), "usd")],
        [[p["day"], p["actual_nusd"], p["nusd"], p["low_nusd"], p["high_nusd"]] for p in points],
        charts.forecast(points) if points else None,
        wide=True,
        empty=_("Not enough days to foresee a month: fourteen whole days are needed."),
    )  # fmt: skip


def _anomalies(ask: Ask) -> Panel:
    rows = anomalies(**ask.report()).rows
    requests = reverse("dashboards:spend-requests")

    def day(row: dict[str, Any]) -> Link:
        query = {
            "at": row["day"],
            "lob": row["lob"],
            "workload": row["key"] if row["key"] != row["lob"] else "",
        }
        return Link(row["day"], f"{requests}?{urlencode({k: v for k, v in query.items() if v})}")

    return Panel(
        "anomalies",
        _("Days that stood out"),
        [
            Column(_("Day (UTC)")), Column(_("Line of business")), Column(_("Workload")), Column(_("Spent"), "usd"),
            Column(_("Expected"), "usd"), Column(_("What moved")), Column(_("By requests"), "usd"), Column(_("By tokens"), "usd"),
            Column(_("By price"), "usd"), Column(_("By mix"), "usd"),
        ],
        [
            [day(r), r["lob"], r["key"], r["spent_nusd"], r["expected_nusd"], r["cause"],
             *(r["parts_nusd"].get(part) for part in ("requests", "tokens", "price", "mix"))]
            for r in rows
        ],
        charts.anomaly_parts(rows) if rows else None,
        wide=True,
        note=_("Each workload against its own last weeks (requests and their length: three months, prices and mix: four weeks); "
               "ten days are needed. The parts add up to what it cost beyond what was expected."),
        empty=_("Nothing stood out in this period, or too few days are known to tell."),
    )  # fmt: skip
