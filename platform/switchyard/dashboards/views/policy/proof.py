"""Proof of residency for a period: the sentence that a risk officer signs, what it rests on, and the signed file."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import orjson
from django.http import HttpResponse
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from routing.proofs.services import LIMITS, UNREAD, residency_proof
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest, SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.views.policy.words import NAMES
from switchyard.tenancy.models import SENSITIVITIES

USUAL_DAYS = 30


@page
def proof(request: PageRequest) -> HttpResponse:
    """`class`, `from`, `to` (days in UTC, the last included, or ISO times), `lob`; `download` gives the signed JSON."""
    given = {
        "class": request.GET.get("class") or "restricted",
        "from": request.GET.get("from") or (now() - timedelta(days=USUAL_DAYS)).date().isoformat(),
        "to": request.GET.get("to") or now().date().isoformat(),
    }  # fmt: skip
    context: dict[str, Any] = {"given": given, "classes": SENSITIVITIES, "proof": None, "fault": ""}
    if "class" not in request.GET:
        return show(request, "routing/policy_proof.html", context)
    try:
        start, end = _moment(given["from"], "from", last=False), _moment(given["to"], "to", last=True)
        told = residency_proof(
            scope=request.ask.scope, at_least=given["class"], start=start, end=min(end, now()), lob=request.ask.lob or ""
        )  # fmt: skip
    except SwitchyardError as error:
        return show(request, "routing/policy_proof.html", context | {"fault": error.message}, status=400)
    if request.GET.get("download"):
        answer = HttpResponse(orjson.dumps(told, option=orjson.OPT_INDENT_2), content_type="application/json")
        answer["Content-Disposition"] = (
            f'attachment; filename="switchyard-proof-{start:%Y%m%d}-{end:%Y%m%d}.json"'
        )
        return answer
    return show(request, "routing/policy_proof.html", context | {
        "proof": told, "body": told["body"], "sentence": sentence(told["body"]),
        "hops": hop_rows(told["body"]), "limits": limits(told["body"]),
    })  # fmt: skip


def _moment(text: str, name: str, *, last: bool) -> datetime:
    """A day or a moment; a day as an end means its last instant."""
    try:
        day = parse_date(text)
        moment = parse_datetime(text.replace(" ", "+")) if day is None else None
    except ValueError:  # of the right form, but no such day
        day = moment = None
    if day is not None:
        return datetime.combine(day, time(), UTC) + timedelta(
            days=1 if last and day < datetime.max.date() else 0
        )
    if moment is None:
        raise InvalidRequest(_("`%(name)s` is a day such as 2026-11-01.") % {"name": name}, param=name)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def sentence(body: dict[str, Any]) -> str:
    """What the proof says, in one sentence."""
    question, counts = body["question"], body["counts"]
    said = {
        "sensitivity": question["class"], "start": question["from"][:16].replace("T", " "),
        "end": question["to"][:16].replace("T", " "), "n": counts["requests"],
        "outside": sum(n for side, n in counts["by_side"].items() if side != "private"),
        "attempts": sum(counts["by_side"].values()), "seals": body["chain"]["seals"],
    }  # fmt: skip
    if body["holds"]:
        return _(
            "Between %(start)s and %(end)s UTC no request with %(sensitivity)s data or stricter left: all %(attempts)s attempts "
            "of %(n)s such requests went to the private side, and the %(seals)s seals of their records form an unbroken chain."
        ) % said  # fmt: skip
    if body["holds"] is None:
        return _(
            "Between %(start)s and %(end)s UTC no request with %(sensitivity)s data or stricter is known to have left, but this "
            "is not proven yet: not everything in the period is sealed."
        ) % said  # fmt: skip
    if said["outside"] or body["contradictions"]:
        return _(
            "Between %(start)s and %(end)s UTC requests with %(sensitivity)s data or stricter did leave: %(outside)s of "
            "%(attempts)s attempts went outside. They are named below."
        ) % said  # fmt: skip
    return _(
        "Between %(start)s and %(end)s UTC nothing can be proven: the records don't agree with their chain. What is wrong is "
        "named below."
    ) % said  # fmt: skip


def hop_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Each hop's verdict, and what it rests on."""
    words = {
        "kept at home": _("What is kept at this hop is kept by this installation."),
        "no call": _("Nobody makes such a call."),
    }  # fmt: skip
    rows = []
    for row in body.get("hops", []):
        if row["rests_on"] == "records":
            told = _("%(attempts)s attempts in the sealed records, %(outside)s outside") % row
        elif row["rests_on"] == "jobs":
            jobs = ", ".join(f"{job['id']} ({job['deployment']}, {job['class']})" for job in row["jobs"])
            told = _("%(outside)s fine-tunes sent such rows to an external deployment") % row
            told = f"{told}: {jobs}" if jobs else told
        else:
            told = words[row["rests_on"]]
        rows.append({"name": NAMES.get(row["hop"], row["hop"]), "holds": row["holds"], "words": told})
    return rows


def limits(body: dict[str, Any]) -> list[str]:
    """What it does not say, in the reader's language where that is known."""
    words = (
        _("It speaks of what this gateway decided and sent, not of what a deployment that is called private does with it."),
        _("Requests that were still on their way when this was made are not in it; “Sealed until” says how far it reaches."),
        _("Whoever holds the database and this installation's key could make another chain: compare heads that you kept."),
        _("Counts are those of the signed seals; there are too many records beneath them to read each again here. "
          "The command verify_decisions reads all."),
    )  # fmt: skip
    known = dict(zip((*LIMITS, UNREAD), words, strict=True))
    return [known.get(limit, limit) for limit in body["limits"]]
