"""Take the demonstration's history out again: exactly the rows whose origin says so, and what was derived from them."""

from __future__ import annotations

from django.db import transaction

from costs.demonstration import ORIGIN, remove_demonstration
from routing.models import DecisionRecord, Feedback, Interception
from switchyard.audit.services import record
from switchyard.demo import plans
from switchyard.demo.history import KIND
from switchyard.jobs.models import Job
from switchyard.tenancy.models import Organisation


@transaction.atomic
def clear_history(*, organisation: Organisation, actor: str | None = None) -> dict[str, int]:
    """Rows removed by table. Live rows, configuration and money of real requests stay untouched."""
    decisions = DecisionRecord.objects.filter(organisation_id=organisation.pk, origin=ORIGIN)
    caught = Interception.objects.filter(
        organisation_id=organisation.pk, decision_id__in=decisions.values("pk")
    )
    feedback = Feedback.objects.filter(organisation_id=organisation.pk, origin=ORIGIN)
    removed = {"interceptions": caught.delete()[0], "feedback": feedback.delete()[0]}
    removed |= remove_demonstration(organisation.pk) | {
        "business events": plans.remove_events(organisation.pk)
    }
    removed["decisions"] = decisions.delete()[0]
    # The job stays, so that the next start doesn't bring back what somebody took out.
    Job.objects.filter(organisation=organisation, kind=KIND).update(
        state="succeeded", message="removed on request", lease_until=None
    )
    record(
        actor=actor, action="demonstration.cleared", target="history", organisation_id=organisation.pk, detail=removed
    )  # fmt: skip
    return removed
