"""Carry a decision out: hop by hop, policy asked again at each, one retry layer, everything metered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from costs.contracts import Usage
from routing.contracts import DeploymentInfo, PlannedHop
from routing.execution.adapters import adapter_for
from routing.execution.base import AttemptFailed, Completion, upstream_model
from routing.execution.breaker import Load
from routing.execution.clients import Client
from routing.execution.confidence import chance_of
from routing.execution.openai_http import decode
from routing.execution.retries import RetryBudget, Tries
from routing.execution.usage import guessed, read_usage
from routing.masking.runs import given_back
from routing.run import Run
from switchyard.core.clock import now_ns
from switchyard.core.errors import ResidencyUnavailable, SwitchyardError, Unavailable, UpstreamBusy


@dataclass(slots=True)
class Executor:
    """What execution needs of its process."""

    upstream: Client
    load: Load
    retries: RetryBudget

    def hops(self, run: Run) -> Iterator[tuple[PlannedHop, DeploymentInfo, bool]]:
        """(hop, target, is it the last chance) in order: permitted now, breaker closed, not full, time left."""
        assert run.decision is not None and run.facts is not None
        opened = run.grant.open_breakers if run.grant else frozenset()
        plan = [hop for hop in run.decision.hops if hop.deployment not in opened]
        for i, hop in enumerate(plan):
            target = run.target(hop)
            if run.deadline.passed:
                return
            if hop.masked and run.masked is None:
                continue  # it may only see masked text, and nobody masked it
            if not run.world.policies.permits(run.facts, target, hop.hop, masked=hop.masked):
                continue
            if self.load.turns_away(target, others=i + 1 < len(plan)):
                continue
            yield hop, target, i + 1 == len(plan)

    async def whole(self, run: Run) -> Completion:
        """The first acceptable whole answer. Raises SwitchyardError when nobody gave one."""
        self.retries.request()
        failure: AttemptFailed | None = None
        unsure: tuple[DeploymentInfo, Completion] | None = None
        for hop, target, last in self.hops(run):
            try:
                try:
                    completion = await self._attempt(run, target)
                except AttemptFailed as error:
                    completion = await self._again(run, hop, target, last, error)
            except AttemptFailed as error:
                failure = error.with_traceback(None)  # which holds this frame, which would hold the failure
                if error.kind not in AttemptFailed.FALLBACK:
                    raise error.error from None
                continue
            until = hop.until_confidence
            sure = until is None or chance_of(run.request, target, completion) >= until
            # what a model withheld isn't unsure: nobody else is asked for the answer it wouldn't give
            if not sure and not completion.withheld:
                unsure = (target, completion)  # cascade: the next one is asked, this one is metered
                continue
            run.accept(target, completion)
            return completion
        if unsure is not None:
            run.accept(*unsure)
            return unsure[1]
        try:
            raise nobody(run, failure)
        finally:
            del failure

    async def _again(
        self, run: Run, hop: PlannedHop, target: DeploymentInfo, last: bool, failed: AttemptFailed
    ) -> Completion:
        """After a first attempt: as long as another is allowed. Raises the last one's failure."""
        tries = Tries(run, hop, target, self.retries, last=last)
        try:
            while (asked := await tries.after(failed)) is not None:
                try:
                    return await self._attempt(run, asked)
                except AttemptFailed as error:
                    failed = error
            raise failed
        finally:
            del failed  # its traceback holds this frame

    async def _attempt(self, run: Run, target: DeploymentInfo) -> Completion:
        request = run.sent_to(target)
        adapter = adapter_for(request.task, target)
        body = adapter.body(request, target, stream=False)
        model = upstream_model(request, target)
        began, began_ns = time.perf_counter(), now_ns()
        self.load.in_flight[target.name] += 1
        try:
            reply = await self.upstream.whole(
                target, adapter.path, body, request_id=request.request_id, deadline=run.deadline,
            )  # fmt: skip
            payload = decode(target, reply)
            try:
                completion = adapter.read(request, target, payload)
                if run.vault is not None:
                    completion = given_back(run, request, completion)
            except AttemptFailed as error:
                # It answered, so it will bill, though nobody can use it.
                error.usage = guessed(
                    read_usage(payload.get("usage")), bytes_in=len(request.raw), bytes_out=len(reply.body)
                )
                raise
        except AttemptFailed as error:
            usage = error.usage or Usage(calls=0)
            run.attempted(target, began=began, began_ns=began_ns, usage=usage, model=model, failure=error)
            raise
        except asyncio.CancelledError:
            # Nobody waits any more, but the server goes on and bills it: guessed, until its bill says.
            guess = guessed(Usage(source="estimated"), bytes_in=len(request.raw), bytes_out=0)
            usage = timed(guess, target, None, began)
            run.attempted(target, began=began, began_ns=began_ns, usage=usage, model=model, status="cut")
            raise
        finally:
            self.load.in_flight[target.name] -= 1
        if completion.usage.source == "estimated":
            size = sum(len(text.encode()) for text in completion.texts) or len(reply.body)
            completion.usage = guessed(completion.usage, bytes_in=len(request.raw), bytes_out=size)
        if target.side == "private":
            completion.usage = timed(completion.usage, target, reply.headers.get("x-accelerator-ns"), began)
        run.attempted(target, began=began, began_ns=began_ns, usage=completion.usage, model=model)
        return completion


def timed(usage: Usage, target: DeploymentInfo, header: str | None, began: float) -> Usage:
    """Private answers need accelerator time: the server's own figure, else the wall clock, marked estimated."""
    if target.side == "external" or usage.accelerator_ns:
        return usage
    source = usage.source
    if header and header.isdigit():
        measured = int(header)
    else:
        measured, source = int((time.perf_counter() - began) * 1e9), "estimated"
    return usage.timed(measured, usage.duration_ns, source)


def nobody(run: Run, failure: AttemptFailed | None) -> SwitchyardError:
    """The error when nobody is left: residency first, since that is what the caller must know."""
    assert run.decision is not None
    bound = any(any(r.startswith("invariant") for r in c.reasons) for c in run.decision.candidates)
    rest_s = run.grant.busy_s if run.grant is not None else 0.0
    if bound and (failure is None or failure.kind in ("connect", "timeout", "status", "busy")):
        return ResidencyUnavailable(
            "Nobody who may see this data can answer now. It is not sent to anybody else; try again later.",
            retry_after_s=max(5.0, rest_s),
        )
    if failure is not None:
        return failure.error
    if rest_s:
        return UpstreamBusy("Whoever may answer asked to be left alone for a while.", retry_after_s=rest_s)
    return Unavailable("No deployment that the policy allows can take the request now.", retry_after_s=2)
