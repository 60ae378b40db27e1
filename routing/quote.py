"""What a request may cost at each candidate, what an attempt did cost, and what the other side would have asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from costs import pricing
from costs.contracts import Charge, Usage
from routing.contracts import DeploymentInfo, Facts, GatewayRequest, Policies, Snapshot
from routing.execution.adapters import output_cap
from routing.policy.engine import can_do

# No call outlives a stream's 165 s by more than the 20 s in which it may say nothing; vendors that charge by the second
# are reserved for that long.
LONGEST_CALL_NS = 200_000_000_000


def answers_asked(request: GatewayRequest) -> int:
    """How many answers the request asks for: inputs, records, or choices."""
    body = request.body
    for name in ("input", "records"):
        if isinstance(body.get(name), list):
            return max(1, len(body[name]))
    return int(body.get("n") or 1)


def candidates_for(request: GatewayRequest, deployments: Iterable[DeploymentInfo]) -> list[DeploymentInfo]:
    """Deployments of the organisation that this line of business may name and that can do the task; of a version that was
    asked for by name only its own."""
    lob, task = request.key.lob, request.task
    only = request.version.deployment if request.version is not None else ""
    return [
        d
        for d in deployments
        if (task in d.tasks or can_do(d, task))
        and (not d.lobs or lob in d.lobs)
        and (not only or only == d.name)
    ]


def worst_cases(request: GatewayRequest, candidates: Sequence[DeploymentInfo]) -> dict[str, int]:
    """Nano-dollars by deployment; those without a price have no entry."""
    answers = answers_asked(request)
    choices = int(request.body.get("n") or 1)
    workload = request.workload.name if request.workload else ""
    costs = {}
    for target in candidates:
        if not target.billable:
            continue
        generates = request.task in ("chat", "completion")
        cap = output_cap(request, target) if generates else 64 * answers
        costs[target.name] = pricing.worst_case(
            prices=target.prices, rate=target.rate, text_bytes=len(request.raw), max_tokens=cap,
            n=choices, answers=answers, usual_accelerator_ns=target.usual_accelerator_ns.get(workload),
            duration_ns=LONGEST_CALL_NS,
        )  # fmt: skip
    return costs


def private_queue_s(request: GatewayRequest, world: Snapshot, in_flight: Mapping[str, int]) -> float:
    """How long the busiest private deployment is busy with what this process sent it, in seconds."""
    workload = request.workload.name if request.workload else ""
    longest = 0.0
    for name, count in in_flight.items():
        target = world.deployments.get(name)
        if count and target is not None and target.side == "private":
            longest = max(longest, count * target.usual_accelerator_ns.get(workload, 0) / 1e9)
    return longest


def attempt_charge(usage: Usage, target: DeploymentInfo) -> Charge:
    """What an attempt cost, by its parts."""
    return pricing.charge_of(usage, prices=target.prices, rate=target.rate)


def attempt_cost(usage: Usage, target: DeploymentInfo) -> int:
    return attempt_charge(usage, target).cost_nusd


def other_side(
    request: GatewayRequest,
    facts: Facts,
    policies: Policies,
    *,
    side: str,
    usage: Usage,
    answers: int,
    candidates: Sequence[DeploymentInfo],
) -> tuple[str, int] | None:
    """(deployment, nano-dollars) of the cheapest on the other side that residency would have allowed, or None."""
    workload = request.workload.name if request.workload else ""
    others = [
        pricing.OtherSide(d.name, d.prices, d.rate, d.usual_accelerator_ns.get(workload))
        for d in candidates
        if d.side != side and d.billable and policies.permits(facts, d, "first")
    ]
    return pricing.other_side_cost(usage, answers, others) if others else None
