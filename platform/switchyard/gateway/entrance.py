"""Who may begin: at most so many requests in a turn of the event loop, lines of business in turn.

A request costs a fraction of a millisecond before it first waits for somebody. When a hundred come at once, all of that would
be done in the order of their sockets before the first answer is looked at. Here the ones over `WIDTH` wait for the next turns:
answers that came meanwhile go out first, and of those who wait each line of business sends one in turn, so that a flood of one
stands behind its own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from switchyard.core.errors import RateLimited

WIDTH = 4  # requests that begin in one turn of the loop
MOST_WAITING = 1_000  # of one line of business: about a second's work of a process


class Entrance:
    """One per process and event loop. `enter` gives what to wait for, or None."""

    def __init__(self, width: int = WIDTH, most_waiting: int = MOST_WAITING) -> None:
        self._width, self._most_waiting = width, most_waiting
        self._left = width
        self._counting = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def enter(self, lob: str) -> asyncio.Future[None] | None:
        """Raises RateLimited when too many of this line of business wait already."""
        loop = asyncio.get_running_loop()
        if not self._counting:
            self._counting = True
            loop.call_soon(self._turn)
        if self._left and not self._waiting:
            self._left -= 1
            return None
        line = self._waiting.setdefault(lob, deque())
        if len(line) >= self._most_waiting:
            raise RateLimited(
                f"{len(line)} requests of this line of business wait here already. Try again in a moment.",
                retry_after_s=1, limit=self._most_waiting, scope=f"lob:{lob}",
            )  # fmt: skip
        turn: asyncio.Future[None] = loop.create_future()
        line.append(turn)
        return turn

    def _turn(self) -> None:
        """The loop came round: places are free again, first for those who wait."""
        began, self._left = self._left < self._width or bool(self._waiting), self._width
        while self._left and self._waiting:
            lob, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            if line:
                self._waiting[lob] = line  # the last in turn now
            if not turn.done():  # a caller who went away needs no place
                self._left -= 1
                turn.set_result(None)
        if began:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._counting = False


def declared(headers: dict[bytes, bytes]) -> int:
    """The bytes of the body by its header; 0 when they aren't told."""
    told = headers.get(b"content-length", b"")
    return int(told) if told.isdigit() and len(told) < 16 else 0
