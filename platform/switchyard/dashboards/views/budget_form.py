"""The form of one budget: made, changed and removed by finance, each in their part of the organisation."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from costs.budgets.changes import remove_budget
from costs.budgets.forms import BudgetForm, scopes_of
from costs.models import Budget
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.dashboards.period import ZONES
from switchyard.dashboards.views.budgets import WRITES, name_of


@page
@require_http_methods(["GET", "HEAD", "POST"])
def new_budget(request: PageRequest) -> HttpResponse:
    return _form(request, Budget())


@page
@require_http_methods(["GET", "HEAD", "POST"])
def budget(request: PageRequest, budget_id: int) -> HttpResponse:
    scope = require_role(request, *WRITES)
    return _form(request, get_object_or_404(Budget.objects.for_tenant(scope), pk=budget_id))


def _form(request: PageRequest, row: Budget) -> HttpResponse:
    """What is refused stands on the form again, as it was typed."""
    scope = require_role(request, *WRITES)
    name = name_of(row) if row.pk is not None else ""  # as it stands in the books, whatever is typed
    form = BudgetForm(request.POST or None, instance=row, asker=scope)
    if request.method == "POST" and form.is_valid():
        kept = form.keep(request.user)
        messages.success(
            request, _("%(budget)s is kept: it counts within two seconds.") % {"budget": name_of(kept)}
        )
        return redirect("dashboards:budgets")
    context = {"form": form, "row": row, "name": name, "scopes": scopes_of(scope), "offered_zones": ZONES}
    return show(request, "costs/budget.html", context)


@require_POST
@page
def drop_budget(request: PageRequest, budget_id: int) -> HttpResponse:
    scope = require_role(request, *WRITES)
    row = get_object_or_404(Budget.objects.for_tenant(scope), pk=budget_id)
    name = name_of(row)
    remove_budget(budget=row, actor=request.user)
    messages.success(request, _("%(budget)s is removed: it binds nothing from now on.") % {"budget": name})
    return redirect("dashboards:budgets")
