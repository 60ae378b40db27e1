"""What a request may cost at each candidate, what an attempt did cost, and what the other side would have asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from costs import pricing
from costs.contracts import Charge, PriceSheet, Usage
from routing.apart import NOTHING
from routing.contracts import DeploymentInfo, Facts, GatewayRequest, Policies, Snapshot
from routing.execution.adapters import answers_of, asked_cap, written_for
from routing.kept import Kept
from routing.policy.engine import can_do
from switchyard.core.money import leg_nusd

# No call outlives a stream's 165 s by more than the 20 s in which it may say nothing; vendors that charge by the second
# are reserved for that long.
LONGEST_CALL_NS = 200_000_000_000


def answers_asked(request: GatewayRequest) -> int:
    """How many answers the request asks for: inputs, records, or choices."""
    body = request.body
    for name in ("input", "records"):
        if isinstance(body.get(name), list):
            return max(1, len(body[name]))
    return answers_of(body)


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
    body, answers, size = request.body, answers_asked(request), len(request.raw)
    choices, apart = written_for(body), request.apart
    workload = request.workload.name if request.workload else ""
    asked = 64 * answers  # tokens that may come back; of texts the request's own cap, else each deployment's
    if request.task in ("chat", "completion"):
        asked = asked_cap(body)
    costs: dict[str, int] = {}
    for target in candidates:
        if not target.billable:
            continue
        cap = asked or target.max_output_tokens
        if target.prices is not None:
            if apart is not NOTHING:
                costs[target.name] = pricing.worst_case(
                    prices=target.prices, rate=None, text_bytes=size + apart.tokens_in,
                    max_tokens=cap * choices + apart.predicted, duration_ns=LONGEST_CALL_NS, searches=apart.searches,
                    heard=apart.heard, spoken=apart.spoken,
                )  # fmt: skip
                continue
            costs[target.name] = WORST.of(target.prices)(size, cap * choices)
            continue
        most = max(answers, choices)
        known = AT_HOME.of(target)
        cost = known.get((workload, most))
        if cost is None:
            if len(known) >= KNOWN:
                known.clear()
            cost = known[workload, most] = pricing.worst_case(
                prices=None, rate=target.rate, text_bytes=size, max_tokens=cap, n=choices, answers=answers,
                usual_accelerator_ns=target.usual_accelerator_ns.get(workload), duration_ns=LONGEST_CALL_NS,
            )  # fmt: skip
        costs[target.name] = cost
    return costs


def _worst_by(sheet: PriceSheet) -> Callable[[int, int], int]:
    """pricing.worst_case of a sheet, by bytes of text and all tokens that may come back; what a sheet without tiers says of
    itself is worked out once."""
    if sheet.tiers:
        return lambda size, tokens_out: pricing.worst_case(
            prices=sheet, rate=None, text_bytes=size, max_tokens=tokens_out, duration_ns=LONGEST_CALL_NS
        )
    price, cached, write, out, reasoning = pricing.prices_at(sheet, 0)
    dearest_in, dearest_out = max(price, cached or 0, write or 0), max(out, reasoning or 0)
    nothing = pricing.worst_case(
        prices=replace(sheet, minimum_nusd=0),
        rate=None,
        text_bytes=0,
        max_tokens=0,
        duration_ns=LONGEST_CALL_NS,
    )
    least = sheet.minimum_nusd

    def worst(size: int, tokens_out: int) -> int:
        cost = leg_nusd(size, dearest_in) + leg_nusd(tokens_out, dearest_out) + nothing
        return cost if cost > least else least

    return worst


def _plain_by(sheet: PriceSheet) -> Callable[[Usage], Charge] | None:
    """pricing.charge_of of tokens in and out by a sheet that asks for nothing else, as most do; None for another."""
    if sheet.tiers or sheet.call_nusd_per_munit or sheet.second_nusd_per_munit or sheet.minimum_nusd:
        return None
    price_in, price_out = sheet.input_nusd_per_munit, sheet.output_nusd_per_munit

    def plain(usage: Usage) -> Charge:
        cost_in = leg_nusd(usage.tokens_in, price_in)
        cost_out = leg_nusd(usage.tokens_out, price_out) if usage.tokens_out else 0
        legs = {"input": cost_in} if cost_in else {}
        if cost_out:
            legs["output"] = cost_out
        return Charge(cost_in + cost_out, legs)

    return plain


def _nothing_known(target: DeploymentInfo) -> dict[tuple[str, int], int]:
    return {}


KNOWN = 1024
WORST = Kept(_worst_by)
PLAIN = Kept(_plain_by)
AT_HOME = Kept(_nothing_known)  # by workload and answers: at home bytes and tokens cost nothing by themselves


def private_queue_s(request: GatewayRequest, world: Snapshot, in_flight: Mapping[str, int]) -> float:
    """How long the busiest private deployment is busy with what this process sent it, in seconds."""
    workload = request.workload.name if request.workload else ""
    longest = 0.0
    for name, count in in_flight.items():
        target = world.deployments.get(name)
        if count and target is not None and target.side == "private":
            longest = max(longest, count * target.usual_accelerator_ns.get(workload, 0) / 1e9)
    return longest


def candidates_in(world: Snapshot, request: GatewayRequest) -> list[DeploymentInfo]:
    """`candidates_for` of a snapshot: the same list for all requests that are alike in this. Not to be changed."""
    only = request.version.deployment if request.version is not None else ""
    key = ("candidates", request.key.lob, request.task, only)
    found = world.memo.get(key)
    if found is None:
        found = world.memo[key] = candidates_for(request, world.deployments.values())
    return found  # type: ignore[no-any-return]


def attempt_charge(usage: Usage, target: DeploymentInfo) -> Charge:
    """What an attempt cost, by its parts."""
    if target.prices is not None and not pricing.counted_apart(usage):
        plain = PLAIN.of(target.prices)
        if plain is not None:
            return plain(usage)
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
