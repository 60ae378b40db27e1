"""Statements of lines of business by month, for people, printers and spreadsheets; FOCUS rows for other tools."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.db.models.functions import TruncMonth
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _

from costs.books.fiscal import month_end, month_start, parse_month
from costs.exports.comparison import by_application
from costs.exports.focus import Export, focus_csv
from costs.exports.focus_columns import VERSIONS
from costs.exports.statement_csv import statement_csv
from costs.exports.statements import BASES, Statement
from costs.exports.statements import statement as build
from costs.ledger import expense_account
from costs.models import AccountHour, SpendDay
from switchyard.core.clock import now
from switchyard.core.sending import streamed
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, csv_of, page, show

MONTHS, WHOLE = 12, "1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Months = list[datetime]


@page
def statements(request: PageRequest) -> HttpResponse:
    """Each line of business the reader may see, by month, and the export of the period."""
    ask = request.ask
    shown = [lob for lob in ask.lobs if ask.lob in (None, lob.slug)]
    months = _months(ask.scope)
    charged = _charged(ask, months)
    rows = [(lob, month, charged.get((lob.slug, month), 0)) for lob in shown for month in months]
    return show(request, "costs/statements.html", {"rows": rows, "versions": VERSIONS})


def _charged(ask: Ask, months: Months) -> dict[tuple[str, datetime], int]:
    """(line of business, month) → what its account in the ledger took, nano-dollars: the sum of its statement."""
    accounts = {expense_account(lob.slug): lob.slug for lob in ask.lobs}
    rows = AccountHour.objects.filter(
        organisation_id=ask.scope.organisation_id, account__in=accounts, start__gte=months[-1]
    ).annotate(month=TruncMonth("start", tzinfo=UTC))
    sums = (
        rows.order_by().values_list("account", "month").annotate(nusd=Sum("debit_nusd") - Sum("credit_nusd"))
    )
    return {(accounts[account], month): nusd for account, month, nusd in sums}


def _months(scope: Any) -> Months:
    """From the newest back to the first that has work, a year at most."""
    first = SpendDay.objects.for_tenant(scope).order_by("start").values_list("start", flat=True).first()
    month = month_start(now())
    months = [month]
    while first is not None and month > first and len(months) < MONTHS:
        month = month_start(month.replace(day=1) - (month_end(month) - month) / 2)
        months.append(month)
    return months


@page
def statement(request: PageRequest, lob: str, month: str) -> HttpResponse:
    """One statement; a line of business that isn't the reader's does not exist for them."""
    found = next((row for row in request.ask.lobs if row.slug == lob), None)
    basis = request.GET.get("basis", "chargeback")
    try:
        start = parse_month(month)
    except ValueError:
        raise Http404 from None
    if found is None or basis not in BASES or not EPOCH <= start <= now():
        raise Http404
    made = build(organisation_id=found.organisation.pk, lob=lob, month=start, basis=basis)
    if request.GET.get("csv") == WHOLE:
        return _csv(made)
    last = build(
        organisation_id=found.organisation.pk,
        lob=lob,
        month=month_start(start - timedelta(days=1)),
        basis=basis,
    )
    panels = [*_compared(made, last), *_panels(made)]
    if "csv" in request.GET:
        wanted = next((panel for panel in panels if panel.name == request.GET["csv"]), None)
        if wanted is None:
            raise Http404
        return csv_of(wanted)
    context = {
        "lob": found,
        "statement": made,
        "before": last,
        "panels": panels,
        "month": month,
        "bases": BASES,
    }
    return show(request, "costs/statement.html", context)


def _compared(made: Statement, last: Statement) -> list[Panel]:
    """By application beside the month before; nothing where neither month has a line."""
    rows: list[list[Any]] = [
        [row.application or _("of no application"), row.amount_nusd, row.before_nusd, row.more_nusd]
        for row in by_application(made, last)
    ]
    if not rows:
        return []
    totals = made.total_nusd, last.total_nusd
    rows.append([_("Sum"), *totals, totals[0] - totals[1]])
    columns = [Column(_("Application")), Column(_("This month"), "usd"), Column(_("The month before"), "usd"),
               Column(_("Difference"), "usd")]  # fmt: skip
    note = _("The month isn't over: it stands beside a whole one.") if made.end > now() else ""
    return [
        Panel(
            "applications", _("By application, beside the month before"), columns, rows, wide=True, note=note
        )
    ]


def _csv(made: Statement) -> HttpResponse:
    response = HttpResponse(statement_csv(made), content_type="text/csv; charset=utf-8")
    name = f"statement-{made.lob}-{made.start:%Y-%m}-{made.basis}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _panels(made: Statement) -> list[Panel]:
    titles = {
        "work": _("Work"), "labels": _("Labels, reviews, feedback"), "other": _("Other charges"),
        "loaded": _("Own machines: share of the bill and idle time"), "correction": _("Corrections of earlier months"),
    }  # fmt: skip
    columns = [
        Column(_("What")), Column(_("Application")), Column(_("Workload")), Column(_("Model")), Column(_("Side")),
        Column(_("Purpose")), Column(_("Quantity"), "number"), Column(_("Unit")), Column(_("Price per unit"), "text"),
        Column(_("Amount"), "usd"), Column(_("Note")),
    ]  # fmt: skip
    panels = []
    for section, title in titles.items():
        lines = [line for line in made.lines if line.section == section]
        rows = [
            [line.what, line.application or "–", line.workload or "–", line.model or "–", line.side or "–", line.purpose or "–",
             None if line.quantity is None else float(line.quantity), line.unit,
             "" if line.unit_price_usd is None else f"${line.unit_price_usd.normalize():f}", line.amount_nusd, line.note]
            for line in lines
        ]  # fmt: skip
        if rows:
            rows.append(
                [_("Sum"), "", "", "", "", "", None, "", "", sum(line.amount_nusd for line in lines), ""]
            )
            panels.append(Panel(section, title, columns, rows, wide=True))
    return panels


@page
def focus(request: PageRequest) -> Any:
    """The period's FOCUS rows, of what the reader may see."""
    ask = request.ask
    version = request.GET.get("version", VERSIONS[0])
    if version not in VERSIONS:
        raise Http404
    export = Export(ask.scope, ask.period.start, ask.period.end, ask.lob, version)
    response = StreamingHttpResponse(
        streamed(focus_csv(export), request), content_type="text/csv; charset=utf-8"
    )
    name = f"focus-{version}-{ask.period.start:%Y%m%d}-{ask.period.last_day:%Y%m%d}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
