"""The real executor, but for one thing: requests of one workload to one deployment share an upstream call."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from costs.contracts import Usage
from routing.contracts import DeploymentInfo
from routing.execution.adapters import adapter_for
from routing.execution.base import AttemptFailed, Completion, upstream_model
from routing.execution.deadlines import Deadline
from routing.execution.fallback import Executor
from routing.execution.openai_http import decode
from routing.run import Run
from switchyard.core.ids import new_id
from switchyard.core.money import largest_remainder

ITEMS = {"classification": "input", "prediction": "records"}
MAX_ITEMS, MAX_BYTES = 32, 8_000  # small: a live request waits behind at most one batch
DEADLINE_S = 120.0


@dataclass(slots=True)
class Waiting:
    items: list[Any]
    weight: int  # bytes: what tokens and accelerator time are shared by
    reply: asyncio.Future[Share]


@dataclass(frozen=True, slots=True)
class Share:
    """One request's part of a shared call. It lasted as long as the model computed on it: the wall clock of a shared
    call says how long the others took."""

    rows: list[dict[str, Any]]
    tokens_in: int
    accelerator_ns: int
    duration_s: float
    call_id: str  # what the upstream bills the whole call by


@dataclass(slots=True)
class BatchingExecutor(Executor):
    """Shares sum to the call's own figures exactly (largest remainder)."""

    queues: dict[tuple[str, str], list[Waiting]] = field(default_factory=lambda: defaultdict(list))
    busy: set[tuple[str, str]] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: int = 0
    name: str = field(
        default_factory=lambda: new_id("run")[-10:]
    )  # of this process's calls, on the vendor's bill

    async def _attempt(self, run: Run, target: DeploymentInfo) -> Completion:
        request = run.request
        if request.task not in ITEMS:
            entered = time.perf_counter()
            async with self.alone:  # one at a time, so that its time is its own
                run.upstream_s += time.perf_counter() - entered
                return await self._by_itself(run, target)
        model = upstream_model(request, target)
        began = time.perf_counter()
        waiting = Waiting(
            list(request.body[ITEMS[request.task]]), len(request.raw), asyncio.get_running_loop().create_future()
        )  # fmt: skip
        key = (target.name, model)
        self.queues[key].append(waiting)
        if key not in self.busy:
            self.busy.add(key)
            task = asyncio.create_task(self._serve(key, target, request.task))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        try:
            share = await waiting.reply
        except AttemptFailed as error:
            run.attempted(
                target, began=began, began_ns=request.received_ns, usage=Usage(calls=0), model=model, failure=error
            )  # fmt: skip
            raise
        return self._completion(run, target, model, share, began)

    async def _by_itself(self, run: Run, target: DeploymentInfo) -> Completion:
        """A call of its own. A replay that was stopped asks again under the same request id; the vendor bills each time, so
        each call has an id that never comes again."""
        request, call_id, known = run.request, self._call_id(), len(run.attempts)
        run.request = replace(request, request_id=call_id)
        try:
            return await Executor._attempt(self, run, target)
        finally:
            run.request = request
            run.attempts[known:] = [replace(a, upstream_id=call_id) for a in run.attempts[known:]]

    def _call_id(self) -> str:
        self.calls += 1
        return f"history-{self.name}-{self.calls}"

    def _completion(
        self, run: Run, target: DeploymentInfo, model: str, share: Share, began: float
    ) -> Completion:
        request, count = run.request, len(share.rows)
        usage = {
            "input_tokens": share.tokens_in, "output_tokens": count, "total_tokens": share.tokens_in + count,
            "accelerator_ns": share.accelerator_ns,
        }  # fmt: skip
        rows = [row | {"index": i} for i, row in enumerate(share.rows)]
        payload = {"object": "list", "model": model, "data": rows, "usage": usage}
        completion = adapter_for(request.task, target).read(request, target, payload)
        ended = time.perf_counter()
        run.attempted(
            target, began=ended - share.duration_s, began_ns=request.received_ns, usage=completion.usage, model=model,
            upstream_id=share.call_id,
        )  # fmt: skip
        run.upstream_s += ended - began - share.duration_s  # waiting for others is no work of ours
        return completion

    async def _serve(self, key: tuple[str, str], target: DeploymentInfo, task: str) -> None:
        """Call after call until nobody waits."""
        await asyncio.sleep(0)  # let the others of this turn join
        while queue := self.queues[key]:
            queue.sort(key=lambda waiting: waiting.weight)  # alike in length: little padding
            batch = [queue.pop(0)]
            while queue and _fits([*batch, queue[0]]):
                batch.append(queue.pop(0))
            try:
                shares = await self._call(key, target, task, batch)
            except AttemptFailed as error:
                for waiting in batch:
                    waiting.reply.set_exception(error)
            else:
                for waiting, share in zip(batch, shares, strict=True):
                    waiting.reply.set_result(share)
        self.busy.discard(key)

    async def _call(
        self, key: tuple[str, str], target: DeploymentInfo, task: str, batch: list[Waiting]
    ) -> list[Share]:
        call_id = self._call_id()
        items = [item for waiting in batch for item in waiting.items]
        path = "/classifications" if task == "classification" else "/predictions"
        reply = await self.upstream.whole(
            target, path, {"model": key[1], ITEMS[task]: items}, request_id=call_id,
            deadline=Deadline(DEADLINE_S),
        )  # fmt: skip
        payload = decode(target, reply)
        usage = payload["usage"]
        weights = [waiting.weight for waiting in batch]
        tokens = largest_remainder(int(usage["input_tokens"]), weights)
        times = largest_remainder(int(usage["accelerator_ns"]), weights)
        shares, place = [], 0
        for waiting, tokens_in, accelerator_ns in zip(batch, tokens, times, strict=True):
            rows = payload["data"][place : place + len(waiting.items)]
            place += len(waiting.items)
            shares.append(Share(rows, tokens_in, accelerator_ns, accelerator_ns / 1e9, call_id))
        return shares


def _fits(batch: list[Waiting]) -> bool:
    return sum(len(w.items) for w in batch) <= MAX_ITEMS and sum(w.weight for w in batch) <= MAX_BYTES
