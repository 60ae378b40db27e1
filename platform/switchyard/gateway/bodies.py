"""Reading a request's body: bounded, decoded once, refused in words."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson

from switchyard.core.errors import BodyTooLarge, InvalidRequest

Receive = Callable[[], Awaitable[dict[str, Any]]]
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

    return take


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge by its header, or as soon as more than `limit` bytes came."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


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
