"""The audit log, and whether its chain of hashes still holds."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse

from switchyard.audit.models import AuditEvent
from switchyard.audit.services import verify
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, csv_of, page, show

PAGE_SIZE = 100
CSV_ROWS = 50_000


@page
def audit(request: PageRequest) -> HttpResponse:
    rows = _visible(request.ask)
    text = request.GET.get("find", "").strip()
    if text:
        rows = rows.filter(Q(actor=text) | Q(action__startswith=text) | Q(target__contains=text))
    if request.GET.get("csv") == "audit":
        return csv_of(_panel(rows.order_by("-sequence")[:CSV_ROWS]))
    before = request.GET.get("before", "")
    page_rows = rows.filter(sequence__lt=int(before)) if before.isdecimal() else rows
    found = list(page_rows.order_by("-sequence")[: PAGE_SIZE + 1])
    context: dict[str, Any] = {
        "rows": found[:PAGE_SIZE], "next": found[PAGE_SIZE - 1].sequence if len(found) > PAGE_SIZE else None,
    }  # fmt: skip
    if request.GET.get("verify"):
        context["checked"], context["fault"] = verify()
        context["verified"] = True
    return show(request, "dashboards/audit.html", context)


def _visible(ask: Ask) -> QuerySet[AuditEvent]:
    """Of the organisation; somebody bound to lines of business sees those alone."""
    rows = AuditEvent.objects.filter(organisation_id=ask.scope.organisation_id)
    if ask.scope.lob_slugs is not None:
        rows = rows.filter(lob__in=ask.scope.lob_slugs)
    return rows.filter(lob=ask.lob) if ask.lob else rows


def _panel(rows: Any) -> Panel:
    names = ["sequence", "at", "actor", "action", "target", "lob", "detail", "hash"]
    columns = [Column(name, "time" if name == "at" else "text") for name in names]
    return Panel("audit", "", columns, [[getattr(row, name) for name in names] for row in rows])
