"""Bounds for what comes before a body: uvicorn's parser takes heads of any length, for as long as somebody sends them, before
anybody has looked at a key.

`bound()` gives them to uvicorn's own protocol, however the server was started: its command line knows no other protocols.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from switchyard.core.conf import conf

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n"
WHOLE = -1  # in place of a count: the head is whole, what comes is a body
_made, _lost = HttpToolsProtocol.connection_made, HttpToolsProtocol.connection_lost
_received, _refused = HttpToolsProtocol.data_received, HttpToolsProtocol.send_400_response
_headers_complete, _message_complete = (
    HttpToolsProtocol.on_headers_complete,
    HttpToolsProtocol.on_message_complete,
)


class HeadTooLarge(ValueError):
    """Ends the parser's work; the caller hears 431."""


class _Bounded(HttpToolsProtocol):
    """What is put in place of the protocol's own methods. `fed`: bytes that came while a head wasn't whole."""

    fed, late, most = WHOLE, None, 64 * 1024  # of one that was made before

    def connection_made(self, transport: Any) -> None:
        _made(self, transport)
        self.fed, self.most = 0, conf("HEAD_MAX_BYTES")
        self.late = self.loop.call_later(conf("HEAD_MAX_S"), _too_late, self)

    def connection_lost(self, exc: Exception | None) -> None:
        _at_rest(self)
        _lost(self, exc)

    def data_received(self, data: bytes) -> None:
        if self.fed != WHOLE:
            self.fed += len(data)
        _received(self, data)
        if self.fed > 0:  # and still not whole
            if self.fed > self.most:
                _end(self, _TOO_LARGE)
            elif self.late is None:
                self.late = self.loop.call_later(conf("HEAD_MAX_S"), _too_late, self)

    def on_headers_complete(self) -> None:
        if self.fed > self.most and _size(self) > self.most:
            raise HeadTooLarge
        self.fed = WHOLE
        if self.late is not None:
            _at_rest(self)
        _headers_complete(self)

    def on_message_complete(self) -> None:
        self.fed = 0
        _message_complete(self)

    def send_400_response(self, msg: str) -> None:
        if self.fed > self.most:
            _end(self, _TOO_LARGE)
        else:
            _refused(self, msg)


def bound() -> None:
    """Once is enough, and twice is no harm."""
    for name, value in vars(_Bounded).items():
        if not name.startswith("__"):
            setattr(HttpToolsProtocol, name, value)


def _size(protocol: Any) -> int:
    return len(protocol.url) + sum(len(name) + len(value) + 4 for name, value in protocol.headers)


def _at_rest(protocol: Any) -> None:
    late, protocol.late = getattr(protocol, "late", None), None
    if late is not None:
        late.cancel()


def _too_late(protocol: Any) -> None:
    """No whole head in time. Whoever is being answered meanwhile is left to it."""
    protocol.late = None
    cycle = protocol.cycle
    if cycle is not None and not cycle.response_complete:
        protocol.late = protocol.loop.call_later(conf("HEAD_MAX_S"), _too_late, protocol)
    elif protocol.fed != WHOLE:
        _end(protocol, _TOO_SLOW)


def _end(protocol: Any, status: bytes) -> None:
    _at_rest(protocol)
    if not protocol.transport.is_closing():
        protocol.transport.write(status + b"content-length: 0\r\nconnection: close\r\n\r\n")
        protocol.transport.close()
