"""One request's answer as it comes, and what can go wrong with it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routing.execution.lean.connection import Connection


class LeanError(Exception):
    """What went wrong on a connection; its class's name is told to the operator."""


class ConnectionClosed(LeanError):
    """It ended before the answer did."""


class BadAnswer(LeanError):
    """Bytes that are no HTTP answer, or one that breaks its bounds."""


class AnswerTooLarge(LeanError):
    """More than the caller wants to hold."""


class TooSlow(LeanError):
    """A time limit passed."""


class Exchange:
    """One request and what came back. It outlives its connection's attention: the next caller may have the connection
    while this answer is still being read.

    `waiter` is woken when the head of a stream is there or the whole of an answer, or with what went wrong. Time limits:
    `due` for the head, `whole_due` for the end of a whole answer (both on the pool's clock, which asks), `idle_s` between
    two reads.
    """

    __slots__ = (
        "body", "chunked", "chunks", "decoder", "done", "due", "error", "head_bytes", "head_done", "headers", "hints", "idle_s",
        "length_known", "limit", "owner", "paused", "size", "status", "streaming", "unread", "waiter", "whole_due",
    )  # fmt: skip

    def __init__(
        self, waiter: asyncio.Future[None], *, due: float, whole_due: float, idle_s: float, limit: int, streaming: bool
    ) -> None:  # fmt: skip
        self.waiter: asyncio.Future[None] | None = waiter
        self.due, self.whole_due, self.idle_s, self.limit, self.streaming = (
            due,
            whole_due,
            idle_s,
            limit,
            streaming,
        )
        self.done = self.paused = False
        self.error: LeanError | None = None
        self.body: list[bytes] = []
        self.chunks: deque[bytes] = deque()
        self.unread = self.hints = self.size = 0
        self.owner: Connection | None = None
        self.restart()

    def restart(self) -> None:
        """A head begins: the first, or the one after a hint."""
        self.status = self.head_bytes = 0
        self.head_done = self.chunked = self.length_known = False
        self.headers: dict[str, str] = {}
        self.decoder: Any = None

    def wake(self, error: LeanError | None = None) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is None or waiter.done():
            return
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(None)

    def joined(self) -> bytes:
        """The body of a whole answer."""
        return self.body[0] if len(self.body) == 1 else b"".join(self.body)

    def leave(self) -> None:
        """Whoever asked goes away: the connection ends, which tells the server to stop."""
        if not self.done:
            self.done = True
            if self.owner is not None:
                self.owner.close()

    async def iterate(self) -> AsyncIterator[bytes]:
        """What came since the last look, until the end. Raises LeanError where the answer breaks off."""
        while True:
            if self.chunks:
                found = self.chunks.popleft() if len(self.chunks) == 1 else b"".join(self.chunks)
                self.chunks.clear()
                self.unread = 0
                if self.paused and not self.done and self.owner is not None:
                    self.paused = False
                    self.owner.transport.resume_reading()
                yield found
            elif self.error is not None:
                raise self.error
            elif self.done or self.owner is None:
                return
            else:
                self.owner.last = self.owner.pool.now()
                self.waiter = self.owner.pool.loop.create_future()
                await self.waiter
