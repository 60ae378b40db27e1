"""Carries what one process wants of admission.lua: everything of a loop turn, and all that came meanwhile, in one call."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from costs.link import LinkDown, ScriptUnknown, ValkeyLink
from costs.spool import Spool
from costs.wire import Wired

log = logging.getLogger(__name__)
PACK_EVENTS, PACK_BYTES = 8, 256 * 1024  # that make one entry of the stream
DECISION_TTL_S = 900  # how long a decision is found by its place in the stream
GATHER_TURNS = 3  # of the event loop, for which a call waits for others while several requests are under way
_SOURCE = b"".join(
    Path(__file__).with_name(f"{n}.lua").read_bytes() for n in ("admission_state", "admission")
)
# Another version has another name: processes of both may ask one server while one takes the other's place.
FUNCTION = "sy_admit_" + hashlib.sha256(_SOURCE).hexdigest()[:16]
LIBRARY = b"#!lua name=%b\n" % FUNCTION.encode() + _SOURCE.replace(b"FUNCTION_NAME", FUNCTION.encode())


@dataclass(slots=True, eq=False)
class Pack:
    """Events that make one entry of the stream, a line each, and the decisions among them."""

    bodies: list[bytes] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.bodies) >= PACK_EVENTS or self.size >= PACK_BYTES


class Turn:
    """What goes out together. `events` are the bodies that the JSON names by index.

    No dataclass: one is made for each call, and literals cost a quarter of what nine factories do.
    """

    __slots__ = (
        "asks", "counters", "done", "event_ids", "events", "packs", "paths", "replies", "settlements", "sweep",
    )  # fmt: skip

    def __init__(self, *, sweep: bool = False) -> None:
        self.paths: dict[Wired, int] = {}  # by identity → place in the JSON, from 1
        self.counters: list[list[Any]] = []
        self.settlements: list[list[Any]] = []
        self.packs: list[Pack] = []
        self.asks: list[list[Any]] = []
        self.events: list[bytes] = []
        self.event_ids: list[str] = []
        # who asked, and what is done with an answer that comes after he went away
        self.replies: list[tuple[asyncio.Future[Any], Callable[[list[Any]], None]]] = []
        self.done: list[asyncio.Future[None]] = []
        self.sweep = sweep

    def add_event(self, body: bytes) -> int:
        self.events.append(body)
        return len(self.events)

    def publish(self, event_id: str, body: bytes, decision_id: str = "") -> None:
        """An event for the stream. Several make one entry: Valkey works by the entry."""
        if not self.packs or self.packs[-1].full:
            self.packs.append(Pack())
        pack = self.packs[-1]
        pack.bodies.append(body)
        pack.size += len(body)
        if decision_id:
            pack.decisions.append(decision_id)
        self.event_ids.append(event_id)

    def place_of(self, wired: Wired) -> int:
        return self.paths.setdefault(wired, len(self.paths) + 1)

    @property
    def wanted(self) -> bool:
        return bool(self.replies or self.done or self.counters)

    def parts(self, lease_ms: int, decision_ttl_s: int) -> list[bytes]:
        """The function's arguments: the JSON, then what it names by index."""
        parts = [b""]
        for wired in self.paths:
            parts.append(wired.path_json)
        parts += self.events
        entries, place = [], len(self.events)
        for pack in self.packs:
            place += 1
            entries.append((place, pack.decisions))
            parts.append(pack.bodies[0] if len(pack.bodies) == 1 else b"\n".join(pack.bodies))
        parts[0] = orjson.dumps(
            {
                "lease": lease_ms, "ttl": decision_ttl_s, "n": len(self.paths),
                "i": self.counters, "s": self.settlements, "x": entries, "w": 1 if self.sweep else 0, "r": self.asks,
            }
        )  # fmt: skip
        return parts


class Courier:
    """One call out at a time. `turn` is what leaves next: add to it, then wait with `asked` or `sent`."""

    def __init__(self, url: str, *, spool: Spool | None, lease_s: float, decision_ttl_s: int, retry_s: float):
        self.link = ValkeyLink(url)
        self.spool = spool
        self.turn = Turn()
        self._lease_ms, self._decision_ttl_s, self._retry_s = int(lease_s * 1000), decision_ttl_s, retry_s
        self._under_way = False  # a call is out, or about to leave
        self._down_until = 0.0
        self.companions: Callable[[], int] = lambda: 0  # requests of this process that are being answered
        self.lost: list[str] = []  # ids of events whose call failed; the spool has them

    @property
    def down(self) -> bool:
        """Valkey was out of reach a moment ago: nobody waits for it again before `retry_s` has passed."""
        return time.monotonic() < self._down_until

    def asked(self, item: list[Any], late: Callable[[list[Any]], None]) -> asyncio.Future[list[Any]]:
        """The reply to one reservation; LinkDown when it can't be asked. Cancelled, its answer goes to `late`."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.turn.asks.append(item)
        self.turn.replies.append((reply, late))
        self._kick()
        return reply

    def sent(self) -> asyncio.Future[None]:
        """Done when the present turn was taken or could not be: the spool knows which."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.turn.done.append(done)
        self._kick()
        return done

    async def drain(self) -> None:
        while self._under_way:
            await asyncio.sleep(0.002)

    def _kick(self) -> None:
        if not self._under_way:
            self._under_way = True
            if self.companions() > 1:
                self._gather(GATHER_TURNS)
            else:
                asyncio.get_running_loop().call_soon(self._leave)

    def _gather(self, turns: int) -> None:
        """Whoever comes while a call is out travels with the next, and so does who is only a few turns of the loop away: a
        call costs 50 µs, one more passenger five. Callbacks, for a task a call would cost 20 µs more."""
        loop = asyncio.get_running_loop()
        if min(turns, self.companions() - 1) > 0:
            loop.call_soon(self._gather, turns - 1)
        else:
            loop.call_soon(self._leave)

    def _leave(self) -> None:
        turn = self.turn
        if not turn.wanted:
            self._under_way = False
            return
        self.turn = Turn()
        unwritten = self._write_spool()
        try:
            if self.down:
                raise LinkDown("Valkey is out of reach.")
            parts = turn.parts(self._lease_ms, self._decision_ttl_s)
            answered = partial(self._arrived, turn, unwritten, parts)
            self.link.submit(answered, "FCALL", FUNCTION, "0", *parts)
        except Exception as error:
            self._arrived(turn, unwritten, None, None, error)

    def _arrived(
        self,
        turn: Turn,
        unwritten: OSError | None,
        again: list[bytes] | None,
        reply: Any,
        error: Exception | None,
    ) -> None:
        """Whatever happens to one call, the next one leaves. `again`: what is said once more to a server that began anew,
        which is told the functions first."""
        try:
            if error is None:
                told = orjson.loads(reply)
            elif again is not None and isinstance(error, ScriptUnknown):
                self.link.submit(_learned, "FUNCTION", "LOAD", "REPLACE", LIBRARY)
                self.link.submit(
                    partial(self._arrived, turn, unwritten, None), "FCALL", FUNCTION, "0", *again
                )
                return
        except ValueError as garbled:
            error = garbled
        try:
            if error is not None:
                self._failed(turn, error, unwritten)
            else:
                if self.spool is not None:
                    self.spool.acknowledge(turn.event_ids)
                _resolve(turn, told)
        finally:
            if self.turn.wanted:
                self._gather(GATHER_TURNS)
            else:
                self._under_way = False

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


def _learned(_: Any, error: Exception | None) -> None:
    if error is not None:
        log.error("Valkey didn't take the functions of admission: %s", error)


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
