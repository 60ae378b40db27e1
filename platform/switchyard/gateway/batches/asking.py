"""One line of a batch through the pipeline: parsed, inspected, decided, guarded and metered like anybody's call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from costs.contracts import AdmissionAsk, Grant, Settlement
from routing.contracts import Admission, Facts, GatewayRequest, KeyInfo, Snapshot
from routing.intake.parsing import SURFACE, parse
from routing.meter import Meter
from routing.pipeline import Desk, answer, open_run
from switchyard.core.clock import now_ns
from switchyard.core.conf import conf
from switchyard.core.crypto import seal_for_lob
from switchyard.core.errors import InvalidRequest, NotFound, PolicyDenied, SwitchyardError
from switchyard.core.ids import new_id
from switchyard.gateway.batches.journal import Entry
from switchyard.gateway.batches.lines import ENDPOINTS, Line, told
from switchyard.gateway.responses import asking as responses_asking
from switchyard.gateway.responses.items import items_of
from switchyard.gateway.responses.telling import Responses
from switchyard.gateway.versions import in_force

TRIES = 5
LONGEST_WAIT_S = 15.0
PASSING = {"rate_limit_exceeded", "upstream_busy", "upstream_timeout", "upstream_error", "no_deployment_available",
           "residency_capacity_unavailable", "budget_unavailable"}  # fmt: skip


@dataclass
class Held:
    """Admission as anybody has it, but settlements wait until the answer is on the disk."""

    admission: Admission
    waiting: dict[str, Settlement] = field(default_factory=dict)

    async def reserve(self, ask: AdmissionAsk) -> Grant:
        return await self.admission.reserve(ask)

    async def settle(self, settlement: Settlement) -> None:
        self.waiting[settlement.request_id] = settlement

    async def let_go(self, request_id: str) -> None:
        settlement = self.waiting.pop(request_id, None)
        if settlement is not None:
            await self.admission.settle(settlement)


def desk_of(desk: Desk, held: Held) -> Desk:
    """The process's desk, for work whose answers are kept in a file."""
    return replace(desk, admission=held, meter=Meter(held, seal_for_lob), inspect=_keepable(desk.inspect))


def _keepable(inspect: Callable[..., Facts]) -> Callable[..., Facts]:
    def look(request: GatewayRequest, world: Snapshot, live: Any) -> Facts:
        facts = inspect(request, world, live)
        if facts.sensitivity == "restricted" or not world.policies.keeps(facts, "log"):
            raise PolicyDenied(
                "Its answer would be kept in a file, which this data may not be: ask for it live.",
                decision_id=request.decision_id,
            )
        return facts

    return look


def request_of(line: Line, endpoint: str, key: KeyInfo, world: Snapshot, sensitivity: str) -> GatewayRequest:
    """The line as the pipeline reads it. Raises SwitchyardError with the parameter that is wrong."""
    body = _chat_of(line.body) if endpoint == "/v1/responses" else line.body
    headers = {SURFACE: endpoint.removeprefix("/v1/").encode()}
    if sensitivity:
        headers[b"x-switchyard-sensitivity"] = sensitivity.encode()
    request_id = new_id("req")
    request = parse(
        endpoint=ENDPOINTS[endpoint], raw=orjson.dumps(body), body=body, headers=headers, key=key, world=world,
        request_id=request_id, decision_id="dec_" + request_id[4:], received_ns=now_ns(),
    )  # fmt: skip
    return replace(request, batch=True)


def _chat_of(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("previous_response_id") or body.get("background"):
        raise InvalidRequest(
            "A line of a batch stands alone: leave `previous_response_id` and `background` out."
        )
    responses_asking.check_kept(body)
    return responses_asking.chat_of(body, [], items_of(body.get("input")))


async def ask(
    line: Line, endpoint: str, key: KeyInfo, world: Snapshot, sensitivity: str, desk: Desk, held: Held
) -> Entry:
    """The line's answer or refusal; what passes by itself is waited for. Its settlement waits in `held`."""
    for attempt in range(TRIES):
        request_id, status, body = new_id("req"), 200, {}
        version = in_force(world.policies, key.lob)
        try:
            request = request_of(line, endpoint, key, world, sensitivity)
            request_id = request.request_id
            version = in_force(world.policies, key.lob, request.sticky)
            run = await open_run(request, world, desk)
            version = run.policy_version
            body = _shaped(line, endpoint, await answer(run, desk), request_id)
        except SwitchyardError as error:
            if attempt + 1 < TRIES and error.code in PASSING:
                await held.let_go(request_id)
                await asyncio.sleep(min(LONGEST_WAIT_S, (error.retry_after_s or 1.0) * (attempt + 1)))
                continue
            status, body = error.status, error.body()
        break
    settlement = held.waiting.get(request_id)
    return Entry(
        line.number, status == 200, told(request_id[4:], line.custom_id, status, request_id, body, version),
        dict(settlement.event) if settlement else {}, settlement.cost_nusd if settlement else 0,
    )  # fmt: skip


def _shaped(line: Line, endpoint: str, payload: dict[str, Any], request_id: str) -> dict[str, Any]:
    if endpoint != "/v1/responses":
        return payload
    dialect = Responses.of(line.body)
    return dialect.shaped(payload, request_id[4:]) | {"store": False}


def key_of(key_id: str, world: Snapshot) -> KeyInfo:
    """Whoever's key was revoked or has expired is answered no more. Raises NotFound."""
    for key in world.keys.values():
        if key.id == key_id and not (key.expires_ns and key.expires_ns <= now_ns()):
            return key
    raise NotFound("The key that asked for this batch was revoked or has expired.", code="invalid_api_key")


def width() -> int:
    """How many lines are in flight at once."""
    return int(conf("BATCH_LINES_AT_ONCE"))
