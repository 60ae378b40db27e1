"""The state of one request on its way: facts, decision, reservation, attempts, verdict. One object, one request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from costs.contracts import Charge, Grant, Outcome, Usage
from routing.contracts import Answered, Decision, DeploymentInfo, Facts, GatewayRequest, PlannedHop, Snapshot
from routing.execution.base import AttemptFailed, Completion
from routing.execution.deadlines import Deadline
from routing.guards.base import RiskGuard
from routing.quote import attempt_charge

if TYPE_CHECKING:
    from routing.caching.exact import Hit
    from routing.contracts import LobInfo
    from routing.masking.vault import Vault


@dataclass(slots=True)
class Run:
    request: GatewayRequest
    world: Snapshot
    deadline: Deadline
    started: float = field(default_factory=time.perf_counter)
    facts: Facts | None = None
    decision: Decision | None = None
    candidates: list[DeploymentInfo] = field(default_factory=list)
    grant: Grant | None = None
    guard_for: Callable[[LobInfo], RiskGuard] | None = None  # makes `guard` when somebody needs one
    _guard: RiskGuard | None = None
    attempts: list[Answered] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    masked: GatewayRequest | None = None  # what a hop that must not see personal data is sent
    vault: Vault | None = None  # what its placeholders stand for
    upstream_s: float = 0.0
    answered_by: DeploymentInfo | None = None
    answers: list[Any] = field(default_factory=list)
    answer_count: int = 0
    confidence: float | None = None
    told: Any = None  # chances by deployment, where the policy asks for them (routing.learned.live.Told)
    status: int = 200
    error_code: str = ""
    settled: bool = False
    cache: str = "bypass"  # hit | miss | bypass
    cache_key: str = ""  # where its answer may be kept
    cache_s: float = 0.0  # what looking for it took
    hit: Hit | None = None
    shadow: dict[str, Any] | None = (
        None  # {"of": decision, "agrees": bool | None} when nobody waits for the answer
    )

    @property
    def guard(self) -> RiskGuard | None:
        if self._guard is None and self.guard_for is not None:
            self._guard = self.guard_for(self.world.lobs[self.request.key.lob])
        return self._guard

    @guard.setter
    def guard(self, guard: RiskGuard | None) -> None:
        self._guard = guard

    @property
    def watched(self) -> bool:
        """Whether a guard was needed: where it is off and the policy asks for none, nobody makes it."""
        return self._guard is not None

    @property
    def cost_nusd(self) -> int:
        if len(self.attempts) == 1:  # nearly always
            return self.attempts[0].cost_nusd
        return sum(attempt.cost_nusd for attempt in self.attempts)

    @property
    def overhead_ms(self) -> float:
        """Our own share of the time so far."""
        return max(0.0, (time.perf_counter() - self.started - self.upstream_s) * 1000)

    @property
    def policy_version(self) -> str:
        return self.decision.policy_version if self.decision else "none"

    def sent_to(self, target: DeploymentInfo) -> GatewayRequest:
        """What this deployment may be sent: the request, or its masked copy where the plan says so."""
        for hop in self.decision.hops if self.decision is not None else ():
            if hop.masked and hop.deployment == target.name:
                if self.masked is None:
                    raise RuntimeError(f"{target.name} may only see masked text, and there is none")
                return self.masked
        return self.request

    def target(self, hop: PlannedHop) -> DeploymentInfo:
        return self.world.deployments[hop.deployment]

    def attempted(
        self,
        target: DeploymentInfo,
        *,
        began: float,
        began_ns: int,
        usage: Usage,
        model: str,
        failure: AttemptFailed | None = None,
        status: str = "",
        upstream_id: str = "",
    ) -> Answered:
        """Record one upstream attempt: each is paid for and kept as its own."""
        took = time.perf_counter() - began
        self.upstream_s += took
        # A failure before any answer costs nothing: vendors bill what they deliver, nodes what they computed.
        usage = usage.timed(usage.accelerator_ns, int(took * 1e9), usage.source)
        paid = failure is None or failure.usage is not None
        if paid and usage.searches is None and self.request.apart.searches and target.side == "external":
            usage = replace(usage, searches=self.request.apart.searches)  # as many as were reserved for
        charge = attempt_charge(usage, target) if paid else Charge(0)
        attempt = Answered(
            deployment=target.name, side=target.side, model=model, attempt=len(self.attempts),
            status=status or ("error" if failure else "ok"), error=failure.kind if failure else "", started_ns=began_ns,
            duration_ms=took * 1000, usage=usage, cost_nusd=charge.cost_nusd, price_version=self.price_of(target),
            http_status=failure.http_status if failure else 200, legs=charge.legs, saved=charge.saved,
            upstream_id=upstream_id,
        )  # fmt: skip
        self.attempts.append(attempt)
        well = failure is None or failure.kind not in AttemptFailed.BREAKER
        rest_s = failure.retry_after_s if failure is not None else None
        self.outcomes.append((target.name, well, round(1000 * rest_s)) if rest_s else (target.name, well))
        return attempt

    @staticmethod
    def price_of(target: DeploymentInfo) -> str:
        """The version of the price that a call there is metered by."""
        return target.prices.version if target.prices else (target.rate.version if target.rate else "")

    def accept(self, target: DeploymentInfo, completion: Completion) -> None:
        self.answered_by = target
        self.answers = completion.answers
        self.confidence = completion.confidence
