"""Carries what one process wants of admission.lua: everything of a loop turn, and all that came meanwhile, in one call."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from costs.link import LinkDown, ScriptUnknown, ValkeyLink
from costs.spool import Spool

log = logging.getLogger(__name__)
GATHER_TURNS = 3  # of the event loop, for which a call waits for others while several requests are under way
SCRIPT = Path(__file__).with_name("admission.lua").read_bytes()
SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()


@dataclass(slots=True, eq=False)
class Turn:
    """What goes out together. `events` are the bodies that the JSON names by index."""

    counters: list[list[Any]] = field(default_factory=list)
    settlements: list[dict[str, Any]] = field(default_factory=list)
    published: list[int] = field(default_factory=list)
    asks: list[dict[str, Any]] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    event_ids: list[str] = field(default_factory=list)
    # who asked, and what is done with an answer that comes after he went away
    replies: list[tuple[asyncio.Future[Any], Callable[[list[Any]], None]]] = field(default_factory=list)
    done: list[asyncio.Future[None]] = field(default_factory=list)
    sweep: bool = False

    def add_event(self, body: bytes) -> int:
        self.events.append(body)
        return len(self.events)


class Courier:
    """One call out at a time. `turn` is what leaves next: add to it, then wait with `asked` or `sent`."""

    def __init__(self, url: str, *, spool: Spool | None, lease_s: float, decision_ttl_s: int, retry_s: float):
        self.link = ValkeyLink(url)
        self.spool = spool
        self.turn = Turn()
        self._lease_ms, self._decision_ttl_s, self._retry_s = int(lease_s * 1000), decision_ttl_s, retry_s
        self._flusher: asyncio.Task[None] | None = None
        self._down_until = 0.0
        self.companions: Callable[[], int] = lambda: 0  # requests of this process that are being answered
        self.lost: list[str] = []  # ids of events whose call failed; the spool has them

    @property
    def down(self) -> bool:
        """Valkey was out of reach a moment ago: nobody waits for it again before `retry_s` has passed."""
        return time.monotonic() < self._down_until

    def asked(self, item: dict[str, Any], late: Callable[[list[Any]], None]) -> asyncio.Future[list[Any]]:
        """The reply to one reservation; LinkDown when it can't be asked. Cancelled, its answer goes to `late`."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.turn.asks.append(item)
        self.turn.replies.append((reply, late))
        self._kick()
        return reply

    async def sent(self) -> None:
        """Returns when the present turn was taken or could not be: the spool knows which."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.turn.done.append(done)
        self._kick()
        await done

    async def drain(self) -> None:
        if self._flusher is not None:
            await asyncio.gather(self._flusher, return_exceptions=True)

    def _kick(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        """One call out at a time; whoever comes meanwhile travels with the next, and so does who is only a few turns of
        the loop away: a call costs 80 µs, one more passenger five."""
        while True:
            for _ in range(min(GATHER_TURNS, self.companions() - 1)):
                await asyncio.sleep(0)
            turn = self.turn
            if not (turn.replies or turn.done or turn.counters):
                return
            self.turn = Turn()
            unwritten = self._write_spool()
            try:
                if self.down:
                    raise LinkDown("Valkey is out of reach.")
                reply = await self._send(turn)
            except Exception as error:
                self._failed(turn, error, unwritten)
            else:
                if self.spool is not None:
                    self.spool.acknowledge(turn.event_ids)
                _resolve(turn, reply)

    def _failed(self, turn: Turn, error: Exception, unwritten: OSError | None) -> None:
        if not isinstance(error, LinkDown):
            log.exception(
                "The admission call failed"
            )  # the server refused it: full, read-only, still loading
        if not self.down:
            self._down_until = time.monotonic() + self._retry_s
        self.lost += turn.event_ids
        kept = self.spool is not None or not turn.event_ids
        _fail(turn, LinkDown(str(error)), unwritten if kept else error)

    def _write_spool(self) -> OSError | None:
        """A full disk is no reason to stop while the stream takes events; it is one when that is away too."""
        try:
            if self.spool is not None:
                self.spool.flush()
        except OSError as error:
            log.exception("The spool can't be written")
            return error
        return None

    async def _send(self, turn: Turn) -> dict[str, Any]:
        body = orjson.dumps(
            {
                "lease": self._lease_ms,
                "ttl": self._decision_ttl_s,
                "i": turn.counters,
                "s": turn.settlements,
                "x": turn.published,
                "w": 1 if turn.sweep else 0,
                "r": turn.asks,
            }
        )
        try:
            reply = await self.link.call("EVALSHA", SHA, "0", body, *turn.events)
        except ScriptUnknown:
            reply = await self.link.call("EVAL", SCRIPT, "0", body, *turn.events)
        return orjson.loads(reply)


def _resolve(turn: Turn, reply: dict[str, Any]) -> None:
    for (future, late), answer in zip(turn.replies, reply["r"] or (), strict=True):
        if not future.done():
            future.set_result(answer)
        elif future.cancelled():
            late(answer)
    for future in turn.done:
        if not future.done():
            future.set_result(None)


def _fail(turn: Turn, error: Exception, for_settlers: Exception | None) -> None:
    """Who asked learns of it. Who settled needn't while the event waits in the spool."""
    for future, _ in turn.replies:
        if not future.done():
            future.set_exception(error)
    for done in turn.done:
        if done.done():
            continue
        if for_settlers is not None:
            done.set_exception(for_settlers)
        else:
            done.set_result(None)
