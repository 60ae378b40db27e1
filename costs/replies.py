"""What the admission script answers, as grants and errors."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from costs.contracts import AdmissionAsk, BudgetLimit, Grant
from costs.outage import rate_limited
from costs.periods import counter_key
from costs.wire import Wired
from switchyard.core.errors import BudgetExhausted, RateLimited
from switchyard.core.money import format_usd


def budget_exhausted(ask: AdmissionAsk, wired: Wired, reply: list[Any]) -> BudgetExhausted:
    """`reply` is [budget, index, spent, reserved]."""
    budget, _, end_s = wired.counters[reply[1]]
    return exhausted(
        budget,
        limit_nusd=wired.effective[reply[1]],
        worst_case_nusd=ask.worst_case_nusd,
        spent=int(reply[2]),
        reserved=int(reply[3]),
        end_s=end_s,
    )


def exhausted(
    budget: BudgetLimit,
    *,
    limit_nusd: int,
    worst_case_nusd: int,
    spent: int,
    reserved: int,
    end_s: int,
    what: str = "this request",
) -> BudgetExhausted:
    """`limit_nusd` is that of the present period, with what was added to it."""
    resets_at = datetime.fromtimestamp(end_s, UTC).isoformat().replace("+00:00", "Z") if end_s else None
    held = f", ${format_usd(reserved)} is held by requests in flight" if reserved else ""
    when = f"It resets at {resets_at}." if resets_at else "It does not reset: raise the limit."
    return BudgetExhausted(
        f"The {budget.period} budget on {budget.scope} has no room for {what}: ${format_usd(spent)} of "
        f"${format_usd(limit_nusd)} is spent{held}, and {what} may cost up to "
        f"${format_usd(worst_case_nusd)}. {when}",
        budget=budget.id,
        scope=budget.scope,
        period=budget.period,
        spent_usd=format_usd(spent),
        limit_usd=format_usd(limit_nusd),
        resets_at=resets_at,
    )


def rate_refused(wired: Wired, reply: list[Any]) -> RateLimited:
    """`reply` is [rate, index, rpm|tpm|concurrency, limit, wait in ms, scope]; an index past the limits is a budget that
    throttles, named by its counter."""
    _, index, name, limit, wait_ms, named = reply
    if index < len(wired.limits):
        scope = wired.limits[index].scope
    else:
        scope = next(b.scope for b, start_s, _ in wired.counters if counter_key(b.id, start_s) == named)
    return rate_limited(name, int(limit), scope, max(1.0, wait_ms / 1000))


def granted(ask: AdmissionAsk, wired: Wired, reply: list[Any]) -> Grant:
    """`reply` is [ok, deployment, probe, open breakers, [[spent, reserved]], [[requests, tokens]], minute]."""
    worst = ask.worst_case_nusd
    used: dict[str, int] = {}
    for budget, most, (spent, reserved) in zip(ask.budgets, wired.effective, reply[4] or (), strict=True):
        share = (int(spent) + int(reserved) + worst) * 1_000_000 // most if most else 1_000_000
        used[budget.scope] = max(
            share, used.get(budget.scope, share)
        )  # of a day's and a month's, the fuller one
    return Grant(
        request_id=ask.request_id,
        reserved_nusd=worst if ask.budgets else 0,
        deployment=reply[1] or None,
        open_breakers=frozenset(reply[3] or ()),
        budget_used_ppm=used,
        rates=_rates(wired, reply[5]) if wired.limits else (),
    )


def _rates(wired: Wired, counts: list[list[float]]) -> tuple[tuple[str, int, int], ...]:
    """The limit with the least left, for requests and for tokens."""
    found = []
    for name, which, limits in wired.told:
        least, of = None, 0
        for place, limit in limits:
            left = limit - math.ceil(counts[place][which])
            if least is None or left < least or (left == least and limit < of):
                least, of = left, limit
        if least is not None:
            found.append((name, of, max(0, least)))
    return tuple(found)
