"""Bills against the books: the checks, their gaps, and a form that takes a bill or fetches one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from costs.models import BillCheck, Node
from costs.reconciliation.bills import MAX_BYTES
from costs.reconciliation.service import Correct, checks_of, reconcile_node, reconcile_usage
from modelhub.models import Deployment
from switchyard.core.errors import InvalidRequest, SwitchyardError
from switchyard.dashboards.pages import Column, Link, PageRequest, Panel, csv_of, page, require_role, show
from switchyard.dashboards.typed import keep_typed, typed_in

SHOWN = 50


@page
def reconciliation(request: PageRequest) -> HttpResponse:
    """Finance of the whole organisation sees bills; to others the page says whose they are."""
    ask = request.ask
    scope = ask.scope.narrowed("finance")
    if scope.organisation_id is None or scope.lob_ids is not None:
        return show(request, "costs/reconciliation.html", {"may_see": False})
    rows = list(checks_of(scope)[:SHOWN])
    chosen = request.GET.get("check", "")
    check = (
        get_object_or_404(checks_of(scope), pk=int(chosen)) if chosen.isdecimal() else next(iter(rows), None)
    )
    panels = {"findings": _findings(check), "checks": _checks(rows)}
    if (wanted := request.GET.get("csv")) is not None and wanted in panels:
        return csv_of(panels[wanted])
    last = ask.period.last_day
    context = {
        "typed": typed_in(request, "bill"), "may_see": True, "check": check, "panel": panels,
        "deployments": Deployment.objects.for_tenant(scope).filter(side="external").order_by("name"),
        "nodes": Node.objects.filter(organisation_id=scope.organisation_id).order_by("name"),
        "first": last - timedelta(days=1), "last": last,
    }  # fmt: skip
    return show(request, "costs/reconciliation.html", context)


def _states() -> dict[str, Any]:
    return {"corrected": _("corrected"), "claim": _("claim against the vendor"), "open": _("open")}


def _causes() -> dict[str, Any]:
    return {
        "missing": _("billed, not booked"), "unbilled": _("booked, not billed"), "billed_twice": _("billed twice"),
        "booked_twice": _("booked twice"), "estimated": _("booked by estimate"), "price": _("other price"),
        "tokens": _("other tokens"), "currency": _("other exchange rate"), "rounding": _("rounding"),
        "credit": _("credit of the vendor"), "hours_missing": _("hours billed, not booked"),
        "hours_unbilled": _("hours booked, not billed"), "hours_doubled": _("hours billed twice"), "rate": _("other rate"),
    }  # fmt: skip


def _findings(check: BillCheck | None) -> Panel:
    causes, states = _causes(), _states()
    return Panel(
        "findings", _("Gaps"),
        [Column(_("Day")), Column(_("Model or machine")), Column(_("Line of business")), Column(_("Cause")),
         Column(_("What differs")), Column(_("Rows"), "count"), Column(_("Billed"), "usd"), Column(_("Booked"), "usd"),
         Column(_("Gap"), "usd"), Column(_("State")), Column(_("For example"))],
        [[f["day"], f["model"], f["lob"] or "–", causes.get(f["cause"], f["cause"]), f["detail"], f["rows"], f["billed_nusd"],
          f["booked_nusd"], f["gap_nusd"], states[f["state"]], " ".join(f["samples"][:2])]
         for f in (check.findings if check else [])],
        note=_("They sum to billed less booked, to the nano-dollar."), wide=True,
        empty=_("Bill and books agree.") if check else _("No bill was held against the books yet."),
    )  # fmt: skip


def _checks(rows: list[BillCheck]) -> Panel:
    return Panel(
        "checks", _("Bills held against the books"),
        [Column(_("When"), "time"), Column(_("Bill of")), Column(_("From"), "time"), Column(_("Until"), "time"),
         Column(_("Lines"), "count"), Column(_("Billed"), "usd"), Column(_("Booked"), "usd"), Column(_("Gap"), "usd"),
         Column(_("Left"), "usd"), Column(_("Corrections"), "count"), Column(_("Source"))],
        [[r.made_at, Link(r.name, f"?check={r.pk}"), r.start, r.end, r.rows, r.billed_nusd,
          r.booked_nusd, r.gap_nusd, r.left_nusd, r.corrections, r.source] for r in rows],
        wide=True, empty=_("No bill was held against the books yet."),
    )  # fmt: skip


@require_POST
@page
def check_bill(request: PageRequest) -> HttpResponse:
    """The form: a file, or fetch. What is refused is said on the page."""
    scope = require_role(request, "finance")
    if scope.lob_ids is not None:
        return redirect("dashboards:reconciliation")
    try:
        check = _from_form(request, scope.organisation_id)
    except SwitchyardError as error:
        messages.error(request, error.message)
        keep_typed(request, "bill")  # all but its file, which has to be chosen again
        return redirect("dashboards:reconciliation")
    messages.success(request, _("Held against the books."))
    return redirect(f"{reverse('dashboards:reconciliation')}?check={check.pk}")


def _from_form(request: PageRequest, organisation_id: int | None) -> BillCheck:
    kind, _colon, name = request.POST.get("of", "").partition(":")
    shared: dict[str, Any] = {
        "organisation_id": organisation_id, "start": _day(request, "first"), "actor": request.user,
        "end": _day(request, "until") + timedelta(days=1), "currency": request.POST.get("currency", "").strip().upper(),
    }  # fmt: skip
    text = _file(request)
    if kind == "node":
        if text is None:
            raise InvalidRequest(_("Choose the machine's invoice as a file."))
        return reconcile_node(node=name, text=text, source=_name(request), **shared)
    correct: Correct = "all" if request.POST.get("correct") else "none"
    return reconcile_usage(deployment=name, text=text, correct=correct, source=_name(request), **shared)


def _day(request: PageRequest, name: str) -> datetime:
    try:
        day = parse_date(request.POST.get(name, ""))
    except ValueError:
        day = None
    if day is None:
        raise InvalidRequest(_("Dates are written YYYY-MM-DD."))
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _file(request: PageRequest) -> str | None:
    upload = request.FILES.get("bill")
    if upload is None:
        return None
    if (upload.size or 0) > MAX_BYTES:
        raise InvalidRequest(_("The bill is too large; split it by day."))
    try:
        return upload.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(_("The bill is not text in UTF-8.")) from None


def _name(request: PageRequest) -> str:
    upload = request.FILES.get("bill")
    return str(upload.name or "")[:150] if upload is not None else ""
