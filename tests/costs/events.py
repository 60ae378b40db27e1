"""Usage events as the gateway writes them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

NOON = datetime(2026, 11, 3, 12, 15, tzinfo=UTC)
_numbers = itertools.count(1)


def make_attempt(**changes: Any) -> dict[str, Any]:
    return {
        "attempt": 0, "deployment": "ext-mini", "side": "external", "model": "txt-edge", "node": "", "status": "ok",
        "error": "", "duration_ms": 12.5, "tokens_in": 20, "tokens_out": 1, "cached_tokens_in": 0,
        "reasoning_tokens": 0, "accelerator_ns": 3_000_000, "usage_source": "reported", "price_version": "price:1",
        "cost_nusd": 1_400, "http_status": 200,
    } | changes  # fmt: skip


def private_attempt(**changes: Any) -> dict[str, Any]:
    own = {
        "deployment": "private-sparse", "side": "private", "model": "txt-base", "node": "node-cpu-1",
        "price_version": "node:1@ab", "cost_nusd": 900,
    }  # fmt: skip
    return make_attempt(**own | changes)


def make_event(
    *attempts: dict[str, Any], at: datetime = NOON, organisation_id: int = 1, **changes: Any
) -> dict[str, Any]:
    told = [dict(a) for a in attempts or (make_attempt(),)]
    request_id = changes.pop("request_id", f"req_{next(_numbers):026d}")
    at_ns = int(at.timestamp()) * 1_000_000_000
    for index, attempt in enumerate(told):
        attempt.setdefault("at_ns", at_ns)
        attempt["attempt"] = index
    last = told[-1] if told else {}
    return {
        "kind": "usage", "event_id": request_id, "request_id": request_id, "decision_id": f"dec_{request_id}",
        "at_ns": at_ns, "origin": "live", "organisation_id": organisation_id, "lob": "customer-service",
        "application": "desk", "key_id": "key_1", "workload": "support-intent", "side": last.get("side", ""),
        "deployment": last.get("deployment", ""), "model": last.get("model", ""), "status": 200, "answers": 1,
        "cost_nusd": sum(a["cost_nusd"] for a in told), "other_side_cost_nusd": None, "attempts": told,
    } | changes  # fmt: skip
