"""What was saved and by what, beside what the same requests would have cost under the policy of the month before."""

from __future__ import annotations

from functools import partial

from django.http import HttpResponse
from django.utils.translation import gettext as _

from costs import charts, reports
from costs.reports.savings import PARTS
from costs.reports.savings import savings as savings_report
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, page, show_panels
from switchyard.dashboards.selectors import has_demonstration


def _words() -> dict[str, str]:
    return {
        "list": _("All external, list price"),
        "private": _("Private"),
        "compression": _("Compression"),
        "routing": _("Routing"),
        "cache": _("Cache"),
        "batch": _("Batch"),
        "retries": _("Second tries"),
        "other_purposes": _("Training, evaluation and shadows"),
        "actual": _("As it was"),
    }


@page
def savings(request: PageRequest) -> HttpResponse:
    ask = request.ask
    replay = request.GET.get("replay") == "1"
    builders = {"savings": partial(_savings, ask), "last-policy": partial(_last_policy, ask, replay)}
    context = {"replay": replay}
    if "csv" not in request.GET:
        context |= {"demonstration": has_demonstration(ask), "totals": savings_report(**ask.report()).totals}
    return show_panels(request, "costs/savings.html", builders, context)


def _savings(ask: Ask) -> Panel:
    report, words = savings_report(**ask.report()), _words()
    return Panel(
        "savings",
        _("From the list price to what was paid"),
        [
            Column(_("Workload")), Column(_("Line of business")), Column(words["list"], "usd"),
            *(Column(words[part], "usd") for part in PARTS), Column(words["actual"], "usd"), Column(_("Saved"), "usd"),
        ],
        [
            [r["key"], r["lob"], r["list_nusd"], *(_part(r[f"{part}_nusd"]) for part in PARTS), r["actual_nusd"],
             r["saving_nusd"]]
            for r in report.rows
        ],
        charts.savings_waterfall(report.totals, PARTS, words) if report.rows else None,
        wide=True,
        note=_("Every step is what was saved; below zero it cost more. Private: had everything that may move stayed at home. "
               "Routing: requests sent out although home could have answered, at what home would have cost. The steps add up "
               "exactly. Where a compressed model answered whose teacher was never measured, its part is not known and stays "
               "in Private."),
    )  # fmt: skip


def _part(nusd: int | None) -> int | str:
    return _("not known") if nusd is None else nusd


def _last_policy(ask: Ask, replay: bool) -> Panel:
    report = reports.counterfactual(**ask.report(replay=replay))
    note = (
        _(
            "Decisions taken again by the policies that were live when the month before ended: up to 5,000 a workload, scaled up."
        )
        if replay
        else _("This period's requests, with the sides sharing them as in the period of equal length before.")
    )
    return Panel(
        "last-policy",
        _("Under the policy of before"),
        [
            Column(_("Workload")), Column(_("Line of business")), Column(_("As it was"), "usd"),
            Column(_("Under the policy of before"), "usd"), Column(_("Difference"), "usd"), Column(_("Policy")),
            Column(_("Requests looked at"), "count"), Column(_("Moved"), "count"), Column(_("Not known"), "count"),
        ],
        [
            [r["key"], r["lob"], r["actual_nusd"], r["last_policy_nusd"], _less(r["last_policy_nusd"], r["actual_nusd"]),
             r["last_policy_version"] or _("not known"), r["last_policy_n"], r.get("last_policy_moved"),
             r.get("last_policy_unknown")]
            for r in report.rows
        ],
        wide=True,
        note=note,
    )  # fmt: skip


def _less(before: int | None, actual: int) -> int | None:
    return None if before is None else before - actual
