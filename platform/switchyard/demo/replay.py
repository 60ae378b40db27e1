"""Fourteen days through the real engine: inspected, decided, answered by the real models, guarded, metered, judged."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from costs.contracts import AdmissionAsk, Grant, Settlement
from routing import pipeline
from routing.contracts import GatewayRequest, KeyInfo, LobInfo, Snapshot
from routing.execution.breaker import Load
from routing.execution.openai_http import Upstream
from routing.execution.retries import RetryBudget
from routing.guards.base import RiskGuard
from routing.inspection.collect import inspect
from routing.meter import Meter
from switchyard.core.clock import now_ns
from switchyard.core.conf import conf
from switchyard.core.crypto import seal_for_lob
from switchyard.core.errors import SwitchyardError
from switchyard.demo import company
from switchyard.demo.batching import DEADLINE_S, BatchingExecutor
from switchyard.demo.questions import Question, load, request_of
from switchyard.demo.traffic import Arrival
from switchyard.gateway.desk import load_risk
from switchyard.gateway.feedback import feedback_event, judge
from switchyard.gateway.snapshot import SnapshotKeeper

log = logging.getLogger(__name__)
CHUNK = 600  # requests under way together, and written in one transaction
FEEDBACK_DELAY_MS = (60_000, 3_600_000)
Event = dict[str, Any]


class PastAdmission:
    """Grants everything and keeps the events: what is over needs no reservation. Implements routing.contracts.Admission."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}

    async def reserve(self, ask: AdmissionAsk) -> Grant:
        return Grant(ask.request_id, 0, ask.breakers[0] if ask.breakers else None)

    async def settle(self, settlement: Settlement) -> None:
        event = dict(settlement.event)
        event["latency_ms"] = round(
            event["overhead_ms"] + sum(a["duration_ms"] for a in event["attempts"]), 3
        )
        for attempt in event["attempts"]:
            attempt["at_ns"] = event["at_ns"]
        self.events[settlement.request_id] = event


class Replayer:
    """Answers arrivals chunk by chunk. Open it, feed chunks, close it."""

    def __init__(self) -> None:
        self.keeper = SnapshotKeeper()
        self.upstream = Upstream(
            connect_s=conf("CONNECT_TIMEOUT_S"), first_byte_s=DEADLINE_S, idle_s=DEADLINE_S
        )
        self.executor = BatchingExecutor(self.upstream, Load(), RetryBudget())
        self.risk = load_risk()
        self.plans = {w.name: (lob, w) for lob in company.LOBS for w in lob.workloads}
        self.questions: dict[str, list[Question]] = {}

    async def open(self) -> None:
        await sync_to_async(self.keeper.load)()
        await self.upstream.open()

    async def close(self) -> None:
        await self.upstream.close()

    def ask_about(self, workloads: Iterable[str]) -> dict[str, int]:
        """Load the questions of these workloads: how many rows each has."""
        self.questions = {name: load(self.plans[name][1]) for name in workloads}
        return {name: len(rows) for name, rows in self.questions.items()}

    async def answer(self, chunk: Sequence[Arrival]) -> list[Event]:
        """The events of a chunk, usage before the feedback on it. What is no longer configured is left out."""
        await sync_to_async(self.keeper.refresh)()
        world = self._world()
        keys = {(key.lob, key.application): key for key in world.keys.values()}
        admission = PastAdmission()
        self.executor.alone = asyncio.Lock()
        desk = self._desk(admission)
        runs = [self._one(arrival, world, keys, desk, admission) for arrival in chunk]
        found = await asyncio.gather(*runs)
        return list(admission.events.values()) + [event for event in found if event is not None]

    def _world(self) -> Snapshot:
        return next(iter(self.keeper.world.organisations.values()))

    async def _one(
        self,
        arrival: Arrival,
        world: Snapshot,
        keys: dict[tuple[str, str], KeyInfo],
        desk: pipeline.Desk,
        admission: PastAdmission,
    ) -> Event | None:
        """Carry one request through the pipeline; its feedback event, when somebody knows what was right."""
        lob, plan = self.plans[arrival.workload]
        key = keys.get((lob.slug, lob.application))
        workload = world.workloads.get(arrival.workload)
        if key is None or workload is None or workload.lob != lob.slug or workload.task != plan.task:
            return None
        question = self.questions[arrival.workload][arrival.row]
        request = request_of(arrival, question, key, world)
        try:
            run = await pipeline.open_run(request, world, desk)
            await pipeline.answer(run, desk)
        except SwitchyardError as error:
            log.warning("request %s of the history was refused: %s", request.request_id, error)
            return None
        if question.truth is None or not run.answers:
            return None
        correct = judge(run.answers[0], question.truth, workload.correct_rule)
        return self._feedback(request, admission.events[request.request_id], correct, world)

    @staticmethod
    def _feedback(request: GatewayRequest, usage: Event, correct: bool, world: Snapshot) -> Event:
        event = feedback_event({"correct": correct}, usage, request.key, world)
        low, high = FEEDBACK_DELAY_MS
        delay_ms = low + zlib.crc32(request.request_id.encode()) % (high - low)
        event["event_id"] = f"fb:{request.decision_id}:0:demonstration"
        event["at_ns"] = min(
            request.received_ns + delay_ms * 1_000_000, now_ns()
        )  # nothing is booked in the future
        return event

    def _desk(self, admission: PastAdmission) -> pipeline.Desk:
        return pipeline.Desk(
            inspect=inspect, admission=admission, executor=self.executor, meter=Meter(admission, seal_for_lob),
            guard_for=self._guard_for, swaps=self._swaps, live=pipeline.Live(), deadline_s=DEADLINE_S,
        )  # fmt: skip

    def _guard_for(self, lob: LobInfo) -> RiskGuard:
        return RiskGuard(
            self.risk, mode=lob.guard_mode, threshold=lob.guard_threshold, keep_text=lob.keep_text,
            timeout_ms=10 * conf("GUARD_TIMEOUT_MS"),  # this process stands back behind all others
        )  # fmt: skip

    def _swaps(self, text: str) -> list[str]:
        return self.risk.identity_swaps(text) if self.risk is not None else []


async def replay(
    replayer: Replayer, arrivals: Sequence[Arrival], start: int, write: Callable[[int, list[Event]], bool]
) -> bool:
    """Answer from arrival `start` on. `write(next, events)` keeps a chunk and where to go on, in one transaction, and
    says whether to go on at all. Gives whether the last arrival is in."""
    for begin in range(start, len(arrivals), CHUNK):
        chunk = arrivals[begin : begin + CHUNK]
        events = await replayer.answer(chunk)
        if not await sync_to_async(write)(begin + len(chunk), events):
            return begin + len(chunk) == len(arrivals)
    return True
