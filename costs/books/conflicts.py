"""What comes again under a known id with another content: refused and alarmed, but for an estimate that the real figures
follow: that is a correction."""

from __future__ import annotations

from datetime import datetime

from costs.books.corrections import replace_attempt
from costs.books.writing import ATTEMPTS, Row, Written
from costs.models import Alert, Attempt

ESTIMATED, REPORTED = "estimated", "reported"
_USAGE_SOURCE, _ORGANISATION, _LOB = (
    ATTEMPTS.columns.index(n) for n in ("usage_source", "organisation_id", "lob")
)


def settle_conflicts(written: Written, times: list[datetime]) -> list[str]:
    """Inside the batch's transaction; gives the event ids that were refused. Times of corrected rows are added to `times`,
    so that their roll-ups follow."""
    refused = list(written.refused)
    alerts = [_transfer_alert(event_id) for event_id in written.refused]
    for there, came in written.conflicts:
        name = "/".join(str(came[i]) for i in ATTEMPTS.key)
        if came[_USAGE_SOURCE] == REPORTED and _overtaken(there, came, times):
            continue
        refused.append(name)
        alerts.append(_alert(name, there, came))
    Alert.objects.bulk_create(alerts, ignore_conflicts=True)
    return refused


def _overtaken(there: Row, came: Row, times: list[datetime]) -> bool:
    """The estimate of a call that seemed lost, and the call's own word after all: a correction, once."""
    request_id, attempt = (there[i] for i in ATTEMPTS.key[:2])
    newest = Attempt.objects.filter(request_id=request_id, attempt=attempt).order_by("-revision").first()
    if newest is None:
        return False
    fresh = Attempt(**dict(zip(ATTEMPTS.columns, came, strict=True)))
    if newest.usage_source != ESTIMATED:  # told before: the same figures again change nothing
        return there[_USAGE_SOURCE] == ESTIMATED and newest.cost_nusd == fresh.cost_nusd
    times.append(newest.at)
    fresh = replace_attempt(
        old=newest, fresh=fresh, reason="the call's own figures, after an estimate", actor=None
    )
    times.append(fresh.at)
    return True


def _alert(name: str, there: Row, came: Row) -> Alert:
    differ = [ATTEMPTS.columns[i] for i in ATTEMPTS.content if there[i] != came[i]]
    first = ATTEMPTS.columns.index(differ[0])
    return Alert(
        organisation_id=there[_ORGANISATION], kind="event_conflict", lob=there[_LOB], subject=name[:120],
        message=f"{name} came again with another content ({', '.join(differ)}): {differ[0]} is booked as {there[first]}, "
        f"{came[first]} came. What is booked stands."[:400],
        unique_key=f"event_conflict:{name}"[:160],
    )  # fmt: skip


def _transfer_alert(event_id: str) -> Alert:
    return Alert(
        organisation_id=0, kind="event_conflict", subject=event_id[:120],
        message=f"The transfer {event_id} came again with other accounts or another amount. What is booked stands."[:400],
        unique_key=f"event_conflict:{event_id}"[:160],
    )  # fmt: skip
