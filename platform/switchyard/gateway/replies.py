"""Sending: ASGI messages, our headers, errors in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from routing.run import Run
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd

Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
MOST_NAMES = 256
_NAMES: dict[str, bytes] = {}


def encode_headers(headers: Mapping[str, str]) -> Headers:
    known = _NAMES
    return [
        (known.get(name) or _named(name), value.encode("latin-1", "replace"))
        for name, value in headers.items()
    ]


def _named(name: str) -> bytes:
    """A header's name as it is sent; there are few, so each is written once."""
    if len(_NAMES) >= MOST_NAMES:
        _NAMES.clear()
    return _NAMES.setdefault(name, name.lower().encode("latin-1"))


def run_headers(run: Run, *, with_cost: bool) -> dict[str, str]:
    """What every answer says about itself. A stream's cost is known at its end: it is in the usage chunk."""
    request, answered = run.request, run.answered_by
    headers = {
        "x-switchyard-policy-version": run.policy_version,  # first: switchyard.gateway.versions looks for it
        "x-request-id": request.request_id, "x-switchyard-decision-id": request.decision_id,
        "x-switchyard-overhead-ms": f"{run.overhead_ms:.3f}",
        "x-switchyard-cache": run.cache,
    }  # fmt: skip
    if answered is not None:
        headers["x-switchyard-route"] = answered.side
        headers["x-switchyard-model"] = answered.name
    if with_cost:
        headers["x-switchyard-cost-usd"] = format_usd(run.cost_nusd)
    if run.grant is not None:
        headers.update(run.grant.rate_headers)
    return headers


async def send_json(send: Send, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
    payload = orjson.dumps(body)
    listed = encode_headers(headers) if headers else []
    listed += (JSON, (b"content-length", b"%d" % len(payload)))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": payload})


async def send_error(send: Send, error: SwitchyardError, headers: Mapping[str, str] | None = None) -> None:
    await send_json(send, error.status, error.body(), {**(headers or {}), **error.headers()})
