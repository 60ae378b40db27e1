"""Closing a month of the books, and opening it again: both with an audit event, and with what stood at the close."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Min

from costs import spool, triggers
from costs.books.fiscal import balances_of, month_end, month_start
from costs.budgets import client, pending_events
from costs.budgets.spending import PENDING_MAX, STREAM
from costs.models import AccountHour, Attempt, FiscalPeriod, LedgerEntry
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, ValidationFailed


def ensure_periods(organisation_id: int) -> None:
    """An open row for each month that has transfers and none yet, the present one included."""
    span = AccountHour.objects.filter(organisation_id=organisation_id).aggregate(
        a=Min("start"), b=Max("start")
    )
    month, last = month_start(span["a"] or now()), max(month_start(span["b"] or now()), month_start(now()))
    missing = []
    known = set(FiscalPeriod.objects.filter(organisation_id=organisation_id).values_list("start", flat=True))
    while month <= last:
        if month not in known:
            missing.append(FiscalPeriod(organisation_id=organisation_id, start=month, end=month_end(month)))
        month = month_end(month)
    if missing:
        FiscalPeriod.objects.bulk_create(missing, ignore_conflicts=True)


def close_period(
    *, organisation_id: int, month: datetime, actor: Any = None, home: Path | None = None
) -> FiscalPeriod:
    """No transfer can be dated into the month from now on. Closing a closed one changes nothing.

    Raises Conflict, saying which, when the month isn't over, when its trial balance isn't zero, when events of it are
    still on their way, or when that can't be known because Valkey is out of reach.
    """
    start = month_start(month)
    end = month_end(start)
    if end > now():
        raise Conflict(f"{start:%Y-%m} isn't over: it can be closed from {end:%Y-%m-%d} on (UTC).")
    waiting = _on_their_way(organisation_id, start, end, home or Path(settings.HOME))
    if waiting:
        raise Conflict(
            f"{len(waiting)} events of {start:%Y-%m} are still on their way to the ledger, such as {waiting[0]}: "
            "close it once the ledger's consumer has taken them."
        )
    with transaction.atomic():
        _stop_writers()
        period = _row(organisation_id, start)
        if period.state == "closed":
            return period
        rows = AccountHour.objects.filter(organisation_id=organisation_id, start__gte=start, start__lt=end)
        balances = balances_of(rows)
        debits, credits = (sum(side) for side in zip(*balances.values(), strict=True)) if balances else (0, 0)
        if debits != credits:
            raise Conflict(
                f"The trial balance of {start:%Y-%m} is {debits - credits} nano-dollars, not zero: run verify_books."
            )
        entries = LedgerEntry.objects.filter(organisation_id=organisation_id, at__gte=start, at__lt=end)
        period.entries, period.total_nusd, period.balances = entries.count(), debits, balances
        return _change(period, "closed", actor, "")


@transaction.atomic
def reopen_period(*, organisation_id: int, month: datetime, reason: str, actor: Any = None) -> FiscalPeriod:
    """Transfers may be dated into the month again. ValidationFailed without a reason, Conflict when it isn't closed."""
    if not reason.strip():
        raise ValidationFailed("Say why the period is reopened: the audit log keeps it.", param="reason")
    _stop_writers()
    period = _row(organisation_id, month_start(month))
    if period.state != "closed":
        raise Conflict(f"{period.start:%Y-%m} is open already.")
    return _change(period, "open", actor, reason.strip()[:300])


def _row(organisation_id: int, start: datetime) -> FiscalPeriod:
    FiscalPeriod.objects.get_or_create(
        organisation_id=organisation_id, start=start, defaults={"end": month_end(start)}
    )
    return FiscalPeriod.objects.select_for_update().get(organisation_id=organisation_id, start=start)


def _stop_writers() -> None:
    """Whoever is writing the ledger ends first; whoever comes meets the period as it is then. SQLite has one writer."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [triggers.LOCK])


def _change(period: FiscalPeriod, state: str, actor: Any, reason: str) -> FiscalPeriod:
    name = actor if isinstance(actor, str) else getattr(actor, "username", None) or "system"
    period.state, period.changed_at, period.changed_by, period.reason = state, now(), name[:150], reason
    period.events = [
        *period.events, {"state": state, "at": period.changed_at.isoformat(), "by": name, "reason": reason},
    ]  # fmt: skip
    period.save()
    record(
        actor=actor, action="fiscal_period.closed" if state == "closed" else "fiscal_period.reopened",
        target=f"period:{period.start:%Y-%m}", organisation_id=period.organisation_id,
        detail={"reason": reason, "entries": period.entries, "total_nusd": period.total_nusd},
    )  # fmt: skip
    return period


def _on_their_way(organisation_id: int, start: datetime, end: datetime, home: Path) -> list[str]:
    """Request ids of the month that the stream or a spool holds and the books don't. Raises Conflict."""
    try:
        connected = client()
        if connected.xlen(STREAM) > PENDING_MAX:
            raise Conflict(
                "The ledger is far behind the stream: close the period once its consumer has caught up."
            )
        events = pending_events(connected) + list(spool.waiting_events(home / "spool"))
    except redis.RedisError as error:
        raise Conflict(f"Whether events are still on their way can't be known: {error}") from None
    first_ns, last_ns = start.timestamp() * 1e9, end.timestamp() * 1e9
    ids = {
        e["request_id"]
        for e in events
        if e.get("kind") == "usage" and e.get("organisation_id") == organisation_id and e.get("attempts")
        and first_ns <= e.get("at_ns", 0) < last_ns
    }  # fmt: skip
    return sorted(ids - _booked(ids))


def _booked(ids: Iterable[str]) -> set[str]:
    """A spool's file keeps what was delivered until it is full: the books know better."""
    wanted, found = sorted(ids), set[str]()
    for first in range(0, len(wanted), 500):
        rows = Attempt.objects.filter(request_id__in=wanted[first : first + 500])
        found.update(rows.values_list("request_id", flat=True))
    return found
