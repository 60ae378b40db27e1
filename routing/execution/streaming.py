"""Streams: the first hop that gives a first frame is relayed; whatever happens after, it ends in words and is metered."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass, field
from typing import Any

from costs.contracts import Usage
from routing import shapes
from routing.contracts import DeploymentInfo, GatewayRequest
from routing.execution.adapters import adapter_for, answers_of, garbage, output_cap, public_usage
from routing.execution.base import AttemptFailed, shown_model, upstream_model
from routing.execution.fallback import Executor, nobody, timed
from routing.execution.openai_http import broken
from routing.execution.price_class import flexed
from routing.execution.retries import Tries
from routing.execution.sse import Frame, FrameReader
from routing.execution.usage import read_usage
from routing.guards.stream import StreamGuard
from routing.masking.runs import unmasker_for
from routing.meter import Meter
from routing.quote import attempt_cost
from routing.run import Run
from switchyard.core.clock import now_ns
from switchyard.core.errors import BudgetExhausted, SwitchyardError, UpstreamFailure, UpstreamTimeout
from switchyard.core.money import format_usd

STREAM_MAX_S = 165.0  # under the reservation's lease: whoever outlives it would be booked as lost


@dataclass(slots=True)
class _Attempt:
    """One open upstream stream and what was seen of it."""

    request: GatewayRequest
    target: DeploymentInfo
    model: str
    began: float
    began_ns: int
    usage: dict[str, Any] | None = None
    head: dict[str, Any] = field(default_factory=dict)
    pieces: int = 0
    prompt_bytes: int = 0
    most_pieces: int = 0
    finished: bool = False

    def see(self, frame: Frame) -> None:
        self.pieces += len(frame.texts)
        if not self.head.get("id") and frame.data:  # Azure's first chunk is about the prompt, and nameless
            self.head = frame.data
        if frame.usage:
            self.usage = frame.usage
        if frame.finished:
            self.finished = True

    def used(self) -> Usage:
        """As reported; without a report every piece counts as a token and four bytes of prompt as one."""
        if self.usage is not None and (told := read_usage(self.usage)).source == "reported":
            return timed(flexed(told, self.request, self.target, self.head), self.target, None, self.began)
        guess = Usage(tokens_in=self.prompt_bytes // 4, tokens_out=self.pieces, source="estimated")
        return timed(guess, self.target, None, self.began)


def relay(run: Run, executor: Executor, meter: Meter) -> Relayed:
    """The client's bytes, to be iterated once and closed. Raises SwitchyardError before the first byte only."""
    return Relayed(run, executor, meter)


class Relayed:
    """An iterator over what a plan's first willing hop gives.

    The hop that gave a first frame is iterated by the caller itself: a generator around it would cost as much a frame as
    reading it does.
    """

    def __init__(self, run: Run, executor: Executor, meter: Meter) -> None:
        self._run, self._executor, self._meter = run, executor, meter
        self._stream: AsyncGenerator[bytes, None] | None = None

    def __aiter__(self) -> Relayed:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._stream.__anext__() if self._stream is not None else self._first()

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()

    async def _first(self) -> bytes:
        run, executor = self._run, self._executor
        executor.retries.request()
        failure: AttemptFailed | None = None
        for hop, target, last in executor.hops(run):
            tries = Tries(run, hop, target, executor.retries, last=last)
            asked: DeploymentInfo | None = target
            while asked is not None:
                self._stream = _one(run, executor, self._meter, asked)
                try:
                    return await anext(self._stream)
                except AttemptFailed as error:
                    failure = error.with_traceback(None)  # it holds this frame, which would hold the failure
                    asked = await tries.after(error)
                    if asked is None and error.kind not in AttemptFailed.FALLBACK:
                        raise error.error from None
        try:
            raise nobody(run, failure)
        finally:
            del failure


async def _one(
    run: Run, executor: Executor, meter: Meter, target: DeploymentInfo
) -> AsyncGenerator[bytes, None]:
    """One hop. AttemptFailed leaves only before anything was released."""
    request = run.sent_to(target)
    adapter = adapter_for(request.task, target)
    model = upstream_model(request, target)
    choices = answers_of(run.request.body)
    attempt = _Attempt(
        run.request, target, model, time.perf_counter(), now_ns(), prompt_bytes=len(run.request.raw),
        most_pieces=output_cap(run.request, target) * choices + choices,
    )  # fmt: skip
    assert run.guard is not None
    guard, unmasker = StreamGuard(run.guard), unmasker_for(run, request)
    as_it_came = unmasker is None and run.guard.report.mode == "off"  # nobody reads it on its way
    released, ended, recorded = False, False, False
    cut: SwitchyardError | None = None
    ready: list[bytes] = []
    executor.load.in_flight[target.name] += 1
    try:
        # No exit stack: after an exception its closures and the traceback hold each other.
        async with executor.upstream.stream(
            target, adapter.path, adapter.body(request, target, stream=True), request_id=run.request.request_id,
            deadline=run.deadline,
        ) as chunks:  # fmt: skip
            reader = FrameReader(shown_model(request))
            async for chunk in chunks:
                for frame in _frames(reader, chunk, target):
                    if frame.failed:
                        raise AttemptFailed(
                            "status", UpstreamFailure(f"{target.name} broke off its answer with an error.")
                        )
                    attempt.see(frame)
                    ended = ended or frame.done
                    if frame.done or (frame.usage and not frame.choices):
                        continue  # ours come at the end
                    cut = _over_cap(run, attempt)
                    if cut is not None:
                        break
                    if as_it_came:
                        ready.append(frame.raw)
                        continue
                    told = unmasker.feed(frame) if unmasker is not None else frame
                    ready += guard.feed(told.raw, told.texts)
                if ready:
                    released = True
                    run.answered_by = target  # the headers go out with the first frame
                    yield ready[0] if len(ready) == 1 else b"".join(ready)
                    ready = []
                if guard.blocked or cut is not None:
                    break  # leaving closes the connection: the server stops
        if not guard.blocked:
            if cut is None and not ended and not attempt.finished:
                raise AttemptFailed("status", broken(target, EOFError()).error)
            rest = unmasker.finish() if unmasker is not None else ()
            for part in (
                *(out for told in rest for out in guard.feed(told.raw, told.texts)),
                *guard.finish(),
            ):
                released = True
                yield part
        recorded = True
        _record(run, attempt, None, "cut" if guard.blocked or cut else "")
        if cut is not None and not guard.blocked:
            run.error_code = cut.code
            await meter.finish(run)
            yield shapes.data_frame(cut.body())
            return
        if guard.blocked:
            yield shapes.data_frame(_blocked_chunk(run, attempt))
        async for part in _ending(run, meter, attempt):
            yield part
    except AttemptFailed as error:
        recorded = True
        error.usage = attempt.used() if attempt.pieces else error.usage
        _record(run, attempt, error, "cut" if released else "error")
        if not released:
            raise
        run.status, run.error_code = 502, error.error.code
        await meter.finish(run)
        yield shapes.data_frame(error.error.body())
    finally:
        executor.load.in_flight[target.name] -= 1
        if not recorded:  # the client went away
            _record(run, attempt, None, "cut")


def _over_cap(run: Run, attempt: _Attempt) -> SwitchyardError | None:
    """Why a stream must end now: more pieces than tokens were bought, or the caller's own cap is used up."""
    request, target = run.request, attempt.target
    if time.perf_counter() - run.started > STREAM_MAX_S:
        return UpstreamTimeout(f"The answer took longer than {STREAM_MAX_S:g} s and was cut.")
    if attempt.pieces > attempt.most_pieces:
        return BudgetExhausted(
            "The answer was cut: it outgrew the max_tokens that its cost was reserved for."
        )
    cap = request.max_cost_nusd
    if cap is not None and attempt.pieces % 16 == 1 and attempt_cost(attempt.used(), target) > cap:
        return BudgetExhausted(f"The answer was cut at the cap of ${format_usd(cap)}.")
    return None


def _frames(reader: FrameReader, chunk: bytes, target: DeploymentInfo) -> list[Frame]:
    try:
        return reader.feed(chunk)
    except ValueError:
        raise garbage(target, "a stream that makes no sense") from None


def _record(run: Run, attempt: _Attempt, failure: AttemptFailed | None, status: str) -> None:
    run.attempted(
        attempt.target, began=attempt.began, began_ns=attempt.began_ns, model=attempt.model, failure=failure, status=status,
        usage=attempt.used() if failure is None else (failure.usage or Usage(calls=0)),
    )  # fmt: skip
    if failure is None:
        run.answered_by = attempt.target
        run.answer_count = answers_of(run.request.body)


def _blocked_chunk(run: Run, attempt: _Attempt) -> dict[str, Any]:
    return shapes.chunk(attempt.head, delta={}, finish="content_filter", chat=run.request.task == "chat")


async def _ending(run: Run, meter: Meter, attempt: _Attempt) -> AsyncGenerator[bytes, None]:
    """Metered first, then usage where it was asked for, then the end."""
    await meter.finish(run)
    if run.request.include_usage:
        usage = public_usage(attempt.usage or {})
        cost = format_usd(run.cost_nusd)
        yield shapes.data_frame(
            shapes.usage_chunk(attempt.head, usage, cost_usd=cost, decision_id=run.request.decision_id)
        )
    yield shapes.DONE
