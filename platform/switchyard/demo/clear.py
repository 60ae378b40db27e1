"""Take the demonstration's history out again: exactly the rows whose origin says so, and what was derived from them."""

from __future__ import annotations

from django.db import transaction

from costs.models import Attempt, LedgerEntry, SpendDay, SpendHour
from routing.models import DecisionRecord, Feedback, Interception
from switchyard.audit.services import record
from switchyard.demo.history import KIND
from switchyard.jobs.models import Job

ORIGIN = "demonstration"


@transaction.atomic
def clear_history(*, actor: str | None = None) -> dict[str, int]:
    """Rows removed by table. Live rows, configuration and money of real requests stay untouched."""
    demonstration = DecisionRecord.objects.filter(origin=ORIGIN)
    removed = {
        "interceptions": Interception.objects.filter(decision_id__in=demonstration.values("pk")).delete()[0]
    }
    for name, model in (
        ("feedback", Feedback), ("ledger entries", LedgerEntry), ("attempts", Attempt),
        ("hourly roll-ups", SpendHour), ("daily roll-ups", SpendDay),
    ):  # fmt: skip
        removed[name] = model.objects.filter(origin=ORIGIN).delete()[0]
    removed["decisions"] = demonstration.delete()[0]
    # The job stays, so that the next start doesn't bring back what somebody took out.
    Job.objects.filter(kind=KIND).update(
        state="succeeded", message="removed on request", lease_until=None, finished_at=None
    )
    record(actor=actor, action="demonstration.cleared", target="history", detail=removed)
    return removed
