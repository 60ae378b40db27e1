"""Batches of /v1: how far each is, what it cost, which lines were refused and why, the files that came out."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub.batch_work import READERS, BatchRow, keeper
from switchyard.core.errors import NotFound, SwitchyardError
from switchyard.core.sending import streamed
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.tenancy.querysets import Scope

LISTED, LINES = 100, 200


@page
def batches(request: PageRequest) -> HttpResponse:
    """The list; asked by htmx, only its rows (every two seconds while something lives)."""
    rows = keeper().listed(request.ask.scope, lob=request.ask.lob, limit=LISTED)
    context = {"batches": rows, "moving": any(not row.final for row in rows)}
    if request.headers.get("HX-Request"):
        return render(request, "partials/batches.html", context)
    return show(request, "dashboards/batches.html", context)


@page
def batch(request: PageRequest, batch_id: str) -> HttpResponse:
    """One; asked by htmx, only the part that moves. What its lines say is shown to those who hold a role there."""
    row = _found(request.ask.scope, batch_id)
    readable = _readable(request, row)
    context = {
        "batch": row, "may_read": readable, "most": LINES,
        "lines": keeper().line_errors(request.ask.scope, row.id, LINES) if readable and row.failed else [],
    }  # fmt: skip
    if request.headers.get("HX-Request"):
        return render(request, "partials/batch.html", context)
    return show(request, "dashboards/batch.html", context)


@require_POST
@page
def cancel_batch(request: PageRequest, batch_id: str) -> HttpResponse:
    scope = require_role(request, *READERS)
    _found(scope, batch_id)
    try:
        keeper().cancel(scope, batch_id, request.user)
    except SwitchyardError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, _("What was answered stays and is paid for; nothing more is asked."))
    return redirect("dashboards:batch", batch_id)


@page
def results(request: PageRequest, batch_id: str, which: str) -> Any:
    """A file that came out, line by line; the audit log says who took it."""
    scope = require_role(request, *READERS)
    try:
        pieces = keeper().pieces(scope, batch_id, which, request.user)
    except NotFound:
        raise Http404 from None
    response = StreamingHttpResponse(
        streamed(pieces, request), content_type="application/jsonl; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="{batch_id}_{which}.jsonl"'
    return response


def _found(scope: Scope, batch_id: str) -> BatchRow:
    try:
        return keeper().one(scope, batch_id)
    except NotFound:
        raise Http404 from None


def _readable(request: PageRequest, row: BatchRow) -> bool:
    return request.ask.scope.narrowed(*READERS).allows_lob(row.lob)
