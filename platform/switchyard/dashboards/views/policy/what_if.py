"""The what-if report of a version: what it would have changed in the last days, and what then happened."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from routing.selectors.what_ifs import report_for, truth_for
from routing.whatif.services import what_if as ask
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, show, show_panels
from switchyard.dashboards.views.policy.access import (
    AUTHORS,
    PUBLISHERS,
    in_words,
    may,
    must,
    version_of,
    visible,
)
from switchyard.dashboards.views.policy.what_if_panels import panels_of
from switchyard.jobs.models import Job

DAYS = (1, 7, 14, 30, 90)


@page
def what_if(request: PageRequest, policy_id: str) -> HttpResponse:
    """`report`: one of the version's reports by id; without it the newest. The address can be shared with who may see it."""
    policy = version_of(request, policy_id)
    rows = policy.what_ifs.select_related("against__lob")
    wanted = request.GET.get("report")
    if wanted and "\x00" in wanted:
        raise Http404
    row = get_object_or_404(rows, pk=wanted) if wanted else rows.exclude(report={}).first() or rows.first()
    context: dict[str, Any] = {
        "policy": policy, "row": row, "days": DAYS, "reports": rows.exclude(report={})[:20],
        "may_replay": may(request, policy.lob_id, *AUTHORS, *PUBLISHERS),
        "versions": visible(request).filter(lob=policy.lob).exclude(pk=policy.pk).defer("document").order_by("-version")[:50],
    }  # fmt: skip
    if row is None or not row.report:
        context["job"] = Job.objects.filter(pk=row.job_id).first() if row else None
        if "csv" in request.GET:
            raise Http404
        return show(request, "routing/policy_what_if.html", context | {"panel": {}, "report": None})
    report = report_for(row, request.ask.scope)
    truth = truth_for(row, request.ask.scope)
    context |= {"report": report}
    return show_panels(request, "routing/policy_what_if.html", panels_of(report, truth), context)


@require_POST
@page
def start(request: PageRequest, policy_id: str) -> HttpResponse:
    """Queue a replay of the last `days` days, against the live version or the one named."""
    policy = version_of(request, policy_id)
    must(request, policy.lob_id, *AUTHORS, *PUBLISHERS)
    days, against = request.POST.get("days", "7"), request.POST.get("against", "")
    user: Any = request.user
    try:
        other = version_of(request, against) if against else None
        number = int(days[:6]) if days.isdecimal() and days.isascii() else 0
        row, _job = ask(policy=policy, days=number, against=other, user=user)
    except SwitchyardError as error:
        for sentence in in_words(error):
            messages.error(request, sentence)
        return redirect("dashboards:policy-what-if", policy.pk)
    messages.success(request, _("The replay is queued; this page shows its report when it is there."))
    if request.POST.get("then") == "difference" and row.against_id:
        return redirect(f"/policies/{policy.pk}/difference/?against={row.against_id}")
    return redirect(f"/policies/{policy.pk}/what-if/?report={row.pk}")
