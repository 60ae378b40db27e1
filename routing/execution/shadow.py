"""Shadows: after an answer, others are asked the same for comparison. Policy is asked again, money is paid and metered."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costs.contracts import AdmissionAsk
from routing.contracts import Decision, PlannedHop
from routing.execution.deadlines import Deadline
from routing.run import Run
from switchyard.core.clock import now_ns
from switchyard.core.errors import SwitchyardError
from switchyard.core.ids import new_id

if TYPE_CHECKING:
    from routing.contracts import Admission
    from routing.execution.fallback import Executor
    from routing.meter import Meter

log = logging.getLogger(__name__)
AT_ONCE = 32  # more than these are left out: a comparison must never hold up work
DEADLINE_S = 60.0


class Shadows:
    """Background calls of this process. `bind()` once the rest of the desk stands; unbound it does nothing."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._desk: tuple[Admission, Executor, Meter] | None = None

    def bind(self, admission: Admission, executor: Executor, meter: Meter) -> None:
        self._desk = (admission, executor, meter)

    def follow(self, run: Run) -> None:
        """Start the shadows of an answered request, unless there are too many already."""
        if run.decision is None or not run.decision.shadows or self._desk is None:
            return
        for name in run.decision.shadows:
            target = run.world.deployments.get(name)
            if target is None or run.facts is None or len(self._tasks) >= AT_ONCE:
                continue
            masked = run.decision.mask and target.side == "external"
            if run.world.policies.permits(run.facts, target, "shadow", masked=masked):
                task = asyncio.get_running_loop().create_task(self._ask(run, run.decision, name))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, run: Run, decision: Decision, name: str) -> None:
        assert self._desk is not None
        admission, executor, meter = self._desk
        shadow = _shadow_of(run, decision, name)
        request, hops = shadow.request, shadow.decision.hops if shadow.decision else ()
        try:
            ask = AdmissionAsk(
                request_id=request.request_id, worst_case_nusd=hops[0].worst_case_nusd, tokens=1,
                budgets=request.key.budgets, breakers=(name,), checkpoint=meter.checkpoint(shadow),
                organisation_id=request.key.organisation_id,
            )  # fmt: skip
            shadow.grant = await admission.reserve(ask)
            completion = await executor.whole(shadow)
            shadow.shadow = {
                "of": run.request.decision_id,
                "agrees": _agrees(run.answers, completion.answers),
            }
        except SwitchyardError as error:
            shadow.status, shadow.error_code = error.status, error.code
        finally:
            # Nobody got this answer: it counts as cost, not as an answer.
            shadow.answered_by, shadow.answers, shadow.answer_count = None, [], 0
            await meter.finish(shadow)


def _shadow_of(run: Run, decision: Decision, name: str) -> Run:
    """The same question as a request of its own, with one hop."""
    worst = next((c.cost_nusd for c in decision.candidates if c.deployment == name), None)
    body = {k: v for k, v in run.request.body.items() if k not in ("stream", "stream_options")}
    request_id = new_id("req")
    request = replace(
        run.request, request_id=request_id, decision_id="dec_" + request_id[4:], body=body, stream=False,
        include_usage=False, received_ns=now_ns(),
    )  # fmt: skip
    shadow = Run(request, run.world, Deadline(DEADLINE_S), facts=run.facts, candidates=run.candidates)
    masked = decision.mask and run.world.deployments[name].side == "external"
    hop = PlannedHop(name, "shadow", worst or 0, masked=masked)
    shadow.decision = replace(decision, hops=(hop,), shadows=(), rule=f"{decision.rule} (shadow)")
    if masked and run.masked is not None:
        kept = {k: v for k, v in run.masked.body.items() if k in body}
        shadow.masked, shadow.vault = (
            replace(request, body=kept, raw=run.masked.raw, stuck=request.sticky),
            run.vault,
        )
    shadow.shadow = {"of": run.request.decision_id, "agrees": None}
    return shadow


def _agrees(answers: list[Any], others: list[Any]) -> bool | None:
    """Whether labels or values are the same; None where there are none to compare."""
    return answers == others if answers and others else None
