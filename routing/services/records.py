"""Events become decision records, interceptions and feedback: in bulk, once each, however often they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from costs.models import Alert
from routing.models import DecisionRecord, Feedback, Interception
from routing.proofs.seals import lines_of, seal
from routing.selectors.decisions import KEPT
from switchyard.core.bulk import Row, collector_paused, insert, insert_unknown, stored, table_of
from switchyard.core.clock import from_ns

Event = Mapping[str, Any]
DECISIONS = table_of(DecisionRecord)
_decision_row = itemgetter(*DECISIONS.columns)
_AS_TOLD = tuple(set(DECISIONS.columns) - {"id", "at", "policy_hash", "guard_verdict", "detail"})


def record_events(events: Sequence[Event]) -> None:
    """Inside the caller's transaction. Feedback replaces an earlier word on the same answer."""
    usage = [event for event in events if event["kind"] == "usage"]
    seal(lines_of(_write_decisions(usage)))
    Interception.objects.bulk_create(
        [row for e in usage if (row := _interception(e)) is not None], ignore_conflicts=True, batch_size=200
    )
    alerts = [alert for e in usage for alert in _misconfigured(e)]
    if alerts:
        Alert.objects.bulk_create(alerts, ignore_conflicts=True)
    latest = {(e["decision_id"], e["index"]): _feedback(e) for e in events if e["kind"] == "feedback"}
    if latest:
        Feedback.objects.bulk_create(
            list(latest.values()), batch_size=200, update_conflicts=True,
            unique_fields=["decision_id", "index"], update_fields=["correct", "score", "given_at"],
        )  # fmt: skip


def _write_decisions(usage: Sequence[Event]) -> Sequence[Event]:
    """Those that were new, which nearly always all are: straight into the table; a batch that came before is sorted out."""
    with collector_paused():
        rows = [_decision(event) for event in usage]
    try:
        with transaction.atomic():
            insert(DECISIONS, rows)
        return usage
    except IntegrityError:
        fresh = _unknown(usage)
        insert_unknown(DECISIONS, [_decision(event) for event in fresh])
        return fresh


def _unknown(usage: Sequence[Event]) -> list[Event]:
    """One event for each decision that no record holds."""
    by_id = {event["decision_id"]: event for event in usage}
    for name, ids in (("pk", list(by_id)), ("request_id", [event["request_id"] for event in usage])):
        for first in range(0, len(ids), 500):
            found = DecisionRecord.objects.filter(**{f"{name}__in": ids[first : first + 500]})
            for known in found.values_list("pk", flat=True):
                by_id.pop(known, None)
    return list({event["request_id"]: event for event in by_id.values()}.values())


def _decision(event: Event) -> Row:
    """A row of DECISIONS. `detail` is written as it will be read: the guard's findings without text."""
    detail = {name: event[name] for name in KEPT if name in event}
    detail["guard"] = _without_text(event)
    return _decision_row(
        {
            "id": event["decision_id"], "at": stored(from_ns(event["at_ns"])), "policy_hash": event["policy_hash"][:64],
            "guard_verdict": _verdict(event)[:12], "detail": orjson.dumps(detail).decode(),
            **{name: event[name] for name in _AS_TOLD},
        }
    )  # fmt: skip


def _verdict(event: Event) -> str:
    verdict = event.get("guard", {}).get("verdict", "pass")
    return "unavailable" if verdict == "guard_unavailable" else verdict


def _without_text(event: Event) -> dict[str, Any]:
    return {name: value for name, value in event.get("guard", {}).items() if name != "text"}


def _interception(event: Event) -> Interception | None:
    """A row for the review list when the guard found something, withheld or only observed."""
    guard = event.get("guard", {})
    if not guard.get("kind") or guard["kind"] == "guard_unavailable":
        return None
    return Interception(
        decision_id=event["decision_id"], organisation_id=event["organisation_id"], lob=event["lob"],
        workload=event["workload"], at=from_ns(event["at_ns"]), kind=guard["kind"], score=guard["score"],
        threshold=guard["threshold"], mode=guard["mode"], withheld=guard["verdict"] == "withhold", spans=guard["spans"],
        text=guard.get("text", ""), deployment=event.get("deployment", ""),
        named=sorted({*(guard.get("named") or ()), *(guard.get("probed") or ())}),
    )  # fmt: skip


def _misconfigured(event: Event) -> list[Alert]:
    """An upstream that refuses our key or knows no such model is ours to mend: one alert a deployment and hour."""
    at = from_ns(event["at_ns"])
    return [
        Alert(
            organisation_id=event["organisation_id"], at=at, kind="upstream_misconfigured", subject=attempt["deployment"],
            message=_("%(name)s answered %(status)s: its key, address or model name is wrong.")
            % {"name": attempt["deployment"], "status": attempt["http_status"]},
            unique_key=f"upstream_misconfigured:{event['organisation_id']}:{attempt['deployment']}:{at:%Y%m%d%H}"[:160],
        )
        for attempt in event.get("attempts", ())
        if attempt.get("error") == "misconfigured"
    ]  # fmt: skip


def _feedback(event: Event) -> Feedback:
    return Feedback(
        decision_id=event["decision_id"], index=event["index"], organisation_id=event["organisation_id"], lob=event["lob"],
        workload=event["workload"], deployment=event["deployment"], model=event["model"], side=event["side"],
        application=event.get("application", ""), at=from_ns(event["answered_at_ns"]), given_at=from_ns(event["at_ns"]),
        correct=event["correct"], score=event["score"], origin=event["origin"],
    )  # fmt: skip


def judgements(organisation_id: int, hours: Iterable[Any]) -> list[dict[str, Any]]:
    """Judged and correct answers by hour and names: absolute counts, for the roll-up of these hours."""
    rows: list[dict[str, Any]] = []
    names = ("lob", "application", "workload", "deployment", "model", "side", "origin")
    for start, end in hours:
        found = Feedback.objects.filter(
            organisation_id=organisation_id, at__gte=start, at__lt=end, correct__isnull=False
        )
        counts = found.values(*names).annotate(
            judged=Count("pk"), correct_n=Count("pk", filter=Q(correct=True))
        )
        rows += [
            {name: row[name] for name in names}
            | {
                "organisation_id": organisation_id,
                "start": start,
                "judged": row["judged"],
                "correct": row["correct_n"],
            }
            for row in counts
        ]
    return rows
