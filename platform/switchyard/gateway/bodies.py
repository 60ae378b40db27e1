"""Reading a request's body: bounded in bytes, depth and time, decoded once, refused in words."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson

from switchyard.core.conf import conf
from switchyard.core.errors import BodyTooLarge, BodyTooSlow, InvalidRequest
from switchyard.gateway.direct import body_at_hand

Receive = Callable[[], Awaitable[dict[str, Any]]]
DECODED = "switchyard.decoded"  # beside the body in a message of our own
_READING: dict[asyncio.Task[Any], float] = {}  # who waits for a body → since when
_OVERDUE: set[asyncio.Task[Any]] = set()
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # possessive: an open string is read once


class ClientGone(Exception):
    """The caller hung up before its request was whole."""


def instead(first: Receive, receive: Receive) -> Receive:
    """An ASGI `receive` that gives what `first` gives, once, then whatever comes."""
    given = False

    async def take() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return await first()

    take.__wrapped__ = receive  # type: ignore[attr-defined]
    return take


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge by its header, or as soon as more than `limit` bytes came; BodyTooSlow."""
    return (await _read(receive, headers, limit))[0]


async def read_json(receive: Receive, headers: dict[bytes, bytes]) -> tuple[bytes, dict[str, Any]]:
    """The body and the object in it, decoded once: whoever decoded it on the way handed that on (`handed_on`)."""
    raw, decoded = await _read(receive, headers, conf("BODY_MAX_BYTES"))
    return raw, decode(raw, conf("BODY_MAX_DEPTH")) if decoded is None else decoded


def handed_on(raw: bytes, body: dict[str, Any]) -> dict[str, Any]:
    """A body that was read and decoded, as an ASGI message."""
    return {"type": "http.request", "body": raw, "more_body": False, DECODED: body}


async def _read(
    receive: Receive, headers: dict[bytes, bytes], limit: int
) -> tuple[bytes, dict[str, Any] | None]:
    raw = body_at_hand(receive)  # as small bodies nearly always are: nobody waits, so nobody can be late
    if raw is not None:
        if len(raw) > limit:
            raise too_large(limit)
        return raw, None
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    task = asyncio.current_task()
    assert task is not None
    _READING[task] = time.monotonic()
    try:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            raw = message.get("body", b"")
            if len(raw) > limit:
                raise too_large(limit)
            return raw, message.get(DECODED)
        return await _rest(message, receive, limit), None
    except asyncio.CancelledError:
        if task not in _OVERDUE:
            raise
        task.uncancel()
        raise BodyTooSlow(f"The body wasn't whole after {conf('BODY_MAX_S'):g} s. Send it again.") from None
    finally:
        _READING.pop(task, None)
        _OVERDUE.discard(task)


async def _rest(message: dict[str, Any], receive: Receive, limit: int) -> bytes:
    """A body that comes in several pieces, from its first on."""
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def end_overdue() -> int:
    """Tell those of this loop whose body isn't whole in time; gives how many. A look at all of them now and then costs a
    request a tenth of what a timer of its own would."""
    loop, before = asyncio.get_running_loop(), time.monotonic() - conf("BODY_MAX_S")
    late = [task for task, since in list(_READING.items()) if since < before and task.get_loop() is loop]
    for task in late:
        _OVERDUE.add(task)
        task.cancel()
    return len(late)


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit // 1024 // 1024} MiB. Send less in one request.")


def decode(raw: bytes, max_depth: int) -> dict[str, Any]:
    """The JSON object. Raises InvalidRequest `invalid_json` or `body_too_deep`."""
    if raw.count(b"{") + raw.count(b"[") > max_depth and depth(raw) > max_depth:
        raise InvalidRequest(f"The body is nested deeper than {max_depth} levels.", code="body_too_deep")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON in UTF-8: {error}.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body


def depth(raw: bytes) -> int:
    """How deep brackets nest outside of strings."""
    brackets = np.frombuffer(
        _STRINGS.sub(b"", raw).translate(None, _NO_BRACKETS).translate(_ONE_KIND), np.uint8
    )
    if not brackets.size:
        return 0
    steps = np.where(brackets == ord("["), np.int8(1), np.int8(-1))
    return int(steps.cumsum(dtype=np.int32).max())
