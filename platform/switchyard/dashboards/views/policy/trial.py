"""Try a request: what would be decided, and why, beside what the live versions decide. Nothing is sent, kept or logged."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _

from routing.intake.resolve import TASKS
from routing.models import Policy
from routing.policy.rules import Document
from routing.selectors import policies as read
from routing.services.trial import try_policy, try_text, unsaved_version
from switchyard.core.errors import InvalidRequest, NotFound, SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.selectors import workloads
from switchyard.dashboards.views.decisions import flat_facts
from switchyard.dashboards.views.policy.access import (
    AUTHORS,
    in_words,
    may,
    organisation_of,
    scope_lob,
    version_of,
    visible,
)
from switchyard.tenancy.models import SENSITIVITIES, Workload

MOST_TEXT = 20_000
KINDS = ("text", "facts", "request")


@page
def trial(request: PageRequest) -> HttpResponse:
    """GET shows the form, POST the decision; `part` gives the decision alone, for the editor.

    `kind`: text (of a workload), facts (JSON), request (endpoint, JSON body, line of business). `policy`: a version to try
    in place of the live one of its scope; `document` with `scope`: one that nobody has saved.
    """
    given = request.POST or request.GET
    context: dict[str, Any] = {
        "workloads": workloads(request.ask), "sensitivities": SENSITIVITIES, "given": given, "trial": None,
        "kind": given.get("kind") if given.get("kind") in KINDS else "text", "endpoints": TASKS,
        "versions": visible(request).select_related("lob").defer("document").order_by("lob__slug", "-version")[:100],
    }  # fmt: skip
    if request.method == "POST":
        context |= _decide(request, context["kind"])
    status = 400 if context.get("faults") else 200
    if "part" in request.POST:
        return render(request, "partials/policy_decision.html", context, status=status)
    return show(request, "routing/trial.html", context, status=status)


def _decide(request: PageRequest, kind: str) -> dict[str, Any]:
    try:
        version, unsaved = _tried(request)
        if kind == "text":
            found = _text(request, version, unsaved)
            return _told(found.as_json()) | {"trial": found}
        asked = _facts(request) if kind == "facts" else _request(request)
        if version is None:
            version = _any_live(request)
        return _told(try_policy(version, asked, request.ask.scope, unsaved=unsaved))
    except SwitchyardError as error:
        return {"faults": in_words(error)}


def _told(decision: dict[str, Any]) -> dict[str, Any]:
    return {
        "tried": decision, "live": decision["live"], "facts": flat_facts(decision["facts"]),
        "same": _essence(decision) == _essence(decision["live"]),
    }  # fmt: skip


def _essence(decision: dict[str, Any]) -> Any:
    return (
        [(hop["deployment"], hop["hop"]) for hop in decision["hops"]],
        decision["refusal"],
        decision["shadows"],
    )


def _tried(request: PageRequest) -> tuple[Policy | None, Document | None]:
    """The version to put in its scope's place: one that is saved, one that isn't yet, or none."""
    if "document" in request.POST:
        lob = scope_lob(request)
        if not may(request, lob.pk if lob else None, *AUTHORS):
            raise Http404
        return unsaved_version(organisation_of(request), lob, request.POST["document"].replace("\r\n", "\n"))
    wanted = request.POST.get("policy")
    return (version_of(request, wanted), None) if wanted else (None, None)


def _any_live(request: PageRequest) -> Policy:
    live = read.live(request.ask.scope.organisation_id or 0, None)
    if live is None:
        raise NotFound(_("No document of the organisation is live: everything is refused."))
    return live


def _text(request: PageRequest, version: Policy | None, unsaved: Document | None) -> Any:
    rows = Workload.objects.for_tenant(request.ask.scope).select_related("lob", "organisation")
    workload = get_object_or_404(rows, name=request.POST.get("workload", "").replace("\x00", ""))
    if version is not None and version.lob_id not in (None, workload.lob_id):
        raise InvalidRequest(
            _("%(version)s is not a policy of %(lob)s.") % {"version": version, "lob": workload.lob.slug}
        )
    return try_text(
        workload=workload, text=request.POST.get("text", "")[:MOST_TEXT],
        sensitivity=request.POST.get("sensitivity", ""), wish=request.POST.get("wish", ""), draft=version,
        unsaved=unsaved,
    )  # fmt: skip


def _facts(request: PageRequest) -> dict[str, Any]:
    return {"facts": _json(request.POST.get("facts", "") or "{}", _("The facts"))}


def _request(request: PageRequest) -> dict[str, Any]:
    body = _json(request.POST.get("body", ""), _("The body"))
    return {
        "request": {
            "endpoint": request.POST.get("endpoint", ""),
            "body": body,
            "lob": request.POST.get("for", ""),
        }
    }


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text[: 10 * MOST_TEXT])
    except RecursionError:
        raise InvalidRequest(_("%(what)s: nested too deep.") % {"what": what}) from None
    except ValueError as error:
        raise InvalidRequest(_("%(what)s: not JSON (%(fault)s).") % {"what": what, "fault": error}) from None
