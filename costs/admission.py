"""Limits, breakers and budget reservations in one call; settlement and the event in another.

Everything the callers of one loop turn want (and all who come while a call is out) travels in one call of
admission.lua, which runs it atomically: budgets hold over any number of processes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from costs.contracts import AdmissionAsk, BudgetLimit, Checkpoint, Grant, Outcome, Settlement
from costs.courier import DECISION_TTL_S, Courier, Turn
from costs.link import LinkDown
from costs.outage import LocalLimits
from costs.periods import counter_key
from costs.replies import budget_exhausted, granted, rate_refused
from costs.spool import Spool, encode
from costs.turned_away import TurnedAway
from costs.wire import PathCache, Wired, wire
from switchyard.core.errors import BudgetUnavailable

log = logging.getLogger(__name__)
# (budget, start of its period in seconds since the epoch) → nano-dollars the ledger knows of
Seed = Callable[[Sequence[tuple[BudgetLimit, int]]], Awaitable[Sequence[int]]]


@dataclass(slots=True, eq=False)
class _Open:
    """A reservation of this process that waits for its settlement."""

    ask: AdmissionAsk
    wired: Wired
    reserved: bool
    minute: int
    probe: str = ""
    local: bool = False


class RedisAdmission:
    """Implements routing.contracts.Admission. One per process and event loop; `start()` before use, `close()` after."""

    def __init__(
        self,
        url: str,
        *,
        spool: Spool | None = None,
        seed: Seed | None = None,
        processes: int = 1,
        lease_s: float = 180,
        decision_ttl_s: int = DECISION_TTL_S,
        retry_s: float = 0.5,
    ) -> None:
        self.spool = spool
        self._courier = Courier(
            url, spool=spool, lease_s=lease_s, decision_ttl_s=decision_ttl_s, retry_s=retry_s
        )
        self._seed = seed
        self._local = LocalLimits(processes)
        self._retry_s = retry_s
        self._paths = PathCache()
        self._open: dict[str, _Open] = {}
        self._courier.companions = self._open.__len__
        self._seeding: dict[str, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._giving_back: asyncio.Task[None] | None = None
        self.turned_away = TurnedAway()
        self.used_ppm: dict[int, int] = {}  # budget id → spent + reserved, of its limit, as last seen

    @property
    def down(self) -> bool:
        """Valkey was out of reach a moment ago."""
        return self._courier.down

    # --- the protocol -------------------------------------------------------------------------------------------

    async def reserve(self, ask: AdmissionAsk) -> Grant:
        """Raises RateLimited, BudgetExhausted, or BudgetUnavailable (counters out of reach under a strict budget)."""
        wired = self._paths.wire(ask, time.time())
        for _ in range(4):
            try:
                reply = await self._ask(ask, wired)
            except LinkDown:
                return self._degraded(ask, wired)
            if reply[0] == "unseeded":
                await self._seed_counters([wired.counters[i] for i in reply[1]])
                continue
            return self._granted(ask, wired, reply)
        raise BudgetUnavailable("The budget counters could not be built from the ledger. Try again shortly.")

    async def settle(self, settlement: Settlement) -> None:
        """Spool first, then one call: difference back, concurrency free, breakers told, event in the stream.

        Never raises for Valkey's sake: what could not be delivered waits in the spool. Raises SpoolFull or OSError when
        not even that is possible.
        """
        opened = self._open.pop(settlement.request_id, None)
        body = encode(settlement.event) if settlement.event else b""
        if body and self.spool is not None:
            self.spool.add(str(settlement.event["event_id"]), body)
        if opened is not None and opened.local:
            self._local.release(settlement.request_id)
        turn = self._courier.turn
        turn.settlements.append(_settled(settlement, opened, turn))
        if body:
            turn.publish(str(settlement.event["event_id"]), body, settlement.event.get("decision_id", ""))
        await self._courier.sent()

    async def release(self, request_id: str) -> None:
        """Give everything back: nothing was called, nothing is owed. Unknown ids do nothing."""
        if request_id in self._open:
            await self.settle(Settlement(request_id, 0, 0, {}))

    async def tell(self, organisation_id: int, outcomes: Sequence[Outcome]) -> None:
        """What a health probe found, for the breakers: nothing is settled by it."""
        event: dict[str, Any] = {"organisation_id": organisation_id}
        turn = self._courier.turn
        turn.settlements.append(_settled(Settlement("", 0, 0, event, tuple(outcomes)), None, turn))
        await self._courier.sent()

    async def publish(self, event: Mapping[str, Any]) -> None:
        """An event that settles nothing (feedback): spool and stream."""
        body = encode(event)
        if self.spool is not None:
            self.spool.add(str(event["event_id"]), body)
        self._courier.turn.publish(str(event["event_id"]), body)
        await self._courier.sent()

    # --- life ---------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Another configuration is in force: nothing of the old one's keys is held for its identity."""
        self._paths.forget()

    async def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        await self._courier.drain()
        await self.redeliver()
        self._courier.link.close()
        if self.spool is not None:
            self.spool.close()

    async def sweep(self) -> None:
        """Free what ended leases hold; their checkpoints become estimated events."""
        turn = self._courier.turn
        turn.sweep = True
        await self._courier.sent()

    async def redeliver(self) -> None:
        """Send again what a failed call carried, until all of it is taken or Valkey is away again."""
        while self.spool is not None and (lost := self._courier.lost):
            batch, self._courier.lost = lost[:200], lost[200:]
            turn = self._courier.turn
            for event_id, body in self.spool.waiting(batch):
                turn.publish(event_id, body)
            await self._courier.sent()
            if self._courier.down:
                return

    async def _keep(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(self._retry_s)
            ticks += 1
            try:
                if self._courier.lost and not self._courier.down:
                    await self.redeliver()
                if ticks % 20 == 0:
                    await self.sweep()
            except Exception:
                log.exception("Keeping the admission's spool and leases failed; trying again")

    def _ask(self, ask: AdmissionAsk, wired: Wired) -> asyncio.Future[list[Any]]:
        """The reply to come. Raises LinkDown where nobody needs to wait for that."""
        if self._courier.down:
            raise LinkDown("Valkey is out of reach.")
        checkpoint, turn = _encoded(ask.checkpoint), self._courier.turn
        item = [
            ask.request_id, turn.place_of(wired), 1 if ask.budgets or checkpoint is not None else 0,
            str(ask.worst_case_nusd), ask.tokens, ask.breakers, 0, "0", "",
        ]  # fmt: skip
        if checkpoint is not None:
            item[6:] = turn.add_event(checkpoint.body), str(checkpoint.cost_nusd), checkpoint.decision_id
        return self._courier.asked(item, partial(self._abandon, ask, wired))

    def _abandon(self, ask: AdmissionAsk, wired: Wired, reply: list[Any]) -> None:
        """The caller went away while its call was out: what was granted goes straight back."""
        if reply[0] == "ok":
            self._granted(ask, wired, reply)
            self._giving_back = asyncio.get_running_loop().create_task(self.release(ask.request_id))

    # --- replies ------------------------------------------------------------------------------------------------

    def _granted(self, ask: AdmissionAsk, wired: Wired, reply: list[Any]) -> Grant:
        kind = reply[0]
        if kind == "budget":
            raise budget_exhausted(ask, wired, reply)
        if kind == "rate":
            if reply[1] < len(wired.limits):  # past them stands a budget that throttles
                limit = wired.limits[reply[1]]
                self.turned_away.note(limit, reply[2], int(reply[3]), reply[4] / 1000, ask.tokens)
            raise rate_refused(wired, reply)
        if kind == "none":
            return Grant(ask.request_id, 0, None, frozenset(reply[1] or ()), busy_s=reply[2] / 1000)
        grant = granted(ask, wired, reply)
        for budget in ask.budgets:
            self.used_ppm[budget.id] = grant.budget_used_ppm[budget.scope]
        kept = bool(ask.budgets or ask.checkpoint)
        self._open[ask.request_id] = _Open(ask, wired, kept, reply[6], reply[1] if reply[2] else "")
        return grant

    def _degraded(self, ask: AdmissionAsk, wired: Wired) -> Grant:
        if self.spool is not None and self.spool.full:
            raise BudgetUnavailable("The counters can't be reached and the spool is full. Try again shortly.")
        self._local.admit(ask)
        self._open[ask.request_id] = _Open(ask, wired, False, -1, local=True)
        return Grant(ask.request_id, 0, ask.breakers[0] if ask.breakers else None, degraded=True)

    async def _seed_counters(self, counters: Sequence[tuple[BudgetLimit, int, int]]) -> None:
        """SET missing counters from the ledger; callers who miss the same one share the query."""
        waits = []
        for budget, start_s, end_s in counters:
            key = f"{budget.id}:{start_s}"
            if key not in self._seeding:
                task = asyncio.create_task(self._seed_one(budget, start_s, end_s))
                task.add_done_callback(partial(self._seeded, key))
                self._seeding[key] = task
            waits.append(self._seeding[key])
        # Shielded: a caller who goes away must not take the others' query along.
        await asyncio.gather(*(asyncio.shield(task) for task in waits))

    def _seeded(self, key: str, _: asyncio.Task[None]) -> None:
        self._seeding.pop(key, None)

    async def _seed_one(self, budget: BudgetLimit, start_s: int, end_s: int) -> None:
        try:
            spent = (await self._seed([(budget, start_s)]))[0] if self._seed is not None else 0
        except Exception as error:
            log.exception("The counter of budget %s could not be built from the ledger", budget.id)
            raise BudgetUnavailable("The ledger can't be read to build the budget's counter.") from error
        turn = self._courier.turn
        expires = end_s + 40 * 86_400 if end_s else 0
        turn.counters.append(
            [counter_key(budget.id, start_s), str(spent), str(budget.limit_at(start_s)), expires]
        )
        await self._courier.sent()


def _encoded(checkpoint: Checkpoint | Mapping[str, Any] | None) -> Checkpoint | None:
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    if not checkpoint:
        return None
    return Checkpoint(encode(checkpoint), checkpoint.get("cost_nusd", 0), checkpoint.get("decision_id", ""))


def _settled(settlement: Settlement, opened: _Open | None, turn: Turn) -> list[Any]:
    """A settlement as the script reads it."""
    outcomes = [(o[0], 1 if o[1] else 0, o[2] if len(o) > 2 else 0) for o in settlement.outcomes]
    cost = str(settlement.cost_nusd)
    if opened is None:
        place = turn.place_of(_nothing_held(settlement.event.get("organisation_id", 0)))
        return [settlement.request_id, place, 0, "0", cost, 0, -1, "", outcomes]
    ask = opened.ask
    return [
        settlement.request_id, turn.place_of(opened.wired), 1 if opened.reserved else 0, str(ask.worst_case_nusd), cost,
        settlement.tokens - ask.tokens, opened.minute, opened.probe, outcomes,
    ]  # fmt: skip


@lru_cache(maxsize=1024)
def _nothing_held(organisation_id: int) -> Wired:
    """The path of a settlement whose reservation this process knows nothing of."""
    return wire((), (), 0.0, organisation_id)
