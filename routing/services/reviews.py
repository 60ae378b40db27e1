"""What a person says about an answer the guard found risky."""

from __future__ import annotations

from django.db import transaction

from routing.models import Interception
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.models import User


@transaction.atomic
def review(*, interception: Interception, state: str, user: User | None) -> Interception:
    """`confirmed`: rightly found; `released`: a false alarm. The last word counts, every word is audited."""
    if state not in ("confirmed", "released"):
        raise InvalidRequest("A review is `confirmed` or `released` (a false alarm).", param="state")
    interception.state, interception.reviewed_at = state, now()
    interception.reviewed_by = user.username if user else "system"
    interception.save(update_fields=["state", "reviewed_at", "reviewed_by"])
    record(
        actor=user, action=f"interception.{state}", target=f"decision:{interception.decision_id}", lob=interception.lob,
        organisation_id=interception.organisation_id, detail={"kind": interception.kind, "score": interception.score},
    )  # fmt: skip
    return interception
