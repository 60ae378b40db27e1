"""The labelling queue: send texts, label what teaches most by keyboard, settle what two see differently, take rows along."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub.models import LabelBatch, LabelItem
from modelhub.services import labelling
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.dashboards.selectors import workloads
from switchyard.tenancy.models import Workload

STARTERS = ("model_engineer",)
LABELLERS = ("model_engineer", "risk", "operator")
SUGGESTED = 9  # as many as there are number keys


@page
def batches(request: PageRequest) -> HttpResponse:
    scope = request.ask.scope
    rows = LabelBatch.objects.for_tenant(scope).select_related("workload")
    may = scope.narrowed(*STARTERS)
    found = [w for w in workloads(request.ask) if w.task == "classification" and may.allows_lob(w.lob.slug)]
    return show(request, "modelhub/labelling.html", {"batches": rows[:100], "workloads": found})


@require_POST
@page
def new_batch(request: PageRequest) -> HttpResponse:
    scope = require_role(request, *STARTERS)
    workload = get_object_or_404(Workload.objects.for_tenant(scope), name=request.POST.get("workload", ""))
    file, count = request.FILES.get("texts"), request.POST.get("count", "")
    try:
        if file is None:
            raise ValidationFailed(_("Choose a file of texts."))
        batch = labelling.start_batch(
            workload=workload, user=request.user, name=file.name or "texts.csv", content=file.read(),  # type: ignore[arg-type]
            count=int(count) if count.isdigit() else 0, labellers=2 if request.POST.get("labellers") == "2" else 1,
            labels=[line for line in request.POST.get("labels", "").splitlines() if line.strip()] or None,
        )  # fmt: skip
    except SwitchyardError as error:
        messages.error(request, error.message)
        return redirect("dashboards:labelling")
    return redirect("dashboards:label-batch", batch.pk)


@page
def batch(request: PageRequest, batch_id: str) -> HttpResponse:
    """The next row for this reader; `?csv=` gives all of them, `?settle=` one that is disputed."""
    scope = request.ask.scope.narrowed(*LABELLERS)
    rows = LabelBatch.objects.for_tenant(scope).select_related("workload__lob")
    row = get_object_or_404(rows, pk=batch_id)
    if "csv" in request.GET:
        answer = HttpResponse(labelling.as_csv(row), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="labels-{row.pk}.csv"'
        return answer
    disputed = row.items.filter(state="disputed").order_by("place")
    item = labelling.next_item(row, request.user.username) if row.state == "open" else None  # type: ignore[union-attr]
    settling = item is None and row.state == "open"
    if settling:
        mine = disputed.exclude(votes__username=request.user.username)  # type: ignore[union-attr]
        item = mine.select_related("batch__workload__lob").first()
    states = {
        state: row.items.filter(state=state).count() for state in ("open", "agreed", "disputed", "settled")
    }
    context = {
        "b": row, "item": item, "settling": settling and item is not None, "states": states,
        "text": labelling.text_of(item) if item else "", "suggested": _suggested(row, item),
        "agreement": labelling.agreement(row),
        "votes": item.votes.all() if item and settling else [],
    }  # fmt: skip
    return show(request, "modelhub/label_batch.html", context)


def _suggested(row: LabelBatch, item: LabelItem | None) -> list[str]:
    """The guess first, then labels in their order: as many as there are number keys."""
    if item is None:
        return []
    first = [item.guess] if item.guess in row.labels else []
    return [*first, *(label for label in row.labels if label not in first)][:SUGGESTED]


@require_POST
@page
def batch_action(request: PageRequest, batch_id: str, action: str) -> HttpResponse:
    """vote | settle | upload | dataset."""
    scope = require_role(request, *(STARTERS if action == "dataset" else LABELLERS))
    row = get_object_or_404(LabelBatch.objects.for_tenant(scope).select_related("workload__lob"), pk=batch_id)
    if action not in ("vote", "settle", "upload", "dataset"):
        raise Http404
    user: Any = request.user
    try:
        if action in ("vote", "settle"):
            item = get_object_or_404(row.items, pk=request.POST.get("item", "0"))
            change = labelling.vote if action == "vote" else labelling.settle
            change(item=item, user=user, label=request.POST.get("label", ""))
        elif action == "upload":
            file = request.FILES.get("labels")
            taken = labelling.from_csv(batch=row, user=user, content=file.read() if file else b"")
            messages.success(request, _("%(n)d labels were taken.") % {"n": taken})
        else:
            dataset = labelling.to_dataset(batch=row, user=user)
            messages.success(
                request,
                _("%(n)d rows are a data set now: %(name)s.") % {"n": dataset.rows, "name": dataset.name},
            )
    except ValidationFailed as error:
        lines = "; ".join(f"{fault['path']}: {fault['message']}" for fault in error.errors[:5])
        messages.error(request, f"{error.message} {lines}")
    except SwitchyardError as error:
        messages.error(request, error.message)
    return redirect("dashboards:label-batch", row.pk)
