"""What people do with an alert."""

from __future__ import annotations

from django.db import transaction

from costs.models import Alert
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.tenancy.models import User


@transaction.atomic
def resolve(*, alert: Alert, user: User | None) -> Alert:
    """Somebody has seen to it. Resolving twice keeps the first time."""
    if alert.resolved_at is None:
        alert.resolved_at = now()
        alert.save(update_fields=["resolved_at"])
        record(
            actor=user, action="alert.resolved", target=f"alert:{alert.pk}", lob=alert.lob,
            organisation_id=alert.organisation_id, detail={"kind": alert.kind, "subject": alert.subject},
        )  # fmt: skip
    return alert
