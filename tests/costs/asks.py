"""Budgets, limits and asks for the tests of admission."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from costs.admission import RedisAdmission
from costs.contracts import AdmissionAsk, BudgetLimit, RateLimit, Settlement

USD = 1_000_000_000
_numbers = itertools.count(1)


def make_budget(limit_usd: float = 1.0, **changes: Any) -> BudgetLimit:
    values: dict[str, Any] = {
        "id": 1,
        "scope": "lob:legal",
        "limit_nusd": int(limit_usd * USD),
        "period": "total",
        "timezone": "UTC",
        "action": "stop",
        "lob": "legal",
        "organisation_id": 1,
    }
    return BudgetLimit(**values | changes)


def make_ask(worst_usd: float = 0.01, **changes: Any) -> AdmissionAsk:
    values: dict[str, Any] = {
        "request_id": f"req_{next(_numbers)}",
        "worst_case_nusd": int(worst_usd * USD),
        "tokens": 100,
    }
    return AdmissionAsk(**values | changes)


def make_limit(scope: str = "key:k1", **limits: int) -> RateLimit:
    return RateLimit(scope, **limits)


def make_settlement(ask: AdmissionAsk, cost_usd: float = 0.001, **changes: Any) -> Settlement:
    event = {"kind": "usage", "event_id": ask.request_id, "decision_id": f"dec_{ask.request_id}"}
    values: dict[str, Any] = {
        "request_id": ask.request_id,
        "cost_nusd": int(cost_usd * USD),
        "tokens": 40,
        "event": event,
    }
    return Settlement(**values | changes)


@asynccontextmanager
async def admission_on(url: str, **options: Any) -> AsyncIterator[RedisAdmission]:
    admission = RedisAdmission(url, **options)
    await admission.start()
    try:
        yield admission
    finally:
        await admission.close()
