"""Raising an alert, with its deliveries, and what people do with one."""

from __future__ import annotations

from django.db import transaction

from costs.models import Alert
from costs.notify import outbox
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.tenancy.models import User


@transaction.atomic
def raise_alert(
    *,
    organisation_id: int,
    kind: str,
    subject: str,
    message: str,
    unique_key: str,
    lob: str = "",
    cause: str = "",
) -> Alert | None:
    """Tell people, once: the alert and its deliveries in one transaction. None when `unique_key` was told of already.

    `cause` is one line: what most of it comes from. Texts are cut to what the row holds.
    """
    alert, created = Alert.objects.get_or_create(
        unique_key=unique_key[:160],
        defaults={
            "organisation_id": organisation_id,
            "kind": kind,
            "lob": lob,
            "subject": subject[:120],
            "message": message[:400],
            "cause": cause[:300],
        },
    )
    if not created:
        return None
    outbox.queue(alert)
    return alert


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
