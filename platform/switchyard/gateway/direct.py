"""Uvicorn's own request, where it stands behind `receive` and `send`: a body that is here already is taken, and a whole answer
leaves in one write whose head isn't looked at header by header. Elsewhere, and in every doubt, ASGI's messages do it.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_CLOSE = b"connection: close\r\n"
_TOGETHER_BYTES = 256 * 1024  # a larger answer is written beside its head, not copied behind it
_told: tuple[Any, bytes] = (
    None,
    b"",
)  # the server's own headers (a new list each second), and as they are sent


def body_at_hand(receive: Any) -> bytes | None:
    """The whole body if the server has it already, taken as by the first `receive()`; None: it must be asked for."""
    cycle = getattr(receive, "__self__", None)
    if (
        type(cycle) is not RequestResponseCycle
        or cycle.more_body
        or cycle.disconnected
        or cycle.response_complete
        or cycle.waiting_for_100_continue
    ):
        return None
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


def untouched(send: Any) -> RequestResponseCycle | None:
    """The server's request behind `send`, where nothing was answered yet and nothing else is to be heeded."""
    cycle = getattr(send, "__self__", None)
    if (
        type(cycle) is not RequestResponseCycle
        or cycle.response_started
        or cycle.disconnected
        or cycle.access_log
        or cycle.flow.write_paused
        or cycle.scope["method"] == "HEAD"
    ):
        return None
    return cycle


def write_ok(cycle: RequestResponseCycle, lines: bytes, payload: bytes) -> None:
    """200 with these header lines, and the body; the request is over then, as after uvicorn's own two messages.

    `lines`: each with its line end, small names, checked values; the length is added here.
    """
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    head = b"HTTP/1.1 200 OK\r\n%b%b%bcontent-length: %d\r\n\r\n" % (
        _servers_own(cycle.default_headers), lines, b"" if cycle.keep_alive else _CLOSE, len(payload),
    )  # fmt: skip
    if len(payload) <= _TOGETHER_BYTES:
        cycle.transport.write(head + payload)
    else:
        cycle.transport.write(head)
        cycle.transport.write(payload)
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _servers_own(headers: list[tuple[bytes, bytes]]) -> bytes:
    global _told
    known, lines = _told
    if known is not headers:
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        _told = (headers, lines)
    return lines
