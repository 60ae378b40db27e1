"""Panels that more than one page shows: report → figure and table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from costs import charts, reports
from costs.reports.labels import LABELS
from switchyard.dashboards.pages import Ask, Column, Panel
from switchyard.dashboards.selectors import what_counts_as_right, workloads

LABELS_APART = gettext_lazy(
    "Cost is what calls cost; labels, reviews and accepted feedback stand beside it. Statements, budgets and the ledger hold "
    "both."
)


def _pair(key: str) -> list[str]:
    first, _bar, second = key.partition("|")
    return [first, second]


def _named(key: str) -> list[str]:
    """Both parts; labels were answered by no side."""
    return [str(_("labels")) if part == LABELS else part for part in _pair(key)]


def all_in(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of spend as a chart draws them: labels are a part of their own, named "labels" where there is no side."""
    return [{**row, "cost_nusd": row["cost_nusd"] + row["labels_nusd"]} for row in rows]


def spent(
    draw: Callable[..., charts.Figure], rows: Sequence[Mapping[str, Any]], note: Any
) -> tuple[charts.Figure, Any]:
    """The figure of what was spent and its note, which says so where labels start switched off."""
    figure = draw(all_in(rows), aside=LABELS)
    if not charts.switched_off(figure):
        return figure, note
    off = _(
        "Labels cost so much more that nothing else could be seen beside them: their name in the legend shows them."
    )
    return figure, f"{note} {off}"


def cost_by_lob(ask: Ask, known: reports.Report | None = None) -> Panel:
    """`known`: spend by line of business and side, where the page has asked for it already."""
    rows = (known or reports.spend(**ask.report(group="lob,side"))).rows
    figure, note = spent(charts.cost_by_side, rows, LABELS_APART)
    return Panel(
        "cost-by-lob", _("Cost by line of business"),
        [Column(_("Line of business")), Column(_("Side")), Column(_("Cost"), "usd"), Column(_("Labels"), "usd"),
         Column(_("Requests"), "count"), Column(_("Answers"), "count")],
        [[*_named(r["key"]), r["cost_nusd"], r["labels_nusd"], r["requests"], r["answers"]] for r in rows],
        figure, note=note,
    )  # fmt: skip


def spend_over_time(ask: Ask, second: str = "side", only: Mapping[str, str] | None = None) -> Panel:
    rows = reports.spend(**ask.report(group=f"{ask.period.bucket},{second}", **(only or {}))).rows
    figure, note = spent(charts.cost_over_time, rows, LABELS_APART)
    time = _("Time (%(zone)s)") % {"zone": ask.period.tz}
    return Panel(
        "spend-over-time", _("Spend over time"),
        [Column(time), Column(_("Side")), Column(_("Cost"), "usd"), Column(_("Labels"), "usd"), Column(_("Requests"), "count")],
        [[*_named(r["key"]), r["cost_nusd"], r["labels_nusd"], r["requests"]] for r in rows],
        figure, wide=True, note=note,
    )  # fmt: skip


def accuracy_by_lob(ask: Ask, known: reports.Report | None = None) -> Panel:
    """`known`: accuracy by line of business, where the page has asked for it already."""
    rows = (known or reports.accuracy(**ask.report(group="lob"))).rows
    right = what_counts_as_right(workloads(ask))
    return Panel(
        "accuracy-by-lob", _("Accuracy by line of business"),
        [Column(_("Line of business")), Column(_("Share right"), "rate"), Column(_("Low"), "rate"), Column(_("High"), "rate"),
         Column(_("Judged"), "count"), Column(_("What counts as right"))],
        [[r["key"], r["rate"], r["low"], r["high"], r["judged"], right.get(r["key"], "")] for r in rows],
        charts.rate_with_interval(rows, labels=right),
        note=_("Answers judged by feedback, with 95 % Wilson intervals. What counts as right differs; the table says it."),
    )  # fmt: skip


def share_by_lob(ask: Ask) -> Panel:
    rows = reports.share(**ask.report()).rows
    return Panel(
        "share-by-lob", _("Private and external share"),
        [Column(_("Line of business")), Column(_("Private requests"), "count"), Column(_("External requests"), "count")],
        [[r["key"], r["private"], r["external"]] for r in rows], charts.shares(rows),
    )  # fmt: skip


def cost_per_correct(ask: Ask, group: str = "lob") -> Panel:
    rows = reports.cost_per_correct(**ask.report(group=group)).rows
    title = {"lob": _("Line of business"), "deployment": _("Deployment"), "model": _("Model")}.get(
        group, _("Workload")
    )
    return Panel(
        "cost-per-correct", _("Cost per correct answer"),
        [Column(title), Column(_("Cost per correct answer"), "usd"), Column(_("Low"), "usd"), Column(_("High"), "usd"),
         Column(_("Judged"), "count"), Column(_("Correct"), "count"), Column(_("Share judged"), "rate")],
        [[r["key"], r["nusd_per_correct"], r["low"], r["high"], r["judged"], r["correct"], r["judged_share"]] for r in rows],
        charts.cost_per_correct(rows),
        note=_("What an answer cost, divided by the share of judged answers that were right; 95 % Wilson interval of that share. "
               "It holds as far as judged answers are like the others. Training, evaluation and shadows are not in it."),
    )  # fmt: skip


def node_bill(ask: Ask) -> Panel:
    rows = reports.node_bill(**ask.report()).rows
    return Panel(
        "node-bill", _("Own machines: used and idle"),
        [Column(_("Node")), Column(_("Bill"), "usd"), Column(_("Used"), "usd"), Column(_("Idle"), "usd"),
         Column(_("Utilisation"), "rate")],
        [[r["key"], r["bill_nusd"], r["used_nusd"], r["idle_nusd"], r["utilisation"]] for r in rows],
        charts.node_bill(rows), wide=True,
        note=_("Idle is nobody's request: it stands on its own line and adds up with the used part to the bill."),
    )  # fmt: skip


def counterfactual(ask: Ask, known: reports.Report | None = None) -> Panel:
    """`known`: the report, where the page has asked for it already."""
    report = known or reports.counterfactual(**ask.report())
    return Panel(
        "counterfactual", _("What this period cost, and what one side alone would have"),
        [Column(_("Workload")), Column(_("Line of business")), Column(_("As it was"), "usd"), Column(_("All private"), "usd"),
         Column(_("All external"), "usd"), Column(_("Sides shared as in the period before"), "usd"),
         Column(_("Training, evaluation and shadows"), "usd"), Column(_("Kept at home by"))],
        [[r["key"], r["lob"], r["actual_nusd"], r["all_private_nusd"], r["all_external_nusd"], r["last_policy_nusd"],
          r["other_purposes_nusd"], r.get("bound") or ""]
         for r in report.rows],
        charts.counterfactual(report.totals) if report.rows else None,
    )  # fmt: skip
