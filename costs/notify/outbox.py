"""The outbox: which targets hear of an alert, and the deliveries that are due, tried again with growing pauses."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import F, QuerySet

from costs.models import Alert, AlertDelivery, AlertTarget
from costs.notify import messages
from costs.notify.errors import Undelivered
from switchyard.core.clock import now

log = logging.getLogger(__name__)
ATTEMPTS_MAX = 8
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
CLAIM = timedelta(
    minutes=2
)  # longer than a try takes; a worker that dies meanwhile leaves the delivery to another
GATHERED_FOR = timedelta(days=1)
TEST = "test"  # the kind of an alert that somebody sent themselves


def _hears(target: AlertTarget, alert: Alert) -> bool:
    """The organisation's own targets hear of everything, a line of business's of its own alerts."""
    if target.organisation_id != alert.organisation_id or (target.kinds and alert.kind not in target.kinds):
        return False
    return target.lob is None or target.lob.slug == alert.lob


def queue(alert: Alert) -> int:
    """Write the alert's deliveries, in the caller's transaction; gives how many."""
    rows = AlertTarget.objects.filter(organisation_id=alert.organisation_id, active=True).select_related(
        "lob"
    )
    wanted = [AlertDelivery(alert=alert, target=target) for target in rows if _hears(target, alert)]
    AlertDelivery.objects.bulk_create(wanted, ignore_conflicts=True)
    return len(wanted)


def gather() -> int:
    """Deliveries for open alerts of the last day that were written without any; gives how many. What was raised before a
    target existed isn't sent to it."""
    targets = list(AlertTarget.objects.filter(active=True).select_related("lob"))
    waiting = Alert.objects.filter(
        organisation_id__in={t.organisation_id for t in targets},
        at__gte=now() - GATHERED_FOR,
        resolved_at__isnull=True,
        deliveries__isnull=True,
    )
    wanted = [
        AlertDelivery(alert=alert, target=target)
        for alert in waiting
        for target in targets
        if _hears(target, alert) and target.created_at <= alert.at
    ]
    AlertDelivery.objects.bulk_create(wanted, ignore_conflicts=True, batch_size=500)
    return len(wanted)


def due(limit: int) -> QuerySet[AlertDelivery]:
    rows = AlertDelivery.objects.filter(state="pending", next_at__lte=now())
    return rows.select_related("alert", "target__lob").order_by("next_at", "pk")[:limit]


def send_due(limit: int = 100) -> tuple[int, int]:
    """Try what is due; gives (sent, not sent). Workers side by side try each delivery once: who claims it sends it."""
    sent = missed = 0
    for delivery in due(limit):
        mine = AlertDelivery.objects.filter(pk=delivery.pk, state="pending", attempts=delivery.attempts)
        if not mine.update(attempts=F("attempts") + 1, next_at=now() + CLAIM):
            continue
        delivery.attempts += 1
        try:
            messages.send(delivery)
        except Undelivered as error:
            _missed(delivery, str(error))
            missed += 1
        except Exception as error:
            log.exception("Delivery %s of alert %s failed", delivery.pk, delivery.alert_id)
            _missed(delivery, f"It failed here: {type(error).__name__}.")
            missed += 1
        else:
            delivery.state, delivery.sent_at, delivery.error = "sent", now(), ""
            delivery.save(update_fields=["state", "sent_at", "error"])
            sent += 1
    return sent, missed


def _missed(delivery: AlertDelivery, why: str) -> None:
    if delivery.attempts >= ATTEMPTS_MAX:
        delivery.state = "failed"
        why = f"Given up after {delivery.attempts} attempts. {why}"
        log.error("Alert %s did not reach target %s: %s", delivery.alert_id, delivery.target_id, why)
    delivery.error, delivery.next_at = why[:300], now() + pause(delivery.attempts)
    delivery.save(update_fields=["state", "error", "next_at"])


def pause(attempts: int) -> timedelta:
    """After the n-th try: a minute, doubling up to an hour."""
    return min(FIRST_PAUSE * 2 ** (attempts - 1), LONGEST_PAUSE)
