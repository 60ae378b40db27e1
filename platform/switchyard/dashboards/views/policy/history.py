"""A scope's history: who, when, why; percent steps, watched rollouts with their evidence, shadows; one-click rollback."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _

from routing.selectors import policies as read
from routing.selectors.policy_history import history as events_of
from routing.selectors.policy_history import shadow_results, watches
from switchyard.dashboards.pages import Column, PageRequest, Panel, csv_of, page, show
from switchyard.dashboards.views.policy.access import PUBLISHERS, may, scope_lob, visible


@page
def history(request: PageRequest) -> HttpResponse:
    """`scope`: a line of business; without it the organisation."""
    lob = scope_lob(request)
    organisation_id = request.ask.scope.organisation_id or 0
    events = events_of(organisation_id, lob.slug if lob else "")
    if request.GET.get("csv"):
        return csv_of(_panel(events))
    versions = list(visible(request).filter(lob=lob).defer("document").order_by("-version")[:200])
    live = next((v for v in versions if v.state == "live"), None)
    return show(request, "routing/policy_history.html", {
        "target": lob, "events": [(e, action_in_words(e.action)) for e in events],
        "known": {v.pk for v in versions}, "live": live, "previous": read.previous_of(live) if live else None,
        "may_publish": may(request, lob.pk if lob else None, *PUBLISHERS), "watches": watches(versions, request.ask.scope),
        "shadows": shadow_results(versions, request.ask.scope), "scopes": [None, *request.ask.lobs],
    })  # fmt: skip


def action_in_words(action: str) -> str:
    return _actions().get(action, action.replace("_", " "))


def _actions() -> dict[str, Any]:
    return {
        "created": _("written"), "validated": _("proven"), "published": _("published"), "rolled_back": _("rolled back to"),
        "what_if": _("replayed"), "approval_requested": _("approval asked for"), "approved": _("approved"),
        "sent_back": _("sent back"), "withdrawn": _("request withdrawn"), "shadow_started": _("shadow started"),
        "shadow_stopped": _("shadow stopped"), "what_if_compared": _("prediction held against what happened"),
        "guard_fired": _("taken back by itself: a guard fired"),
    }  # fmt: skip


def _panel(events: list[Any]) -> Panel:
    columns = [
        Column(_("Time"), "time"), Column(_("By")), Column(_("Action")), Column(_("Version"), "count"), Column(_("Detail")),
    ]  # fmt: skip
    rows = [
        [e.at, e.actor, e.action, e.version, ", ".join(f"{k}={v}" for k, v in e.detail.items())]
        for e in events
    ]
    return Panel("policy-history", _("History"), columns, rows)
