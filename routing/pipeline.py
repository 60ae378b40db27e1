"""The sentence: inspect → decide → admit → execute → guard → meter → respond. Free of Django and of the database."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from costs.contracts import AdmissionAsk
from costs.outage import Books, BooksAway
from routing import quote, shapes
from routing.apart import NOTHING
from routing.caching.exact import AnswerCache, serve
from routing.caching.streams import Tape, replay
from routing.contracts import Admission, Facts, GatewayRequest, LobInfo, Snapshot
from routing.execution.balance import balance
from routing.execution.base import Completion
from routing.execution.deadlines import Deadline
from routing.execution.fallback import Executor
from routing.execution.shadow import Shadows
from routing.execution.streaming import relay
from routing.guards.base import RiskGuard
from routing.guards.swaps import by_kind, flipped, with_swaps
from routing.masking import runs as masking
from routing.meter import Meter
from routing.policy.candidates import NOT_NAMED
from routing.run import Run
from switchyard.core.errors import (
    InvalidRequest,
    PolicyDenied,
    ResidencyUnavailable,
    SwitchyardError,
    Unavailable,
)
from switchyard.core.money import format_usd, nusd_to_usd

NAMED_EVERY = 4  # of the answers one is looked at for the kinds of group that it names, withheld or not
Inspect = Callable[[GatewayRequest, Snapshot, "Live"], Facts]


@dataclass(slots=True)
class Live:
    """Facts that move by themselves: a local copy, as old as this process's last admission."""

    budget_used_ppm: dict[str, int] = field(default_factory=dict)  # key id → fullest budget on its path
    private_queue_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pipeline needs of its process."""

    inspect: Inspect
    admission: Admission
    executor: Executor
    meter: Meter
    guard_for: Callable[[LobInfo], RiskGuard]
    swaps: Callable[[str], Sequence[str]]
    live: Live
    deadline_s: float
    named: Callable[[str], Sequence[str]] = lambda text: ()
    shadows: Shadows = field(default_factory=Shadows)
    cache: AnswerCache | None = None
    books: BooksAway = field(default_factory=BooksAway)


async def open_run(request: GatewayRequest, world: Snapshot, desk: Desk) -> Run:
    """Inspect, decide, admit. A refusal is metered (with its reasons) and raised."""
    run = Run(request, world, Deadline(desk.deadline_s), guard_for=desk.guard_for)
    try:
        desk.live.private_queue_s = quote.private_queue_s(request, world, desk.executor.load.in_flight)
        run.facts = desk.inspect(request, world, desk.live)
        decide(run)
        if run.decision is not None and run.decision.mask:
            masking.prepare(run)
        balance(run, desk.executor.load.in_flight)
        guard(run, desk)
        if desk.cache is not None and run.decision is not None and run.decision.cache is not None:
            run.hit = await desk.cache.find(run)
        if run.hit is None and (books := desk.books.state()) != "here":
            without_books(run, books)
        await admit(run, desk)
    except SwitchyardError as error:
        await refuse(run, desk, error)
        raise
    return run


def guard(run: Run, desk: Desk) -> None:
    """The guard, where it is on or the policy asks for it."""
    request, world, decision = run.request, run.world, run.decision
    assert decision is not None and run.facts is not None
    if world.lobs[request.key.lob].guard_mode == "off" and not decision.guards:
        return
    watching = run.guard
    assert watching is not None
    if zlib.crc32(request.request_id.encode()) % NAMED_EVERY == 0:
        watching.naming = desk.named
    if decision.guards:
        watching.obey(decision.guards)
    watching.keep_text = watching.keep_text and world.policies.keeps(run.facts, "log")


def decide(run: Run) -> None:
    """Raises PolicyDenied, ResidencyUnavailable or Unavailable when no hop is permitted."""
    request, world = run.request, run.world
    assert run.facts is not None
    run.candidates = quote.candidates_in(world, request)
    worst = quote.worst_cases(request, run.candidates)
    run.decision = world.policies.decide(
        run.facts,
        run.candidates,
        lob=request.key.lob,
        worst_case=worst,
        sticky=request.sticky,
        scores=_chances(run),
    )
    if request.apart is not NOTHING and run.decision.hops:
        _keep_priced(run)
    if request.max_cost_nusd is not None or run.decision.max_cost_nusd is not None:
        caps = [cap for cap in (request.max_cost_nusd, run.decision.max_cost_nusd) if cap is not None]
        if run.decision.hops:
            _keep_affordable(run, min(caps))
    if not run.decision.hops:
        raise _refusal(run)


def without_books(run: Run, books: Books) -> None:
    """While the database is away nothing leaves, and after a while nothing is answered. Raises Unavailable."""
    assert run.decision is not None
    at_home = tuple(hop for hop in run.decision.hops if run.target(hop).side == "private")
    if books == "closed" or not at_home:
        raise Unavailable(
            "The database can't be reached, so what this call costs could not be written down. Try again shortly.",
            retry_after_s=5,
        )
    run.decision = replace(run.decision, hops=at_home, shadows=())


def _chances(run: Run) -> Mapping[str, float] | None:
    """Each deployment's chance at this prompt, where a policy in force asks; what fails leaves evaluated quality to speak."""
    if run.world.learned is None:
        return None
    assert run.facts is not None
    keeps = run.world.lobs[run.request.key.lob].keep_text and run.world.policies.keeps(run.facts, "training")
    run.told = run.world.learned.ask(run.request, run.facts, run.candidates, keeps_text=keeps)
    return run.told.chances if run.told is not None else None


def _keep_priced(run: Run) -> None:
    """Only whoever has a price for all that the request pays for. Raises InvalidRequest when nobody is left."""
    assert run.decision is not None
    told, kept = None, {}
    for name in (*(hop.deployment for hop in run.decision.hops), *run.decision.shadows):
        target = run.world.deployments[name]
        missing = run.request.apart.missing(target.prices) if target.side == "external" else None
        kept[name], told = missing is None, told or missing
    hops = tuple(hop for hop in run.decision.hops if kept[hop.deployment])
    if not hops:
        assert told is not None
        field, why = told
        raise InvalidRequest(f"`{field}` can't be asked for: {why}.", param=field)
    if told is not None:
        run.decision = replace(
            run.decision, hops=hops, shadows=tuple(name for name in run.decision.shadows if kept[name])
        )


def _keep_affordable(run: Run, cap_nusd: int) -> None:
    assert run.decision is not None
    hops = tuple(hop for hop in run.decision.hops if hop.worst_case_nusd <= cap_nusd)
    if not hops:
        least = min(hop.worst_case_nusd for hop in run.decision.hops)
        raise PolicyDenied(
            f"Every permitted deployment may cost more than the cap of ${nusd_to_usd(cap_nusd)}; the least is "
            f"${nusd_to_usd(least)}. Lower max_tokens or raise the cap.",
            decision_id=run.request.decision_id,
        )
    run.decision = replace(run.decision, hops=hops)


def _refusal(run: Run) -> SwitchyardError:
    assert run.decision is not None
    if run.decision.refusal == "residency":
        return ResidencyUnavailable(
            "The policy keeps this data at home and nobody there can take it.", retry_after_s=5
        )
    if run.decision.refusal == "no_deployment":
        if (version := run.request.version) is not None and _unnamed(run, version.deployment):
            return PolicyDenied(
                f"No rule that applies names {version.deployment}, where {version.name} runs: rule {run.decision.rule!r} "
                f"decides for {version.workload} and names others. Have {version.deployment} added to that rule's route.",
                decision_id=run.request.decision_id,
            )
        return Unavailable(
            f"Rule {run.decision.rule!r} matched, but none of its deployments can take the request."
        )
    return PolicyDenied(
        f"The policy refuses this request (rule {run.decision.rule!r}).", decision_id=run.request.decision_id
    )


def _unnamed(run: Run, deployment: str) -> bool:
    """Whether the matched rule names others only: then no later try finds it free."""
    assert run.decision is not None
    return any(
        reason.startswith(NOT_NAMED)
        for view in run.decision.candidates
        if view.deployment == deployment
        for reason in view.reasons
    )


async def admit(run: Run, desk: Desk) -> None:
    """One call: limits, breakers, and the dearest hop reserved in every budget on the path. A kept answer needs no budget
    and no breaker, but it is a request like any other to the limits."""
    request, decision = run.request, run.decision
    assert decision is not None
    if run.hit is not None:
        run.grant = await desk.admission.reserve(
            AdmissionAsk(request.request_id, 0, 0, limits=request.key.limits)
        )
        return
    ask = AdmissionAsk(
        request_id=request.request_id, worst_case_nusd=_dearest(run), tokens=max(1, len(request.raw) // 4),
        budgets=request.key.budgets, limits=request.key.limits, breakers=tuple([h.deployment for h in decision.hops]),
        checkpoint=desk.meter.checkpoint(run), organisation_id=request.key.organisation_id,
    )  # fmt: skip
    run.grant = await desk.admission.reserve(ask)
    if run.grant.budget_used_ppm:
        desk.live.budget_used_ppm[request.key.id] = max(run.grant.budget_used_ppm.values())


def _dearest(run: Run) -> int:
    """A cascade may pay for all of its hops, anything else for the dearest."""
    assert run.decision is not None
    total, dearest, cascade = 0, 0, False
    for hop in run.decision.hops:
        total += hop.worst_case_nusd
        dearest = max(dearest, hop.worst_case_nusd)
        cascade = cascade or hop.until_confidence is not None
    return total if cascade else dearest


async def refuse(run: Run, desk: Desk, error: SwitchyardError) -> None:
    run.status, run.error_code = error.status, error.code
    await desk.meter.finish(run)


async def answer(run: Run, desk: Desk) -> dict[str, Any]:
    """The whole answer in the client's shape: executed, guarded, metered."""
    try:
        if run.hit is not None and run.hit.payload is not None:
            serve(run, run.hit)
            payload = run.hit.payload
        else:
            if run.request.task == "classification" and run.watched:
                completion = await _execute_probed(run, desk)
            else:
                completion = await desk.executor.whole(run)
            payload = _guarded(run, completion)
    except SwitchyardError as error:
        await refuse(run, desk, error)
        raise
    except BaseException:
        run.status, run.error_code = 499, "client_closed_request"
        await desk.meter.finish(run)
        raise
    await desk.meter.finish(run)
    if desk.cache is not None and run.cache_key:
        desk.cache.keep(run, payload=payload)
    if run.hit is None and run.decision is not None and run.decision.shadows:
        desk.shadows.follow(run)
    return payload


async def answer_stream(run: Run, desk: Desk) -> AsyncGenerator[bytes, None]:
    """The same as frames. Errors before the first byte are raised, later ones end the stream in words."""
    try:
        if run.request.task in ("chat", "completion"):
            source = replay(run, desk.meter) if run.hit is not None else relay(run, desk.executor, desk.meter)
            tape = Tape(run, desk.cache) if desk.cache is not None and run.cache == "miss" else None
            async with aclosing(source) as frames:
                async for frame in frames:
                    if tape is not None:
                        tape.add(frame)
                    yield frame
            if tape is not None:
                tape.keep()
            if run.hit is None:
                desk.shadows.follow(run)
            return
        whole = await answer(run, desk)
        for frame in shapes.chat_as_frames(whole):
            yield frame
        if run.request.include_usage:
            usage, cost = whole["usage"], format_usd(run.cost_nusd)
            yield shapes.data_frame(
                shapes.usage_chunk(whole, usage, cost_usd=cost, decision_id=run.request.decision_id)
            )
        yield shapes.DONE
    except SwitchyardError as error:
        await refuse(run, desk, error)
        raise
    finally:
        if not run.settled:
            run.status = 503 if run.error_code else 499
            run.error_code = run.error_code or "client_closed_request"
            await desk.meter.finish(run)


async def _execute_probed(run: Run, desk: Desk) -> Completion:
    """Execute; texts that name a group go along with a swapped copy, and a flipped label is a finding."""
    request = run.request
    assert run.guard is not None
    if run.guard.report.mode == "off":
        return await desk.executor.whole(run)
    texts = list(request.body["input"])
    probe = with_swaps(texts, desk.swaps, desk.named)
    if not probe.origins:
        return await desk.executor.whole(run)
    masked, vault = run.masked, run.vault
    run.request = replace(request, body=dict(request.body) | {"input": probe.inputs})
    masking.remask(run)
    try:
        completion = await desk.executor.whole(run)
    finally:
        run.request, run.masked, run.vault = request, masked, vault
    rows = completion.payload["data"]
    flips = flipped(rows, probe)
    completion.payload["data"] = rows[: len(texts)]
    completion.answers = run.answers = completion.answers[: len(texts)]
    completion.withheld = {i: risk for i, risk in completion.withheld.items() if i < len(texts)}
    run.guard.report.probed = by_kind(probe, flips)
    for index in flips:
        if not run.guard.flag("counterfactual_flip", 1.0):
            completion.payload["data"][index] = {"index": index, "label": None, "scores": [], "blocked": True}
    return completion


def _guarded(run: Run, completion: Completion) -> dict[str, Any]:
    """The answer after the guard, in the client's shape."""
    request, guard = run.request, run.guard if run.watched or completion.withheld else None
    payload = completion.payload
    if guard is not None:
        for risk in completion.withheld.values():
            guard.withheld_by_model(risk)
    if request.task in ("chat", "completion"):
        run.answer_count = len(payload["choices"])
        for choice, text in zip(payload["choices"], completion.texts, strict=True):
            if guard is not None and not guard.allows(text):
                _withhold(choice)
    else:
        run.answer_count = len(payload.get("data") or payload.get("results") or ())
        if request.endpoint == "chat/completions":
            payload = shapes.as_chat(request, payload)
    return payload


def _withhold(choice: dict[str, Any]) -> None:
    """Nothing of the answer leaves: not its text, its tool calls or its log-probabilities."""
    choice["finish_reason"] = "content_filter"
    choice["logprobs"] = None
    if "message" in choice:
        choice["message"] = {"role": "assistant", "content": ""}
    else:
        choice["text"] = ""
