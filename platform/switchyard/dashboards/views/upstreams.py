"""Upstreams: how each does now, what each was found to support, and asking one."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub.models import Deployment
from modelhub.services.access import owns
from modelhub.services.probing import start_probe
from routing.selectors.health import UpstreamHealth, upstream_health
from switchyard.dashboards.pages import Column, PageRequest, Panel, page, require_role, show_panels

KEEPERS = ("operator", "model_engineer")
ASKED = (
    "models",
    "chat",
    "stream",
    "usage_in_stream",
    "tools",
    "json_schema",
    "logprobs",
    "n",
    "max_tokens",
    "embeddings",
)


@page
def upstreams(request: PageRequest) -> HttpResponse:
    ask = request.ask
    found = upstream_health(ask.scope, lob=ask.lob)
    builders = {"health": partial(_health, found), "supported": partial(_supported, found)}
    held = ask.scope.narrowed(*KEEPERS)
    mine = [row.deployment for row in found if owns(held, row.deployment)]
    return show_panels(request, "modelhub/upstreams.html", builders, {"mine": mine})


@require_POST
@page
def probe(request: PageRequest, name: str) -> HttpResponse:
    """Start the job that asks its server; of what others use too only for those who reach them."""
    scope = require_role(request, *KEEPERS)
    row = get_object_or_404(Deployment.objects.for_tenant(scope), name=name)
    if not owns(scope, row):
        raise PermissionDenied
    job = start_probe(row=row, user=request.user)  # type: ignore[arg-type]
    messages.success(request, _("The server is being asked; its page tells how far it is."))
    return redirect("dashboards:job", job.pk)


def _health(found: list[UpstreamHealth]) -> Panel:
    columns = [
        Column(_("Deployment")), Column(_("Side"), "verdict"), Column(_("Traffic")), Column(_("Breaker"), "verdict"),
        Column(_("Tries again in"), "word"), Column(_("Asked to be left alone for"), "word"), Column(_("Last look"), "verdict"),
        Column(_("Looked at"), "time"), Column(_("Share of calls"), "rate"), Column(_("Calls"), "count"),
        Column(_("Failed"), "count"), Column(_("Last failure"), "time"), Column(_("What failed"), "word"),
        Column(_("Everybody's calls, 30 s"), "count", detail=True), Column(_("Of them failed"), "count", detail=True),
    ]  # fmt: skip
    note = _(
        "Breakers and rests hold for every process. Calls are yours of the last five minutes, failures of the last fifteen. "
        "Half open: one call at a time may try."
    )
    return Panel("health", _("How they do now"), columns, [_row(one) for one in found], wide=True, note=note,
                 empty=_("There is no deployment yet."))  # fmt: skip


def _row(one: UpstreamHealth) -> list[Any]:
    breaker, look = one.breaker, one.look
    counted = breaker if one.everybody else None
    on, off = _("on,off").split(",")
    return [
        one.deployment.name, one.deployment.side, on if one.deployment.enabled else off, one.state,
        _seconds(breaker.opens_for_s if breaker else 0), _seconds(breaker.rests_for_s if breaker else 0),
        look["state"] if look else "", one.looked_at, one.share, one.calls, one.failures, one.failed_at, one.failure or None,
        counted.calls if counted else None, counted.failures if counted else None,
    ]  # fmt: skip


def _seconds(left: float) -> str | None:
    return f"{left:.0f} s" if left else None


def _supported(found: list[UpstreamHealth]) -> Panel:
    titles = {
        "models": _("Lists models"), "chat": _("Chat"), "stream": _("Streams"), "usage_in_stream": _("Usage in streams"),
        "tools": _("Tools"), "json_schema": _("JSON schema"), "logprobs": _("Log-probabilities"), "n": _("Two choices"),
        "max_tokens": _("Keeps max_tokens"), "embeddings": _("Embeddings"),
    }  # fmt: skip
    rows = []
    for one in found:
        told = one.deployment.capabilities or {}
        supports = {name: (row or {}).get("support", "") for name, row in (told.get("found") or {}).items()}
        asked = (told.get("at") or "")[:16].replace("T", " ")
        rows.append([
            one.deployment.name, *(supports.get(name, "") for name in ASKED), asked or None,
            " ".join(told.get("warnings") or ()) or None,
        ])  # fmt: skip
    columns = [
        Column(_("Deployment")), *(Column(titles[name], "verdict") for name in ASKED), Column(_("Asked at (UTC)"), "word"),
        Column(_("Doesn't fit")),
    ]  # fmt: skip
    note = _(
        "As the server itself answered: yes, no, ignored (answered as if it hadn't been asked) or unknown."
    )
    return Panel(
        "supported",
        _("What they support"),
        columns,
        rows,
        wide=True,
        note=note,
        empty=_("There is no deployment yet."),
    )
