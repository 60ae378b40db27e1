"""The editor: a document judged while it is written, saved as a new version, and never lost on the way."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub.models import Deployment
from routing.models import Policy
from routing.policy import said
from routing.services import policies as write
from routing.services.drafts import judge
from switchyard.core.errors import ValidationFailed
from switchyard.dashboards.highlight import pattern_for_scripts
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.selectors import workloads
from switchyard.dashboards.views.policy.access import AUTHORS, must, organisation_of, scope_lob, visible
from switchyard.dashboards.views.policy.help import facts_by_group, snippets
from switchyard.dashboards.views.policy.words import counter_example_in_words, hops_by_invariant
from switchyard.tenancy.models import SENSITIVITIES, LineOfBusiness

EMPTY = "rules: []\n"


@page
def new_policy(request: PageRequest) -> HttpResponse:
    """A new version: checked on save; what is wrong is shown with line, column and the request that proves it.

    `base`: the newest version when the editor was opened. Where somebody saved meanwhile the text comes back (409) beside
    theirs, and saving again means it.
    """
    lob = scope_lob(request)
    must(request, lob.pk if lob else None, *AUTHORS)
    newest = visible(request).filter(lob=lob).order_by("-version").first()
    if request.method != "POST":
        start = _start(request, lob) or newest
        given = {"document": start.document if start else EMPTY, "base": newest.pk if newest else ""}
        return _show_editor(request, lob, given | {"start": start})
    given = {
        "document": request.POST.get("document", "").replace("\r\n", "\n"),
        "note": request.POST.get("note", "")[:300], "base": request.POST.get("base"),
    }  # fmt: skip
    if given["base"] is not None and newest is not None and given["base"] != newest.pk:
        return _show_editor(
            request, lob, given | {"base": newest.pk, "theirs": newest, "old_base": given["base"]}, 409
        )
    try:
        row = write.create_draft(
            organisation=organisation_of(request), lob=lob, document=given["document"], user=request.user,
            note=given["note"],
        )  # type: ignore[arg-type]  # fmt: skip
    except ValidationFailed as error:
        return _show_editor(request, lob, given | {"errors": error.errors}, 400)
    messages.success(request, _("Version %(version)s is saved as a draft.") % {"version": row.version})
    address = reverse("dashboards:policy", args=[row.pk])
    if request.headers.get("X-Editor"):  # the script follows by itself, so that the message is shown there
        return JsonResponse({"location": address}, status=201)
    return redirect(address)


def _start(request: PageRequest, lob: LineOfBusiness | None) -> Policy | None:
    """`from`: another version of the same scope to begin with."""
    wanted = request.GET.get("from", "")
    if not wanted or "\x00" in wanted:
        return None
    return visible(request).filter(lob=lob, pk=wanted).first()


def _show_editor(
    request: PageRequest, lob: LineOfBusiness | None, given: dict[str, Any], status: int = 200
) -> HttpResponse:
    organisation = organisation_of(request)
    deployments = Deployment.objects.filter(organisation=organisation).order_by("side", "name")
    first = {d.side: d.name for d in reversed(deployments)}
    verdict = judge(organisation=organisation, lob=lob, document=given["document"])
    context = {
        "target": lob, "note": "", "errors": [], "base": "", "theirs": None, "verdict": verdict,
        "faults": _in_words(verdict.faults), "warnings": _spoken(verdict.warnings),
        "hops": hops_by_invariant(verdict.hops), "fact_groups": facts_by_group(), "deployments": deployments,
        "snippets": snippets(first.get("private", "private-model"), first.get("external", "external-model"), lob is None),
        "tokens": pattern_for_scripts(), "words": _words(), "sensitivities": SENSITIVITIES,
        "workloads": [w for w in workloads(request.ask) if lob is None or w.lob_id == lob.pk],
    }  # fmt: skip
    return show(request, "routing/policy_form.html", context | given | _errors_in_words(given), status=status)


@require_POST
@page
def check(request: PageRequest) -> HttpResponse:
    """What saving this text would say: {"verdict": HTML, "faults": [...]}. Keeps nothing."""
    lob = scope_lob(request)
    must(request, lob.pk if lob else None, *AUTHORS)
    document = request.POST.get("document", "").replace("\r\n", "\n")
    verdict = judge(organisation=organisation_of(request), lob=lob, document=document)
    faults = _in_words(verdict.faults)
    shown = {
        "verdict": verdict, "faults": faults, "warnings": _spoken(verdict.warnings),
        "hops": hops_by_invariant(verdict.hops),
    }  # fmt: skip
    html = render_to_string("partials/policy_verdict.html", shown, request)
    return JsonResponse({"verdict": html, "holds": verdict.holds, "faults": [_for_marks(f) for f in faults]})


def _words() -> dict[str, str]:
    """What the script says."""
    return {
        "unsaved": _("not saved yet"), "saving": _("saving…"), "not_saved": _("not saved"),
        "not_checked": _("The server could not check this; try again."),
        "no_connection": _("No connection: the text stays here; try again."),
        "session_ended": _("Your session has ended. The text stays here: log in in another tab, then save again."),
        "restored": _("This is the text as you left it, not saved yet."), "discard": _("Discard it"),
        "not_kept": _("This browser keeps nothing: don't close this tab before saving."),
    }  # fmt: skip


def _in_words(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Faults in the reader's language, with a counter-example as a person says it."""
    found = []
    for fault in faults:
        words = {"message": said.in_words(fault["message"], _)}
        if "counter_example" in fault:
            words["words"] = counter_example_in_words(fault["counter_example"])
        found.append(fault | words)
    return found


def _spoken(sentences: list[str]) -> list[str]:
    return [said.in_words(sentence, _) for sentence in sentences]


def _errors_in_words(given: dict[str, Any]) -> dict[str, Any]:
    return {"errors": _in_words(given["errors"])} if "errors" in given else {}


def _for_marks(fault: dict[str, Any]) -> dict[str, Any]:
    return {name: fault.get(name) for name in ("line", "column", "message", "suggestion")}
