"""One connection to an upstream: a request goes out in one write, its answer is read by httptools as it comes."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import httptools

from routing.execution.lean.exchange import (
    AnswerTooLarge,
    BadAnswer,
    ConnectionClosed,
    Exchange,
    LeanError,
    TooSlow,
)
from routing.execution.refusals import REFUSAL_MAX_BYTES

HEADERS_MAX_BYTES = 64 * 1024
HINTS_MAX = 32  # answers of 1xx before the real one
STREAM_HIGH_BYTES = 256 * 1024  # unread bytes of a stream after which the socket rests
ENCODINGS = {
    "gzip": 31,
    "x-gzip": 31,
    "deflate": 15,
}  # window bits of zlib; nobody asked for them, some send them


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. After one that ended well it goes back to its pool."""

    __slots__ = ("exchange", "last", "lost", "parser", "pool", "reusable", "transport")

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.transport: Any = None
        self.parser: Any = None
        self.exchange: Exchange | None = None
        self.lost = False
        self.reusable = True
        self.last = 0.0

    def begin(self, request: bytes, exchange: Exchange) -> None:
        """Send it, in one write."""
        self.exchange, exchange.owner = exchange, self
        self.parser = httptools.HttpResponseParser(self)
        self.reusable = True
        self.last = self.pool.now()
        self.transport.write(request)

    def close(self) -> None:
        """End it now; whatever the server still sends goes nowhere."""
        self.reusable = False
        if self.transport is not None:
            self.transport.abort()

    def fail(self, error: LeanError) -> None:
        """The exchange is over, badly."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None and not exchange.done:
            exchange.error, exchange.done = error, True
            exchange.wake(error)
        self.close()

    def check(self, now: float) -> None:
        """The pool's clock asks: is a limit over? While the reader of a stream is busy, the server isn't slow."""
        exchange = self.exchange
        if exchange is None or exchange.waiter is None:
            return
        if exchange.due and now > exchange.due:
            self.fail(TooSlow("The time for an answer is over."))
        elif exchange.head_done and now > self.last + exchange.idle_s:
            self.fail(TooSlow("Nothing came for too long."))

    # ------------------------------------------------------------------ asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None or exchange.done:  # nobody asked: the next answer must not begin with it
            self.close()
            return
        self.last = self.pool.now()
        if not exchange.head_done:
            exchange.head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(BadAnswer("The server changed the protocol."))
        except (httptools.HttpParserError, zlib.error) as error:
            self.reusable = False  # of an answer that is whole it is only what follows that makes no sense
            if not exchange.done:
                self.fail(BadAnswer(str(error)))
        if exchange.done:
            self._settle()
        elif not exchange.head_done and exchange.head_bytes > HEADERS_MAX_BYTES:
            self.fail(BadAnswer("The head of the answer is too long."))

    def eof_received(self) -> bool:
        self._ended()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._ended()
        self.pool.forget(self)
        # The parser holds this connection: only the collector would free the two.
        self.parser = self.exchange = None

    def _ended(self) -> None:
        self.reusable = False
        exchange = self.exchange
        if exchange is None or exchange.done:
            return
        if exchange.head_done and not exchange.length_known and not exchange.chunked:
            self._whole(exchange)  # HTTP/1.0's way: the end of the connection is the end of the answer
        else:
            self.fail(ConnectionClosed("The connection ended before the answer did."))

    # ------------------------------------------------------------------ httptools
    def on_message_begin(self) -> None:
        if self.exchange is None or self.exchange.done:  # a second answer that nobody asked for
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and not exchange.done:
            exchange.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or exchange.done:
            return
        exchange.status = self.parser.get_status_code()
        if exchange.status < 200:
            return
        headers = exchange.headers
        exchange.head_done = True
        exchange.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        exchange.length_known = "content-length" in headers or exchange.status in (204, 304)
        if "content-encoding" in headers and not self._decoding(
            exchange, headers["content-encoding"].lower()
        ):
            return
        if exchange.streaming and exchange.status == 200:
            exchange.due = 0.0
            exchange.wake()
        else:
            exchange.streaming = False
            exchange.due = exchange.whole_due

    def _decoding(self, exchange: Exchange, encoding: str) -> bool:
        if encoding in ENCODINGS:
            exchange.decoder = zlib.decompressobj(ENCODINGS[encoding])
        elif encoding != "identity":
            self.fail(BadAnswer(f"An encoding that nobody asked for: {encoding[:40]}."))
            return False
        return True

    def on_body(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None or exchange.done:
            return
        if exchange.decoder is not None:
            data = exchange.decoder.decompress(data, exchange.limit + 1)
            if exchange.decoder.unconsumed_tail:
                self.fail(AnswerTooLarge(f"More than {exchange.limit} bytes."))
                return
        exchange.size += len(data)
        if exchange.streaming:
            exchange.chunks.append(data)
            exchange.unread += len(data)
            exchange.wake()
            if exchange.unread > STREAM_HIGH_BYTES and not exchange.paused:
                exchange.paused = True
                self.transport.pause_reading()
            return
        exchange.body.append(data)
        if exchange.size > (exchange.limit if exchange.status == 200 else REFUSAL_MAX_BYTES):
            self.reusable = False
            if exchange.status == 200:
                self.fail(AnswerTooLarge(f"More than {exchange.limit} bytes."))
            else:  # enough of a refusal to say what it was
                self._whole(exchange)

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or exchange.done:
            return
        if exchange.decoder is not None and not exchange.decoder.eof and exchange.size:
            self.fail(BadAnswer("What was compressed isn't whole."))
        elif exchange.status >= 200:
            self.reusable = self.reusable and self.parser.should_keep_alive()
            self._whole(exchange)
        elif exchange.hints >= HINTS_MAX:
            self.fail(BadAnswer("Nothing but hints."))
        else:
            exchange.hints += 1  # the answer comes after it
            exchange.restart()

    def _whole(self, exchange: Exchange) -> None:
        exchange.done = True
        exchange.wake()

    def _settle(self) -> None:
        """After the last byte: back to the pool, or closed where it can't be used again."""
        exchange, self.exchange = self.exchange, None
        if self.lost:
            return
        if exchange is not None and exchange.paused:
            self.transport.resume_reading()
        # An answer before the end of the request: what is left to send would be read as the next one.
        if self.reusable and not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.pool.give_back(self)
        else:
            self.close()
