"""record() appends to the chain; verify() names the first row that was changed."""

import hashlib
import json
from typing import Any

from django.db import IntegrityError, transaction

from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now

GENESIS = "0" * 64


def _digest(previous: str, event: AuditEvent) -> str:
    """h_i = SHA256(h_{i−1} ‖ canonical JSON)."""
    canonical = json.dumps(
        {
            "sequence": event.sequence,
            "organisation": event.organisation_id,
            "at": event.at.isoformat(),
            "actor": event.actor,
            "action": event.action,
            "target": event.target,
            "lob": event.lob,
            "detail": event.detail,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256((previous + canonical).encode()).hexdigest()


def record(
    *,
    actor: Any,
    action: str,
    target: str,
    lob: str = "",
    organisation_id: int | None = None,
    detail: dict[str, Any] | None = None,
) -> AuditEvent:
    """Append one event inside the caller's transaction. `actor` is a user, a name or None (the system)."""
    name = actor if isinstance(actor, str) else getattr(actor, "username", None) or "system"
    for _ in range(5):
        last = AuditEvent.objects.order_by("-sequence").first()
        event = AuditEvent(
            sequence=last.sequence + 1 if last else 1,
            organisation_id=organisation_id,
            at=now(),
            actor=name,
            action=action,
            target=target,
            lob=lob,
            detail=json.loads(json.dumps(detail or {}, default=str)),
            previous_hash=last.hash if last else GENESIS,
        )
        event.hash = _digest(event.previous_hash, event)
        try:
            with transaction.atomic():
                event.save(force_insert=True)
            return event
        except IntegrityError:
            continue  # another process took this sequence number: read the new head and try again
    raise RuntimeError("The audit log could not be appended to: five writers in a row were faster.")


def verify() -> tuple[int, str | None]:
    """(rows checked, None) when the chain holds, else (rows good, why the next one isn't)."""
    previous, expected = GENESIS, 1
    for event in AuditEvent.objects.order_by("sequence").iterator():
        if event.sequence != expected:
            return expected - 1, f"row {expected} is missing"
        if event.previous_hash != previous or event.hash != _digest(previous, event):
            return expected - 1, f"row {event.sequence} ({event.action} {event.target}) was changed"
        previous, expected = event.hash, expected + 1
    return expected - 1, None
