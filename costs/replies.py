"""What the admission script answers, as grants and errors."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from costs.contracts import AdmissionAsk, BudgetLimit, Grant
from costs.outage import rate_limited
from costs.wire import Wired
from switchyard.core.errors import BudgetExhausted, RateLimited
from switchyard.core.money import format_usd


def budget_exhausted(
    budget: BudgetLimit, worst_case_nusd: int, spent: int, reserved: int, end_s: int
) -> BudgetExhausted:
    resets_at = datetime.fromtimestamp(end_s, UTC).isoformat().replace("+00:00", "Z") if end_s else None
    held = f", ${format_usd(reserved)} is held by requests in flight" if reserved else ""
    when = f"It resets at {resets_at}." if resets_at else "It does not reset: raise the limit."
    return BudgetExhausted(
        f"The {budget.period} budget on {budget.scope} has no room for this request: ${format_usd(spent)} of "
        f"${format_usd(budget.limit_nusd)} is spent{held}, and this request may cost up to "
        f"${format_usd(worst_case_nusd)}. {when}",
        budget=budget.id,
        scope=budget.scope,
        period=budget.period,
        spent_usd=format_usd(spent),
        limit_usd=format_usd(budget.limit_nusd),
        resets_at=resets_at,
    )


def rate_refused(ask: AdmissionAsk, wired: Wired, reply: list[Any]) -> RateLimited:
    """`reply` is [rate, index, rpm|tpm|concurrency, limit, wait in ms]; an index past the limits is a throttled budget."""
    _, index, name, limit, wait_ms = reply
    if index < len(wired.limits):
        scope = wired.limits[index].scope
    else:
        scope = next((b.scope for b in ask.budgets if b.action == "throttle"), "budget")
    return rate_limited(name, int(limit), scope, max(1.0, wait_ms / 1000))


def granted(ask: AdmissionAsk, wired: Wired, reply: list[Any]) -> Grant:
    """`reply` is [ok, deployment, probe, open breakers, [[spent, reserved]], [[requests, tokens]], minute]."""
    worst = ask.worst_case_nusd
    used = {
        budget.scope: _ppm(int(spent) + int(reserved) + worst, budget.limit_nusd)
        for budget, (spent, reserved) in zip(ask.budgets, reply[4] or (), strict=True)
    }
    return Grant(
        request_id=ask.request_id,
        reserved_nusd=worst if ask.budgets else 0,
        deployment=reply[1] or None,
        open_breakers=frozenset(reply[3] or ()),
        budget_used_ppm=used,
        rate_headers=_headers(wired, reply[5]) if wired.limits else {},
    )


def _ppm(used: int, limit: int) -> int:
    return used * 1_000_000 // limit if limit else 1_000_000


def _headers(wired: Wired, counts: list[list[float]]) -> dict[str, str]:
    """x-ratelimit-*: the limit with the least left, for requests and for tokens."""
    headers: dict[str, str] = {}
    for name, which, index in (("requests", "rpm", 0), ("tokens", "tpm", 1)):
        lefts = [
            (limit - math.ceil(count[index]), limit)
            for row, count in zip(wired.limits, counts, strict=False)
            if (limit := getattr(row, which))
        ]
        if lefts:
            left, limit = min(lefts)
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, left))
            headers[f"x-ratelimit-reset-{name}"] = f"{60 * (limit - max(0, left)) / limit:.1f}s"
    return headers
