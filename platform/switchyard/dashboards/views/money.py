"""Budgets with their burn-down, the ledger with its trial balance, alerts."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.db.models import Sum
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from costs import budgets as money
from costs import charts, reports
from costs.alerts import resolve
from costs.models import Alert, Budget, LedgerEntry, SpendDay
from costs.selectors import limit_of
from switchyard.dashboards.pages import (
    Ask,
    Column,
    PageRequest,
    Panel,
    csv_of,
    page,
    require_role,
    show,
    show_panels,
)

PAGE_SIZE = 100
CSV_ROWS = 50_000


@page
def budgets(request: PageRequest) -> HttpResponse:
    rows = _headrooms(request.ask)
    builders = {"budget-use": partial(_use, rows), "headroom": partial(_headroom, rows)}
    builders |= {
        f"burn-down-{b.pk}": partial(_burn_down, b, room)
        for b, room in rows
        if b.scope.startswith(("organisation", "lob:"))
    }
    return show_panels(request, "costs/budgets.html", builders, {})


def _headrooms(ask: Ask) -> list[tuple[Budget, money.Headroom]]:
    """The organisation's budgets too: they bind everyone, though only those who see all of it see them here."""
    rows = Budget.objects.for_tenant(ask.scope).select_related("lob").order_by("lob__slug", "scope")
    if ask.lob:
        rows = rows.filter(lob__slug=ask.lob)
    connection = money.client()
    try:
        return [(row, money.headroom(limit_of(row), connection)) for row in rows]
    finally:
        connection.close()


def _use(rows: list[tuple[Budget, money.Headroom]]) -> Panel:
    figures = [
        {
            "key": f"{b.scope} · {b.period}",
            "spent_nusd": r.spent_nusd,
            "limit_nusd": r.limit_nusd,
            "warn_pct": b.warn_pct,
        }
        for b, r in rows
    ]
    return Panel(
        "budget-use",
        _("Budgets in their present period"),
        [
            Column(_("Budget")),
            Column(_("Spent"), "usd"),
            Column(_("Limit"), "usd"),
            Column(_("Warns at %"), "count"),
        ],
        [[f["key"], f["spent_nusd"], f["limit_nusd"], f["warn_pct"]] for f in figures],
        charts.budget_use(figures),
        wide=True,
        note=_("Requests and jobs count; the replayed demonstration history does not: nobody spent it."),
    )


def _headroom(rows: list[tuple[Budget, money.Headroom]]) -> Panel:
    return Panel(
        "headroom",
        _("Headroom"),
        [
            Column(_("Scope")),
            Column(_("Period")),
            Column(_("From"), "time"),
            Column(_("Until"), "time"),
            Column(_("Limit"), "usd"),
            Column(_("Spent"), "usd"),
            Column(_("Reserved"), "usd"),
            Column(_("Left"), "usd"),
            Column(_("At the limit")),
        ],
        [
            [
                b.scope,
                b.period,
                r.start,
                r.end,
                r.limit_nusd,
                r.spent_nusd,
                r.reserved_nusd,
                r.left_nusd,
                b.action,
            ]
            for b, r in rows
        ],
        wide=True,
    )


def _burn_down(budget: Budget, room: money.Headroom) -> Panel:
    """By day from the daily roll-up; what is older than the period does not count."""
    days = SpendDay.objects.filter(organisation_id=budget.organisation_id, start__gte=room.start).exclude(
        origin="demonstration"
    )
    if budget.lob_id:
        days = days.filter(lob=budget.lob.slug)  # type: ignore[union-attr]
    left, points = budget.limit_nusd, [{"key": f"{room.start:%Y-%m-%d}", "left_nusd": budget.limit_nusd}]
    for row in days.order_by("start").values("start").annotate(spent=Sum("cost_nusd")):
        left -= row["spent"]
        points.append({"key": f"{row['start']:%Y-%m-%d}", "left_nusd": left})
    return Panel(
        f"burn-down-{budget.pk}",
        _("Left of %(scope)s") % {"scope": f"{budget.scope} ({budget.period})"},
        [Column(_("Day")), Column(_("Left"), "usd")],
        [[p["key"], p["left_nusd"]] for p in points],
        charts.burn_down(points, budget.limit_nusd),
    )


@page
def ledger(request: PageRequest) -> HttpResponse:
    """Transfers, newest first, and the trial balance of what the reader may see."""
    ask = request.ask
    rows = LedgerEntry.objects.for_tenant(ask.scope).filter(at__gte=ask.period.start, at__lt=ask.period.end)
    if ask.lob:
        rows = rows.filter(lob=ask.lob)
    if request.GET.get("csv") == "ledger":
        return csv_of(_entries(rows.order_by("-pk")[:CSV_ROWS]))
    before = request.GET.get("before", "")
    page_rows = rows.filter(pk__lt=int(before)) if before.isdecimal() else rows
    found = list(page_rows.order_by("-pk")[: PAGE_SIZE + 1])
    return show_panels(
        request,
        "costs/ledger.html",
        {"trial-balance": partial(_trial_balance, ask)},
        {
            "entries": _entries(found[:PAGE_SIZE]),
            "next": found[PAGE_SIZE - 1].pk if len(found) > PAGE_SIZE else None,
        },
    )


def _trial_balance(ask: Ask) -> Panel:
    report = reports.trial_balance(**ask.report())
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


def _entries(rows: Any) -> Panel:
    return Panel(
        "ledger",
        _("Transfers"),
        [
            Column(_("Time"), "time"),
            Column(_("Debit")),
            Column(_("Credit")),
            Column(_("Amount"), "usd"),
            Column(_("Line of business")),
            Column(_("Request")),
            Column(_("Memo")),
            Column(_("Price version")),
            Column(_("Origin")),
        ],
        [
            [
                r.at,
                r.debit,
                r.credit,
                r.amount_nusd,
                r.lob,
                r.request_id or r.job_id,
                r.memo,
                r.price_version,
                r.origin,
            ]
            for r in rows
        ],
        wide=True,
    )


@page
def alerts(request: PageRequest) -> HttpResponse:
    rows = Alert.objects.for_tenant(request.ask.scope)
    if request.ask.lob:
        rows = rows.filter(lob=request.ask.lob)
    may_resolve = request.ask.scope.has_role("operator", "finance")
    return show(
        request,
        "costs/alerts.html",
        {
            "open": rows.filter(resolved_at__isnull=True)[:200],
            "resolved": rows.filter(resolved_at__isnull=False)[:50],
            "may_resolve": may_resolve,
        },
    )


@require_POST
@page
def resolve_alert(request: PageRequest, alert_id: int) -> HttpResponse:
    scope = require_role(request, "operator", "finance")
    row = get_object_or_404(Alert.objects.for_tenant(scope), pk=alert_id)
    resolve(alert=row, user=request.user)  # type: ignore[arg-type]
    messages.success(request, _("Marked as resolved."))
    return redirect("dashboards:alerts")
