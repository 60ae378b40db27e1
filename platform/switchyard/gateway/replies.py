"""Sending: ASGI messages, our headers, errors in OpenAI's shape."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from routing.contracts import DeploymentInfo
from routing.kept import Kept
from routing.run import Run
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd
from switchyard.gateway.direct import untouched, write_ok

Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
MOST_NAMES = 256
MOST_LINES = 64  # policy versions by what a cache said, of one deployment
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


_SAME: Kept[DeploymentInfo, dict[tuple[str, str], str]] = Kept(lambda target: {})
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def answer_lines(run: Run, answered: DeploymentInfo) -> bytes:
    """`run_headers` of a whole answer and its type, as lines: what is the same for a deployment is written once."""
    request, known = run.request, _SAME.of(answered)
    same = known.get((run.policy_version, run.cache))
    if same is None:
        if len(known) >= MOST_LINES:
            known.clear()
        told = {
            "content-type": "application/json", "x-switchyard-policy-version": run.policy_version,
            "x-switchyard-cache": run.cache, "x-switchyard-route": answered.side, "x-switchyard-model": answered.name,
        }  # fmt: skip
        if any(_CONTROLS.search(value) for value in told.values()):
            raise ValueError(f"A header of {answered.name!r} would hold a control character.")
        same = "".join([f"{name}: {value}\r\n" for name, value in told.items()])
        known[run.policy_version, run.cache] = same
    rates = run.grant.rate_lines if run.grant is not None else ""
    return (
        f"{same}x-request-id: {request.request_id}\r\nx-switchyard-decision-id: {request.decision_id}\r\n"
        f"x-switchyard-overhead-ms: {run.overhead_ms:.3f}\r\nx-switchyard-cost-usd: {format_usd(run.cost_nusd)}\r\n{rates}"
    ).encode("latin-1", "replace")


async def send_answer(send: Send, run: Run, body: Any) -> None:
    """A whole answer with what it says about itself."""
    cycle, answered = untouched(send), run.answered_by
    if cycle is None or answered is None:
        await send_json(send, 200, body, run_headers(run, with_cost=True))
    else:
        write_ok(cycle, answer_lines(run, answered), orjson.dumps(body))


async def send_json(send: Send, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
    payload = orjson.dumps(body)
    listed = encode_headers(headers) if headers else []
    listed += (JSON, (b"content-length", b"%d" % len(payload)))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": payload})


async def send_error(send: Send, error: SwitchyardError, headers: Mapping[str, str] | None = None) -> None:
    await send_json(send, error.status, error.body(), {**(headers or {}), **error.headers()})
