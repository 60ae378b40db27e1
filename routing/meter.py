"""The last step: one self-contained event a request, into the spool before the last byte leaves, then settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from costs.contracts import Checkpoint, PriceSheet, Settlement, Usage
from routing import quote
from routing.checkpoints import KNOWN, Checkpoints
from routing.contracts import Admission, Answered, DeploymentInfo, RuleTrace
from routing.kept import Kept, forgets
from routing.policy.views import candidates_as_json
from routing.rollout.beside import asked_beside
from routing.run import Run
from switchyard.core.clock import now_ns

_CLASSES = ("cached_input_nusd_per_munit", "cache_write_nusd_per_munit", "reasoning_nusd_per_munit")
_EXTRAS = ("call_nusd_per_munit", "second_nusd_per_munit", "minimum_nusd")
_TIER = ("above_tokens_in", "input_nusd_per_munit", "output_nusd_per_munit", *_CLASSES)


class Meter:
    """Turns a finished Run into its event. `seal(lob, bytes) -> str` hides kept answers."""

    def __init__(self, admission: Admission, seal: Callable[[str, bytes], str]) -> None:
        self.admission, self.seal = admission, seal
        self._checkpoints = Checkpoints()
        self._known: dict[tuple[Any, ...], tuple[Any, Any, dict[str, Any]]] = {}
        forgets(self)

    def forget(self) -> None:
        self._known.clear()

    async def finish(self, run: Run) -> None:
        """Settle once: admission writes the event to its spool before it returns. Refused requests leave one too."""
        if run.settled:
            return
        run.settled = True
        event = self.event(run)
        tokens = sum(a.usage.tokens_in + a.usage.tokens_out for a in run.attempts)
        await self.admission.settle(
            Settlement(run.request.request_id, run.cost_nusd, tokens, event, tuple(run.outcomes))
        )

    def checkpoint(self, run: Run) -> Checkpoint:
        """The estimated event of a call that is about to begin: what is booked should nobody live to settle it."""
        return self._checkpoints.of(run, _purpose(run))

    def event(self, run: Run) -> dict[str, Any]:
        request, answered, decision, facts = run.request, run.answered_by, run.decision, run.facts
        other = self._other_side(run)
        event = self._same(run, _purpose(run)).copy()
        event["event_id"] = event["request_id"] = request.request_id
        event["decision_id"], event["at_ns"] = request.decision_id, request.received_ns
        if answered is not None:
            event["side"], event["deployment"], event["model"] = (
                answered.side,
                answered.name,
                run.attempts[-1].model,
            )
        event["status"], event["error_code"], event["cost_nusd"] = run.status, run.error_code, run.cost_nusd
        if other is not None:
            event["other_side_deployment"], event["other_side_cost_nusd"] = other
        event["latency_ms"] = round((now_ns() - request.received_ns) / 1e6, 3)
        event["overhead_ms"] = round(run.overhead_ms, 3)
        event["answers"], event["cache"] = run.answer_count, run.cache
        if facts is not None:
            event["facts"], event["found"] = facts.values, dict(facts.found)
        if run.vault is not None:
            event["masked"] = run.vault.counts
        if decision is not None:
            event["trace"], event["candidates"] = (
                TRACES.of(decision.trace),
                candidates_as_json(decision.candidates),
            )
        event["attempts"] = [self._attempt(run, attempt) for attempt in run.attempts]
        event["prices"] = _prices(run)
        if run.guard is not None:
            event["guard"] = run.guard.report.as_json()
        event["sealed_answers"], event["confidence"] = self._sealed(run), run.confidence
        event["shadow"] = run.shadow
        if said := asked_beside(run):
            event["beside"] = said
        if run.told is not None:
            event["learned"] = run.told.as_json()
        return event

    def _same(self, run: Run, purpose: str) -> dict[str, Any]:
        """Every field of an event, with what it is for all requests of a key, workload, class and rule. Not to be changed."""
        request, decision = run.request, run.decision
        workload, sensitivity = request.workload, run.facts.sensitivity if run.facts else ""
        version, digest, rule = run.policy_version, "", ""
        if decision is not None:
            digest, rule = decision.policy_hash, decision.rule
        endpoint = request.surface or request.endpoint
        key = (
            id(request.key), id(workload), endpoint, request.task, request.stream, request.origin, sensitivity, purpose,
            version, digest, rule,
        )  # fmt: skip
        known = self._known.get(key)
        if known is not None:
            return known[2]
        if len(self._known) >= KNOWN:
            self._known.clear()
        told: dict[str, Any] = {
            "kind": "usage", "event_id": "", "request_id": "", "decision_id": "", "at_ns": 0, "origin": request.origin,
            "organisation_id": request.key.organisation_id, "lob": request.key.lob, "purpose": purpose,
            "application": request.key.application, "key_id": request.key.id,
            "workload": workload.name if workload else "", "task": request.task,
            "tier": workload.tier if workload else "core", "endpoint": endpoint, "stream": request.stream,
            "sensitivity": sensitivity, "side": "", "deployment": "", "model": "", "policy_version": version,
            "policy_hash": digest, "rule": rule, "status": 0, "error_code": "", "cost_nusd": 0, "other_side_cost_nusd": None,
            "other_side_deployment": None, "latency_ms": 0.0, "overhead_ms": 0.0, "answers": 0, "cache": "", "facts": {},
            "found": {}, "masked": {}, "trace": [], "candidates": [], "attempts": [], "prices": {},
            "guard": {"verdict": "pass", "mode": "off"}, "sealed_answers": "", "confidence": None, "shadow": None,
        }  # fmt: skip
        self._known[key] = (request.key, workload, told)  # identities stay taken while they are known
        return told

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
        if not run.answers or run.facts is None or not run.world.policies.keeps(run.facts, "log"):
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
        if usage.batch:
            told["batch"] = True
        if run.masked is not None and target is not None and run.sent_to(target) is run.masked:
            told["masked"] = True
        return told


def _purpose(run: Run) -> str:
    """What it was for: calls that nobody waits for have lines of their own in the books."""
    hop = run.decision.hops[0].hop if run.decision and run.decision.hops else ""
    return hop if hop in ("shadow", "judge") else "answer"


def _prices(run: Run) -> Any:
    """The price in force when it was answered, so that the record explains its own cost."""
    return PRICES.of(run.answered_by) if run.answered_by is not None else {}


def _priced(target: DeploymentInfo) -> orjson.Fragment:
    if target.prices is not None:
        return orjson.Fragment(orjson.dumps(_sheet(target.prices)))
    assert target.rate is not None
    rate = target.rate
    told = {
        "version": rate.version, "node": rate.node, "nusd_per_hour": rate.nusd_per_hour,
        "planned_utilisation_ppm": rate.planned_utilisation_ppm,
    }  # fmt: skip
    return orjson.Fragment(orjson.dumps(told))


def _traced(trace: tuple[RuleTrace, ...]) -> orjson.Fragment:
    told = [{"rule": t.rule, "matched": t.matched, "reason": t.reason} for t in trace]
    return orjson.Fragment(orjson.dumps(told))


def _sheet(sheet: PriceSheet) -> dict[str, Any]:
    """Every class that has a price of its own, in nano-dollars; a tier says from which input on it holds."""
    told: dict[str, Any] = {
        "version": sheet.version, "source": sheet.source, "input_nusd_per_munit": sheet.input_nusd_per_munit,
        "output_nusd_per_munit": sheet.output_nusd_per_munit,
    }  # fmt: skip
    told |= {name: value for name in _CLASSES if (value := getattr(sheet, name)) is not None}
    told |= {name: value for name in _EXTRAS if (value := getattr(sheet, name))}
    if sheet.batch_ppm is not None:
        told["batch_ppm"] = sheet.batch_ppm
    if sheet.tiers:
        told["tiers"] = [{n: v for n in _TIER if (v := getattr(tier, n)) is not None} for tier in sheet.tiers]
    return told


# Twenty rules that didn't match are the same twenty for every request that the next one took: encoded once.
TRACES = Kept(_traced)
PRICES = Kept(_priced)
