"""The ledger: transfers by account, purpose and line of business, the trial balance, fiscal periods."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from costs import reports
from costs.books.browsing import LedgerFilter, newest_entries
from costs.books.checking import checks_of, start_check
from costs.books.closing import close_period, ensure_periods, reopen_period
from costs.books.fiscal import parse_month
from costs.models import PURPOSES, FiscalPeriod, LedgerEntry
from costs.rollups import hour_of
from routing.models import DecisionRecord
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import (
    Ask,
    Column,
    Link,
    PageRequest,
    Panel,
    csv_of,
    page,
    require_role,
    show_panels,
)
from switchyard.jobs.models import Job
from switchyard.tenancy.models import Organisation

PAGE_SIZE = 100
CSV_ROWS = 50_000
PERIODS = 24
CHECKS = 5
CHECKERS = ("finance", "operator")


@page
def ledger(request: PageRequest) -> HttpResponse:
    """Transfers, newest first, and the trial balance of what the reader may see."""
    ask, query = request.ask, request.GET
    if any("\x00" in query.get(name, "") for name in ("account", "purpose")):
        raise Http404
    asked = LedgerFilter(
        hour_of(ask.period.start),
        ask.period.end,
        ask.lob or "",
        query.get("account", ""),
        query.get("purpose", ""),
    )
    if query.get("csv") == "ledger":
        return csv_of(_entries(newest_entries(ask.scope, asked, CSV_ROWS)))
    found = newest_entries(ask.scope, asked, PAGE_SIZE + 1, _mark(query.get("before", "")))
    shown, last = found[:PAGE_SIZE], found[PAGE_SIZE - 1] if len(found) > PAGE_SIZE else None
    balance = reports.trial_balance(**ask.report())
    may_close = ask.scope.narrowed("finance").lob_ids is None and ask.scope.has_role("finance")
    return show_panels(
        request,
        "costs/ledger.html",
        {
            "trial-balance": partial(_trial_balance, balance), "periods": partial(_periods, ask),
            **({"book-checks": partial(_checks, ask)} if ask.scope.lob_ids is None else {}),
        },
        {
            "may_check": _may_check(ask),
            "rows": shown, "decisions": _decisions(ask, shown),
            "next": f"{last.at.isoformat()},{last.pk}" if last else None,
            "accounts": [row["key"] for row in balance.rows], "purposes": PURPOSES,
            "months": _months(ask), "may_close": may_close,
        },
    )  # fmt: skip


def _mark(text: str) -> tuple[datetime, int] | None:
    """Where the page before ended. Http404 when it was made up."""
    if not text:
        return None
    at, _comma, pk = text.partition(",")
    try:
        found = datetime.fromisoformat(at), int(pk)
    except ValueError:
        raise Http404 from None
    if found[0].tzinfo is None or not 0 <= found[1] < 2**63:
        raise Http404
    return found


def _decisions(ask: Ask, rows: Sequence[LedgerEntry]) -> dict[str, str]:
    """Request id → its decision, for the way from a transfer to why it was made."""
    ids = {row.request_id for row in rows if row.request_id}
    known = DecisionRecord.objects.for_tenant(ask.scope).filter(request_id__in=ids)
    return dict(known.values_list("request_id", "pk"))


def _months(ask: Ask) -> list[FiscalPeriod]:
    ensure_periods(ask.scope.organisation_id)  # type: ignore[arg-type]
    return list(FiscalPeriod.objects.filter(organisation_id=ask.scope.organisation_id)[:PERIODS])


def _periods(ask: Ask) -> Panel:
    """Sums of the whole organisation are for those who see all of it."""
    whole = ask.scope.lob_ids is None
    return Panel(
        "periods", _("Fiscal periods"),
        [Column(_("Month")), Column(_("State"), "verdict"), Column(_("Since"), "time"), Column(_("By")), Column(_("Reason")),
         Column(_("Transfers at the close"), "count"), Column(_("Sum at the close"), "usd")],
        [
            [f"{row.start:%Y-%m}", row.state, row.changed_at if row.events else None, row.changed_by, row.reason,
             row.entries if whole and row.events else None, row.total_nusd if whole and row.events else None]
            for row in _months(ask)
        ],
        wide=True,
        note=_("Months in UTC. Nothing can be dated into a closed one: what comes late is booked today and says so."),
    )  # fmt: skip


def _trial_balance(report: reports.Report) -> Panel:
    totals = report.totals
    holds = totals["debit_nusd"] == totals["credit_nusd"]
    rows: list[list[Any]] = [[r["key"], r["debit_nusd"], r["credit_nusd"]] for r in report.rows]
    return Panel(
        "trial-balance",
        _("Trial balance"),
        [Column(_("Account")), Column(_("Debit"), "usd"), Column(_("Credit"), "usd")],
        [*rows, [_("Total"), totals["debit_nusd"], totals["credit_nusd"]]] if rows else [],
        note=_("Debits and credits are equal, to the nano-dollar.")
        if holds
        else _("Debits and credits differ: the books are broken."),
        wide=True,
    )


def _checks(ask: Ask) -> Panel:
    """One row a finding, or one that says that there was none."""
    rows = checks_of(ask.scope.organisation_id).order_by("-created_at")[:CHECKS]
    shown: list[list[Any]] = []
    for job in rows:
        found = job.result.get("findings") or [""]
        who = job.created_by.username if job.created_by else _("schedule")
        shown += [[job.finished_at or job.created_at, Link(job.pk[-8:], reverse("dashboards:job", args=[job.pk])), who,
                   _told(job, finding)] for finding in found]  # fmt: skip
    ended = next((job for job in rows if job.state == "succeeded"), None)
    note = ""
    if ended is not None:
        words = (
            _("The books hold.")
            if ended.result.get("holds")
            else _("The books do not hold: look at the findings.")
        )
        note = _("%(when)s UTC: %(what)s") % {"when": f"{ended.finished_at:%Y-%m-%d %H:%M}", "what": words}
    return Panel(
        "book-checks", _("The books, verified"),
        [Column(_("When"), "time"), Column(_("Job")), Column(_("By")), Column(_("Finding"))], shown, wide=True, note=note,
        empty=_("Nobody has verified the books yet; it is done every night."),
    )  # fmt: skip


def _told(job: Job, finding: str) -> Any:
    if finding:
        return finding
    if job.state == "succeeded":
        return _("The books hold.")
    return job.error or _("not finished yet")


def _may_check(ask: Ask) -> bool:
    held = ask.scope.narrowed(*CHECKERS)
    return held.organisation_id is not None and held.lob_ids is None


@require_POST
@page
def verify(request: PageRequest) -> HttpResponse:
    """Start a check of the whole organisation's books."""
    scope = require_role(request, *CHECKERS)
    if scope.lob_ids is not None:
        raise PermissionDenied
    organisation = Organisation.objects.get(pk=scope.organisation_id)
    start_check(organisation=organisation, user=request.user)  # type: ignore[arg-type]
    messages.success(request, _("The books are being verified; what is found stands below."))
    return redirect(f"{reverse('dashboards:ledger')}#book-checks")


def _entries(rows: Sequence[LedgerEntry]) -> Panel:
    return Panel(
        "ledger", _("Transfers"),
        [Column(_("Time"), "time"), Column(_("Debit")), Column(_("Credit")), Column(_("Amount"), "usd"),
         Column(_("Line of business")), Column(_("Purpose")), Column(_("Request")), Column(_("Memo")),
         Column(_("Price version")), Column(_("Origin"))],
        [
            [r.at, r.debit, r.credit, r.amount_nusd, r.lob, r.purpose, r.request_id or r.job_id, r.memo, r.price_version,
             r.origin]
            for r in rows
        ],
        wide=True,
    )  # fmt: skip


@require_POST
@page
def change_period(request: PageRequest, month: str, action: str) -> HttpResponse:
    """Close a month, or open it again with a reason: finance of the whole organisation."""
    scope = require_role(request, "finance")
    if scope.lob_ids is not None:
        raise PermissionDenied
    try:
        start = parse_month(month)
    except ValueError:
        raise Http404 from None
    organisation_id, actor = scope.organisation_id, request.user
    try:
        if action == "close":
            close_period(organisation_id=organisation_id, month=start, actor=actor)  # type: ignore[arg-type]
            messages.success(request, _("%(month)s is closed.") % {"month": month})
        elif action == "reopen":
            reason = request.POST.get("reason", "")
            reopen_period(organisation_id=organisation_id, month=start, reason=reason, actor=actor)  # type: ignore[arg-type]
            messages.success(request, _("%(month)s is open.") % {"month": month})
        else:
            raise Http404
    except SwitchyardError as error:
        messages.error(request, error.message)
    return redirect("dashboards:ledger")
