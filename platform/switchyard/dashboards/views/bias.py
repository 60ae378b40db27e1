"""Bias: audits with their verdicts, what compression took from whom, live monitors, interceptions, evidence to take along."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub import charts
from modelhub.models import BiasAudit
from modelhub.services import evidence
from modelhub.services.bias_gate import worst_group
from routing.models import Interception
from routing.selectors import bias as live
from routing.services.bias_evidence import evidence_of
from routing.services.reviews import appeal
from switchyard.dashboards.pages import Ask, Column, Link, PageRequest, Panel, page, require_role, show_panels

MOST_AUDITS = 50


@page
def bias(request: PageRequest) -> HttpResponse:
    """`audit`: whose groups are shown; the newest where none is named."""
    ask = request.ask
    audits = list(_audits(ask)[:MOST_AUDITS])
    chosen = _chosen(request, audits)
    builders = {
        "audits": partial(_audits_panel, audits),
        "excess-gap": partial(_gap_panel, chosen),
        "counterfactual": partial(_swaps_panel, chosen),
        "suites": partial(_suites_panel, chosen),
        "monitors": partial(_monitors_panel, ask),
        "interceptions": partial(_interceptions_panel, ask),
        "false-blocks": partial(_false_blocks_panel, ask),
    }
    return show_panels(request, "modelhub/bias.html", builders, {"chosen": chosen})


def _audits(ask: Ask) -> Any:
    rows = BiasAudit.objects.for_tenant(ask.scope).select_related("workload__lob").order_by("-at")
    return rows.filter(workload__lob__slug=ask.lob) if ask.lob else rows


def _chosen(request: PageRequest, audits: list[BiasAudit]) -> BiasAudit | None:
    wanted = request.GET.get("audit", "")
    if not wanted:
        return audits[0] if audits else None
    if not wanted.isdecimal():
        raise Http404
    return get_object_or_404(_audits(request.ask), pk=int(wanted))


def _audits_panel(audits: list[BiasAudit]) -> Panel:
    rows = []
    for audit in audits:
        worst = worst_group(audit.report) or {}
        gap = worst.get("excess_gap") or {}
        address = f"{reverse('dashboards:bias')}?audit={audit.pk}"
        rows.append([
            audit.at, Link(audit.workload.name, address), audit.student, audit.teacher, audit.report.get("n"),
            worst.get("group"),
            gap.get("value"), gap.get("low"), gap.get("high"), audit.report.get("n_needed"), audit.verdict,
        ])  # fmt: skip
    return Panel(
        "audits", _("Audits: student against teacher"),
        [Column(_("Time"), "time"), Column(_("Workload")), Column(_("Student")), Column(_("Teacher")),
         Column(_("Rows"), "count"),
         Column(_("Worst group")), Column(_("Excess gap"), "rate"), Column(_("Low"), "rate"),
         Column(_("High"), "rate"),
         Column(_("Rows needed"), "count"), Column(_("Verdict"), "verdict")],
        rows, wide=True, empty=_("No audit has run yet."),
        note=_("Excess gap: what the student lost in a group beyond what it lost on the rest, on the same rows. A pass needs the "
               "whole interval inside the limit; too few rows are said to be too few."),
    )  # fmt: skip


def _gap_panel(audit: BiasAudit | None) -> Panel:
    groups = [] if audit is None else list(audit.report.get("groups") or ())
    rows = [
        [row["group"], row.get("n"), *_interval(row.get("excess_gap")), (row.get("teacher") or {}).get("value"),
         (row.get("student") or {}).get("value"), row.get("n_needed"), row["verdict"]]
        for row in groups
    ]  # fmt: skip
    shown = [row for row in groups if row.get("excess_gap")]
    limit = (audit.report.get("limit") if audit else None) or 0.0
    title = (
        _("Excess gap by group: %(workload)s") % {"workload": audit.workload.name}
        if audit
        else _("Excess gap by group")
    )
    return Panel(
        "excess-gap", title,
        [Column(_("Group")), Column("n", "count"), Column(_("Excess gap"), "rate"), Column(_("Low"), "rate"),
         Column(_("High"), "rate"),
         Column(_("Teacher right"), "rate"), Column(_("Student right"), "rate"), Column(_("Rows needed"), "count"),
         Column(_("Verdict"), "verdict")],
        rows, charts.gaps_with_interval(shown, limit) if shown else None, wide=True,
        empty=_("No audit has run yet."),
        note=_("Groups are what a text names or how it is; nothing is known or guessed of the people who ask. Groups under 20 "
               "rows are not shown."),
    )  # fmt: skip


def _interval(told: dict[str, Any] | None) -> list[Any]:
    return [told[name] for name in ("value", "low", "high")] if told else [None, None, None]


def _swaps_panel(audit: BiasAudit | None) -> Panel:
    swaps = (audit.report.get("counterfactual") if audit else None) or {}
    rows = [
        [row["axis"], row["language"], row["n"], _rate_of(row["teacher"]), _rate_of(row["student"]), row["only_student"],
         row["only_teacher"], row["verdict"]]
        for row in swaps.get("axes") or ()
    ]  # fmt: skip
    return Panel(
        "counterfactual", _("The same request by somebody of another group"),
        [Column(_("Axis")), Column(_("Language")), Column("n", "count"), Column(_("Teacher changes"), "rate"),
         Column(_("Student changes"), "rate"), Column(_("Student alone"), "count"),
         Column(_("Teacher alone"), "count"),
         Column(_("Verdict"), "verdict")],
        rows, wide=True, empty=_("This audit asked no such request."),
        note=_("How often the answer changes when only the group does. It fails where the student changes and the teacher "
               "doesn't more often than the reverse, after correction for how many axes were looked at."),
    )  # fmt: skip


def _rate_of(told: dict[str, Any]) -> float | None:
    return (told.get("rate") or {}).get("value")


def _suites_panel(audit: BiasAudit | None) -> Panel:
    suites = (audit.report.get("suites") if audit else None) or {}
    rows = [
        [name, row.get("needs", ""), row.get("licence", ""), row.get("n"), _flip(row, "teacher"), _flip(row, "student"),
         row.get("why", ""), row["verdict"]]
        for name, row in suites.items()
    ]  # fmt: skip
    return Panel(
        "suites", _("Public suites"),
        [Column(_("Suite")), Column(_("Asks of a model")), Column(_("Licence")), Column("n", "count"),
         Column(_("Teacher changes"), "rate"),
         Column(_("Student changes"), "rate"), Column(_("What it says, or why it was not run")),
          Column(_("Verdict"), "verdict")],
        rows, wide=True, empty=_("No audit has run yet."),
    )  # fmt: skip


def _flip(row: dict[str, Any], role: str) -> float | None:
    return (row.get(f"{role}_flips") or {}).get("value")


def _monitors_panel(ask: Ask) -> Panel:
    signals = {
        "flip": _("answer changes with a group"),
        "withheld": _("answer withheld"),
        "wrong": _("answer judged wrong"),
    }
    rows = [
        [row["lob"], row["workload"], f"{row['deployment']} ({row['model'] or '–'})", signals[row["signal"]], row["axis"],
         row["n"], row["rate"], row["rate_rest"], min(row["e_value"], 1e6), row["looks"], row["changed_at"],
         _("stands out") if row["alarmed_at"] else ("" if row["n"] else _("fewer than 20"))]
        for row in live.monitors(ask.scope, ask.lob)
    ]  # fmt: skip
    return Panel(
        "monitors", _("Live monitors"),
        [Column(_("Line of business")), Column(_("Workload")), Column(_("Deployment")), Column(_("Signal")),
         Column(_("Group named")),
         Column("n", "count"), Column(_("Rate"), "rate"), Column(_("Otherwise"), "rate"),
         Column(_("Evidence"), "number"),
         Column(_("Looks"), "count"), Column(_("Changed"), "time"), Column(_("State"))],
        rows, wide=True,
        empty=_("Nothing has been watched yet: it begins with the first answers of a guarded line of business."),
        note=_("Evidence by betting: 20 and more means that chance alone would show it once in twenty such streams at most, "
               "however often one looks. It begins anew with every model version."),
    )  # fmt: skip


def _interceptions_panel(ask: Ask) -> Panel:
    rows = live.interceptions_by_kind(ask.scope, ask.lob, ask.period.start, ask.period.end)
    names = ("found", "withheld", "confirmed", "overturned")
    return Panel(
        "interceptions", _("Interceptions by kind and by group that the text names"),
        [Column(_("Line of business")), Column(_("Kind")), Column(_("Group named")), Column(_("Found"), "count"),
         Column(_("Withheld"), "count"), Column(_("Confirmed"), "count"), Column(_("Overturned"), "count")],
        [[row["lob"], row["kind"], row["axis"] or "–", *(row[name] for name in names)] for row in rows],
        wide=True, note=_("Counts from 1 to 19 are not shown."),
    )  # fmt: skip


def _false_blocks_panel(ask: Ask) -> Panel:
    rows = live.false_blocks_by_axis(ask.scope, ask.lob, ask.period.start, ask.period.end)
    return Panel(
        "false-blocks", _("The guard's own false blocks"),
        [Column(_("Group named")), Column(_("Judged"), "count"), Column(_("Overturned"), "rate"),
         Column(_("Low"), "rate"),
         Column(_("High"), "rate")],
        [[row["axis"] or "–", row["judged"], row["rate"], row["low"], row["high"]] for row in rows],
        wide=True, empty=_("No withheld answer has been reviewed in this period."),
        note=_("Of withheld answers that a person judged, the share that ought not to have been. Rates of fewer than 20 are not "
               "shown."),
    )  # fmt: skip


@page
def evidence_pack(request: PageRequest, audit_id: int, form: str) -> HttpResponse:
    """The signed pack of one audit, JSON or HTML; a neighbour's audit doesn't exist."""
    scope = request.ask.scope
    audit = get_object_or_404(
        BiasAudit.objects.for_tenant(scope).select_related("workload__lob"), pk=audit_id
    )
    body = evidence_of(audit, scope)
    if form == "json":
        response = HttpResponse(
            json.dumps(body, indent=1, ensure_ascii=False), content_type="application/json; charset=utf-8"
        )
    else:
        response = HttpResponse(evidence.as_html(body), content_type="text/html; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="bias-evidence-{audit.pk}.{form}"'
    return response


@require_POST
@page
def appeal_action(request: PageRequest, interception_id: int) -> HttpResponse:
    """One click: whoever may see the block may say that it was wrong; a reviewer decides."""
    scope = require_role(
        request, "viewer", "risk", "model_engineer", "policy_author", "policy_approver", "operator", "finance"
    )
    row = get_object_or_404(Interception.objects.for_tenant(scope), pk=interception_id)
    appeal(interception=row, user=request.user)  # type: ignore[arg-type]
    return redirect("dashboards:review")
