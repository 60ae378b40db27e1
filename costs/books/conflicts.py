"""What comes again under a known id with another content: refused and alarmed, but for an estimate that the real figures
follow: that is a correction."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from costs.books.corrections import replace_attempt
from costs.books.writing import ATTEMPTS, CONTENTS, ENTRIES, KEYS, Written
from costs.models import Alert, Attempt
from switchyard.core.bulk import Row, Table

ESTIMATED, REPORTED = "estimated", "reported"
_USAGE_SOURCE, _ORGANISATION, _LOB = (
    ATTEMPTS.columns.index(n) for n in ("usage_source", "organisation_id", "lob")
)


def settle_conflicts(written: Written, times: list[datetime]) -> list[str]:
    """Inside the batch's transaction; gives the event ids that were refused. Times of corrected rows are added to `times`,
    so that their roll-ups follow."""
    alerts = [_alert(ENTRIES, there, came) for there, came in written.refused]
    for there, came in written.conflicts:
        if came[_USAGE_SOURCE] != REPORTED or not _overtaken(there, came, times):
            alerts.append(_alert(ATTEMPTS, there, came))
    Alert.objects.bulk_create(alerts, ignore_conflicts=True)
    return [alert.subject for alert in alerts]


def _overtaken(there: Row, came: Row, times: list[datetime]) -> bool:
    """The estimate of a call that seemed lost, and the call's own word after all: a correction, once."""
    request_id, attempt = (there[i] for i in KEYS[ATTEMPTS][:2])
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


def _alert(table: Table, there: Row, came: Row) -> Alert:
    name = "/".join(str(came[i]) for i in KEYS[table])
    value = dict(zip(table.columns, there, strict=True))
    differ = [i for i in CONTENTS[table] if there[i] != came[i]]
    fields = ", ".join(table.columns[i] for i in differ)
    return Alert(
        organisation_id=value["organisation_id"], kind="event_conflict", lob=value["lob"], subject=name[:120],
        message=(
            _(
                "%(name)s came again with another content (%(fields)s): %(field)s is booked as %(booked)s, %(came)s came. What "
                "is booked stands."
            ) % {"name": name, "fields": fields, "field": table.columns[differ[0]], "booked": there[differ[0]],
                 "came": came[differ[0]]}
        )[:400],
        unique_key=f"event_conflict:{name}"[:160],
    )  # fmt: skip
