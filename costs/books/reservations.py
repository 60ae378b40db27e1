"""Valkey's counters against the books: spent must be what the ledger says, reserved what open reservations hold."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import redis
from django.utils.translation import gettext as _

from costs.budgets import spent_nusd
from costs.budgets.spending import PENDING_MAX, usage_events
from costs.contracts import BudgetLimit
from costs.fresh import STREAM
from costs.models import Budget
from costs.periods import counter_key, period_bounds
from costs.selectors import limits_of
from switchyard.core.clock import now
from switchyard.core.money import format_usd

TRIES = 5  # traffic moves a counter between two looks: only what stays apart is a finding


def verify_counters(organisation_id: int, connection: redis.Redis) -> list[str]:
    """What is wrong, one sentence each. Raises RedisError."""
    findings = []
    budgets = Budget.objects.filter(organisation_id=organisation_id, covers="all").select_related("lob")
    for limit in limits_of(budgets):
        for _try in range(TRIES):
            found = _apart(limit, connection)
            if not found:
                break
        findings += found
    return findings


def _apart(limit: BudgetLimit, connection: redis.Redis) -> list[str]:
    start, end = period_bounds(limit.period, limit.timezone, now())
    key = counter_key(limit.id, int(start.timestamp()))
    with connection.pipeline(
        transaction=True
    ) as together:  # the counter, the stream and the leases of one instant
        together.hmget(key, ["spent", "reserved"])
        together.xrange(STREAM, count=PENDING_MAX)
        together.zrange("sy:leases", 0, -1)
        (spent, reserved), entries, leases = together.execute()
    if spent is None:
        return []  # nobody asked in this period yet: it is seeded from the ledger when somebody does
    told = spent_nusd(limit, start, end, usage_events(entries))
    findings, named = [], {"scope": limit.scope, "period": limit.period}
    if int(spent) != told:
        words = _("The counter of %(scope)s (%(period)s) says $%(spent)s, the ledger $%(booked)s.")
        findings.append(words % {**named, "spent": format_usd(int(spent)), "booked": format_usd(told)})
    held = _held(connection, leases)[key]
    if int(reserved or 0) != held:
        words = _("%(scope)s (%(period)s) has $%(reserved)s reserved, open reservations hold $%(held)s.")
        findings.append(
            words % {**named, "reserved": format_usd(int(reserved or 0)), "held": format_usd(held)}
        )
    return findings


def _held(connection: redis.Redis, leases: list[bytes]) -> dict[str, int]:
    """Counter key → nano-dollars that open reservations hold in it."""
    held: dict[str, int] = defaultdict(int)
    with connection.pipeline(transaction=False) as pipe:
        for request in leases:
            pipe.hmget(b"sy:r:" + request, ["w", "b"])
        rows: list[Any] = pipe.execute() if leases else []
    for worst, counters in rows:
        for name in (counters or b"").decode().split():
            held[name] += int(worst or 0)
    return held
