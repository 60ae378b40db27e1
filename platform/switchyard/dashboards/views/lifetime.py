"""Lifetime cost of workloads, what their business events cost and bring, label prices, and the plans behind them."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from costs.charts import lifetime as charts
from costs.labels import set_label_price
from costs.models import WorkloadPlan
from costs.plans import FIELDS, set_plan
from costs.reports.lifetime import lifetime_cost
from costs.reports.units import unit_economics
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, page, require_role, show_panels
from switchyard.dashboards.selectors import has_demonstration, workloads
from switchyard.dashboards.typed import keep_typed, typed_in
from switchyard.tenancy.admin_base import UsdField
from switchyard.tenancy.models import LineOfBusiness, Workload

ROLES = ("finance",)


@page
def lifetime(request: PageRequest) -> HttpResponse:
    ask = request.ask
    builders = {
        "lifetime-cost": partial(_lifetime, ask),
        "unit-economics": partial(_units, ask),
        "workload-plans": partial(_plans, ask),
        "label-prices": partial(_prices, ask),
    }
    context: dict[str, Any] = {}
    if "csv" not in request.GET:
        context = {"demonstration": has_demonstration(ask), "may_plan": ask.scope.has_role(*ROLES)} | _form(
            request
        )
        context["price_typed"] = typed_in(request, "label-price")
    return show_panels(request, "costs/lifetime.html", builders, context)


def _form(request: PageRequest) -> dict[str, Any]:
    """The plan form, filled with the plan of the workload that the address names."""
    found = workloads(request.ask)
    chosen = request.GET.get("plan", "")
    plan = (
        WorkloadPlan.objects.for_tenant(request.ask.scope).filter(workload=chosen).first() if chosen else None
    )
    if typed := typed_in(request, "plan"):
        return {"workloads": found, "chosen": typed.get("workload", ""), "plan": typed}
    return {"workloads": found, "chosen": chosen, "plan": plan or WorkloadPlan()}


def _lifetime(ask: Ask) -> Panel:
    rows = lifetime_cost(**ask.report()).rows
    parts = (("labels", _("Data and labels")), ("training", _("Training")), ("inference", _("Inference")),
             ("people", _("People")))  # fmt: skip
    return Panel(
        "lifetime-cost", _("What 1,000 answers cost over a model's life"),
        [Column(_("Workload")), Column(_("Line of business")), Column(_("Answers"), "count"),
         Column(_("Cost of 1,000 answers"), "usd"),
         *(Column(_("%(part)s, of 1,000") % {"part": name}, "usd") for _part, name in parts),
         *(Column(_("%(part)s, share") % {"part": name}, "rate", detail=True) for _part, name in parts),
         Column(_("Whole cost of the period"), "usd"), Column(_("Life, months"), "count"), Column(_("What is assumed"))],
        [[r["workload"], r["lob"], r["answers"], r["nusd_per_1000"],
          *(r[f"{part}_nusd_per_1000"] for part, _name in parts), *(r[f"{part}_share"] for part, _name in parts),
          r["total_nusd"], r["model_life_months"], r["note"]] for r in rows],
        charts.lifetime_cost(rows) if any(r["nusd_per_1000"] for r in rows) else None, wide=True,
        note=_("Labels as they were booked; training spread over the model's life; inference with the machines' idle time; "
               "people by the month. Where bars are shares, the name says the dollars of 1,000 answers."),
    )  # fmt: skip


def _units(ask: Ask) -> Panel:
    rows = unit_economics(**ask.report()).rows
    return Panel(
        "unit-economics", _("What a business event costs and brings"),
        [Column(_("Event")), Column(_("Workload")), Column(_("Events"), "count"), Column(_("Cost an event"), "usd"),
         Column(_("Of it inference"), "usd"), Column(_("Value an event"), "usd"), Column(_("Margin an event"), "usd"),
         Column(_("Answers an event"), "number"), Column(_("Margin of all"), "usd"), Column(_("Events before"), "count"),
         Column(_("Cost before"), "usd"), Column(_("Value before"), "usd", detail=True),
         Column(_("Margin before"), "usd", detail=True), Column(_("Answers before"), "number", detail=True)],
        [[r["event"], r["workload"], r["events"], r["nusd_per_event"], r["inference_nusd_per_event"],
          r["value_nusd_per_event"], r["margin_nusd_per_event"], r["answers_per_event"], r["margin_nusd"],
          r["before_events"], r["before_nusd_per_event"], r["before_value_nusd_per_event"],
          r["before_margin_nusd_per_event"], r["before_answers_per_event"]] for r in rows],
        charts.unit_economics(rows) if any(r["nusd_per_event"] is not None for r in rows) else None, wide=True,
        note=_("Cost is the workload's whole lifetime cost of the period; before is the period as long, right before it."),
        empty=_("No app has reported business events yet: POST /api/v1/business-events with a service account's token."),
    )  # fmt: skip


def _plans(ask: Ask) -> Panel:
    rows = WorkloadPlan.objects.for_tenant(ask.scope).select_related("lob")
    if ask.lob:
        rows = rows.filter(lob__slug=ask.lob)
    shared, own_parts = said_once([p.source for p in rows])
    return Panel(
        "workload-plans", _("Plans: what no meter sees"),
        [Column(_("Workload")), Column(_("Line of business")), Column(_("Life, months"), "count"),
         Column(_("Bought data, USD")), Column(_("People a month, USD")), Column(_("Event")), Column(_("Worth, USD")),
         Column(_("Basis")), Column(_("Source"), detail=True)],
        [[p.workload, p.lob.slug, p.model_life_months, f"{p.data_usd:.2f}", f"{p.people_usd_per_month:.2f}",
          p.event_name, "" if p.event_value_usd is None else f"{p.event_value_usd.normalize():f}", own, p.source]
         for p, own in zip(rows, own_parts, strict=True)],
        wide=True, note=_("All of them: %(what)s.") % {"what": shared} if shared else "",
        empty=_("No workload has a plan: a life of 12 months is assumed, people and bought data are not counted."),
    )  # fmt: skip


def said_once(sources: list[str]) -> tuple[str, list[str]]:
    """(what all of them say, what each says beside it) of sources whose parts are set off by semicolons."""
    parts = [source.split("; ") for source in sources]
    shared = [part for part in parts[0] if all(part in other for other in parts)] if len(parts) > 1 else []
    return "; ".join(shared), ["; ".join(p for p in own if p not in shared) for own in parts]


def _prices(ask: Ask) -> Panel:
    lobs = [lob for lob in ask.lobs if ask.lob in (None, lob.slug)]
    return Panel(
        "label-prices", _("What a label costs"),
        [Column(_("Line of business")), Column(_("A labelled row, review or accepted feedback"), "usd")],
        [[lob.slug, lob.label_price_nusd] for lob in lobs],
        note=_("Each is a line of the ledger; the labelling budget is on the page of budgets. 0 books none."),
    )  # fmt: skip


@require_POST
@page
def save_plan(request: PageRequest) -> HttpResponse:
    scope = require_role(request, *ROLES)
    name = request.POST.get("workload", "")
    workload = get_object_or_404(
        Workload.objects.for_tenant(scope).select_related("lob"), name=name.replace("\x00", "")
    )
    values: dict[str, Any] = {
        field: request.POST.get(field, "").strip() for field in FIELDS if field in request.POST
    }
    if not values.get("event_value_usd"):
        values["event_value_usd"] = None
    try:
        set_plan(workload=workload, actor=request.user, **values)
        messages.success(request, _("The plan of %(workload)s is kept.") % {"workload": workload.name})
    except SwitchyardError as error:
        messages.error(request, error.message)
        keep_typed(request, "plan")
    return redirect(f"{reverse('dashboards:lifetime')}?plan={workload.name}#plan")


@require_POST
@page
def save_label_price(request: PageRequest) -> HttpResponse:
    scope = require_role(request, *ROLES)
    lob = get_object_or_404(
        LineOfBusiness.objects.for_tenant(scope), slug=request.POST.get("lob", "").replace("\x00", "")
    )
    try:
        price = UsdField(required=True).clean(request.POST.get("label_usd", ""))
        set_label_price(lob=lob, price_nusd=price or 0, actor=request.user)
        messages.success(request, _("Labels of %(lob)s cost this from now on.") % {"lob": lob.slug})
    except (ValidationError, SwitchyardError) as error:
        told = " ".join(error.messages) if isinstance(error, ValidationError) else error.message
        messages.error(request, told)
        keep_typed(request, "label-price")
    return redirect(f"{reverse('dashboards:lifetime')}#label-prices")
