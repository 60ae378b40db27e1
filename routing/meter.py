"""The last step: one self-contained event a request, into the spool before the last byte leaves, then settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from costs.contracts import Checkpoint, Settlement, Usage
from costs.spool import Written, encode
from routing import quote
from routing.checkpoints import Checkpoints
from routing.contracts import Admission, Answered
from routing.event_parts import ANSWERED, NO_TRACE, NOBODY, TRACES, UNGUARDED, Beginnings
from routing.policy.views import candidates_for_json
from routing.rollout.beside import asked_beside
from routing.run import Run
from switchyard.core.clock import now_ns

NO_GUARD = {"verdict": "pass", "mode": "off"}
_NOWHERE: tuple[str | None, int | None] = (None, None)


class Meter:
    """Turns a finished Run into its event. `seal(lob, bytes) -> str` hides kept answers."""

    def __init__(self, admission: Admission, seal: Callable[[str, bytes], str]) -> None:
        self.admission, self.seal = admission, seal
        self._checkpoints = Checkpoints()
        self._beginnings = Beginnings()

    async def finish(self, run: Run) -> None:
        """Settle once: admission writes the event to its spool before it returns. Refused requests leave one too."""
        if run.settled:
            return
        run.settled = True
        event = self.event(run)
        tokens = 0
        for attempt in run.attempts:
            tokens += attempt.usage.tokens_in + attempt.usage.tokens_out
        await self.admission.settle(
            Settlement(run.request.request_id, run.cost_nusd, tokens, event, tuple(run.outcomes))
        )

    def checkpoint(self, run: Run) -> Checkpoint:
        """The estimated event of a call that is about to begin: what is booked should nobody live to settle it."""
        return self._checkpoints.of(run, _purpose(run))

    def event(self, run: Run) -> Written:
        """As a line of JSON: what is the same for many requests, then what is this one's own."""
        request, answered, decision, facts = run.request, run.answered_by, run.decision, run.facts
        other_name, other_nusd = self._other_side(run) or _NOWHERE
        told: dict[str, Any] = {
            "event_id": request.request_id, "request_id": request.request_id, "decision_id": request.decision_id,
            "at_ns": request.received_ns, "model": run.attempts[-1].model if answered is not None else "",
            "status": run.status, "error_code": run.error_code, "cost_nusd": run.cost_nusd,
            "other_side_cost_nusd": other_nusd, "other_side_deployment": other_name,
            "latency_ms": round((now_ns() - request.received_ns) / 1e6, 3), "overhead_ms": round(run.overhead_ms, 3),
            "answers": run.answer_count, "cache": run.cache, "facts": facts.values if facts is not None else {},
            "found": facts.found if facts is not None else {},
            "masked": run.vault.counts if run.vault is not None else {},
            "candidates": candidates_for_json(decision.candidates) if decision is not None else (),
            "attempts": [self._attempt(run, attempt) for attempt in run.attempts],
            "guard": _guard_told(run), "sealed_answers": self._sealed(run) if run.answers else "",
            "confidence": run.confidence, "shadow": run.shadow,
        }  # fmt: skip
        if run.world.trials and (said := asked_beside(run)):
            told["beside"] = said
        if run.told is not None:
            told["learned"] = run.told.as_json()
        beginning = self._beginnings.of(run, _purpose(run))
        who = ANSWERED.of(answered) if answered is not None else NOBODY
        trace = TRACES.of(decision.trace) if decision is not None else NO_TRACE
        line = b"".join((beginning, who, trace, encode(told)[1:]))
        known = {
            "event_id": request.request_id, "decision_id": request.decision_id,
            "organisation_id": request.key.organisation_id,
        }  # fmt: skip
        return Written(line, known)

    def _other_side(self, run: Run) -> tuple[str, int] | None:
        if run.answered_by is None or run.facts is None or run.hit is not None:
            return None  # what was kept costs nothing on any side
        last, name = None, run.answered_by.name
        for attempt in reversed(run.attempts):
            if attempt.deployment == name:
                last = attempt
                break
        return quote.other_side(
            run.request, run.facts, run.world.policies, side=run.answered_by.side,
            usage=last.usage if last else Usage(), answers=run.answer_count, candidates=run.candidates,
        )  # fmt: skip

    def _sealed(self, run: Run) -> str:
        """Kept so that feedback by label can be judged later; never for restricted data."""
        if run.facts is None or not run.world.policies.keeps(run.facts, "log"):
            return ""
        return self.seal(run.request.key.lob, orjson.dumps(run.answers))

    @staticmethod
    def _attempt(run: Run, attempt: Answered) -> dict[str, Any]:
        target = run.world.deployments.get(attempt.deployment)
        usage = attempt.usage
        told = {
            "attempt": attempt.attempt, "deployment": attempt.deployment, "side": attempt.side, "model": attempt.model,
            "node": target.rate.node if target and target.rate else "", "status": attempt.status, "error": attempt.error,
            "at_ns": attempt.started_ns, "duration_ms": round(attempt.duration_ms, 3), "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out, "cached_tokens_in": usage.cached_tokens_in,
            "reasoning_tokens": usage.reasoning_tokens, "accelerator_ns": usage.accelerator_ns,
            "usage_source": usage.source, "price_version": attempt.price_version, "cost_nusd": attempt.cost_nusd,
            "http_status": attempt.http_status, "legs": attempt.legs,
        }  # fmt: skip
        if attempt.upstream_id:
            told["upstream_id"] = attempt.upstream_id
        if attempt.saved:
            told["saved"] = attempt.saved
        if usage.cache_write_tokens:
            told["cache_write_tokens"] = usage.cache_write_tokens
        if usage.searches:
            told["searches"] = usage.searches
        if usage.audio_tokens_in or usage.audio_tokens_out:
            told |= {"audio_tokens_in": usage.audio_tokens_in, "audio_tokens_out": usage.audio_tokens_out}
        if usage.batch:
            told["batch"] = True
        if run.masked is not None and target is not None and run.sent_to(target) is run.masked:
            told["masked"] = True
        return told


def _purpose(run: Run) -> str:
    """What it was for: calls that nobody waits for have lines of their own in the books."""
    hop = run.decision.hops[0].hop if run.decision and run.decision.hops else ""
    return hop if hop in ("shadow", "judge") else "answer"


def _guard_told(run: Run) -> Any:
    if run.watched:
        assert run.guard is not None
        return run.guard.report.as_json()
    if run.guard_for is None:  # a shadow's answer goes to nobody
        return NO_GUARD
    return UNGUARDED.of(run.world.lobs[run.request.key.lob])
