"""What a person says about an answer the guard found risky; each review is charged as a label."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from costs.labels import Labelled, charge
from routing.models import Interception
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.models import User


@transaction.atomic
def review(*, interception: Interception, state: str, user: User | None) -> Interception:
    """`confirmed`: rightly found; `released`: a false alarm. The last word counts, every word is audited.

    Saying the same again is no other review, so it isn't charged. Raises BudgetExhausted; the row stays as it is then.
    """
    if state not in ("confirmed", "released"):
        raise InvalidRequest("A review is `confirmed` or `released` (a false alarm).", param="state")
    at = now()
    before = Interception.objects.select_for_update().values_list("state", flat=True).get(pk=interception.pk)
    if before != state:
        charge([_charge_of(interception, state, at)])
    interception.state, interception.reviewed_at = state, at
    interception.reviewed_by = user.username if user else "system"
    interception.save(update_fields=["state", "reviewed_at", "reviewed_by"])
    record(
        actor=user, action=f"interception.{state}", target=f"decision:{interception.decision_id}", lob=interception.lob,
        organisation_id=interception.organisation_id, detail={"kind": interception.kind, "score": interception.score},
    )  # fmt: skip
    return interception


def _charge_of(interception: Interception, state: str, at: datetime) -> Labelled:
    return Labelled(
        event_id=f"review:{interception.pk}:{int(at.timestamp() * 1_000_000)}",
        organisation_id=interception.organisation_id, lob=interception.lob, workload=interception.workload,
        purpose="review", at=at, memo=f"review of {interception.decision_id}: {state}",
    )  # fmt: skip
