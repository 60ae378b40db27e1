"""Which of several equal deployments is asked first, and how many calls may wait at one: pure, of what this process knows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from routing.contracts import DeploymentInfo, PlannedHop

if TYPE_CHECKING:
    from routing.run import Run

# Calls at a deployment, in multiples of those it works on at a time: up to it they wait in its own queue, where they are
# batched; whoever comes later is better served by an answer at once.
QUEUE_FACTOR = 8


def spread(
    hops: Sequence[PlannedHop],
    deployments: Mapping[str, DeploymentInfo],
    in_flight: Mapping[str, int],
    draw: random.Random | None = None,
) -> tuple[PlannedHop, ...]:
    """The plan with the least loaded first among neighbours that are equal; chance decides between equally loaded ones.

    Equal are deployments that a rule can't mean to tell apart: same side, model, region and worst-case cost. Each hop keeps
    its place's kind (first, fallback), for which policy is asked again when it is made. Cascades keep their order.
    """
    if len(hops) < 2 or not _any_equal(hops, deployments):
        return tuple(hops)
    if any(hop.until_confidence is not None for hop in hops):
        return tuple(hops)
    order: list[PlannedHop] = []
    start = 0
    chance = (draw or random).random
    for end in range(1, len(hops) + 1):
        if end < len(hops) and _equal(hops[start], hops[end], deployments):
            continue
        group = hops[start:end]
        if len(group) > 1:
            group = sorted(group, key=lambda hop: (_load(hop, deployments, in_flight), chance()))
        order += [
            hop if hop.hop == hops[start + i].hop else replace(hop, hop=hops[start + i].hop)
            for i, hop in enumerate(group)
        ]
        start = end
    return tuple(order)


def balance(run: Run, in_flight: Mapping[str, int]) -> None:
    """The run's plan, spread."""
    decision = run.decision
    if decision is not None and len(decision.hops) > 1:
        hops = spread(decision.hops, run.world.deployments, in_flight)
        if hops != decision.hops:
            run.decision = replace(decision, hops=hops)


def _equal(one: PlannedHop, other: PlannedHop, deployments: Mapping[str, DeploymentInfo]) -> bool:
    a, b = deployments[one.deployment], deployments[other.deployment]
    return (
        one.worst_case_nusd == other.worst_case_nusd
        and a.side == b.side
        and a.model == b.model
        and a.region == b.region
        and a.upstream_models == b.upstream_models
    )


def _any_equal(hops: Sequence[PlannedHop], deployments: Mapping[str, DeploymentInfo]) -> bool:
    before = hops[0]
    for hop in hops[1:]:
        if before.worst_case_nusd == hop.worst_case_nusd and _equal(before, hop, deployments):
            return True
        before = hop
    return False


def _load(hop: PlannedHop, deployments: Mapping[str, DeploymentInfo], in_flight: Mapping[str, int]) -> float:
    """Calls in flight over those it takes at a time."""
    return in_flight.get(hop.deployment, 0) / max(1, deployments[hop.deployment].max_concurrency)


def overflows(count: int, target: DeploymentInfo, *, others: bool) -> bool:
    """Whether a call is not made at `target`: it works on all it can and somebody else may answer, or its queue is full."""
    if others:
        return count >= target.max_concurrency
    return count >= QUEUE_FACTOR * target.max_concurrency
