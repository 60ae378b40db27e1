"""Equal deployments share their work; what a policy tells apart keeps its order."""

from __future__ import annotations

import random
from typing import Any

from routing.contracts import DeploymentInfo, PlannedHop
from routing.execution.balance import QUEUE_FACTOR, overflows, spread


def deployment(name: str, **changes: Any) -> DeploymentInfo:
    values: dict[str, Any] = {
        "organisation_id": 1, "side": "private", "base_url": f"http://{name}/v1", "api_key": "", "model": "m",
        "tasks": frozenset({"chat"}), "lobs": frozenset(), "region": "", "max_output_tokens": 64, "max_concurrency": 10,
        "heads": False,
    }  # fmt: skip
    return DeploymentInfo(name=name, **values | changes)


def plan(*names: str, worst: int = 5) -> tuple[PlannedHop, ...]:
    return tuple(PlannedHop(name, "fallback" if i else "first", worst) for i, name in enumerate(names))


def order(
    hops: tuple[PlannedHop, ...], deployments: list[DeploymentInfo], in_flight: dict[str, int]
) -> list[str]:
    found = spread(hops, {d.name: d for d in deployments}, in_flight, random.Random(7))
    assert [hop.hop for hop in found] == [hop.hop for hop in hops]  # kinds belong to places
    return [hop.deployment for hop in found]


def test_the_least_loaded_of_equals_is_asked_first() -> None:
    three = [deployment(name) for name in "abc"]
    assert order(plan("a", "b", "c"), three, {"a": 4, "b": 9, "c": 1}) == ["c", "a", "b"]


def test_load_is_measured_against_what_each_takes_at_a_time() -> None:
    two = [deployment("a", max_concurrency=100), deployment("b", max_concurrency=4)]
    assert order(plan("a", "b"), two, {"a": 20, "b": 2}) == ["a", "b"]


def test_idle_equals_share_by_chance() -> None:
    two = {d.name: d for d in (deployment("a"), deployment("b"))}
    draw = random.Random(1)
    firsts = [spread(plan("a", "b"), two, {}, draw)[0].deployment for _ in range(400)]
    assert 150 < firsts.count("a") < 250


def test_another_side_model_region_or_price_is_no_equal() -> None:
    for change in (
        {"side": "external"},
        {"model": "other"},
        {"region": "eu"},
        {"upstream_models": {"w": "m@2"}},
    ):
        two = [deployment("a"), deployment("b", **change)]
        assert order(plan("a", "b"), two, {"a": 9}) == ["a", "b"]
    hops = (*plan("a"), PlannedHop("b", "fallback", 6))
    assert order(hops, [deployment("a"), deployment("b")], {"a": 9}) == ["a", "b"]


def test_only_neighbours_change_places_and_a_cascade_never() -> None:
    three = [deployment("a"), deployment("ext", side="external"), deployment("b")]
    assert order(plan("a", "ext", "b"), three, {"a": 9}) == ["a", "ext", "b"]
    sure = (PlannedHop("a", "first", 5, until_confidence=0.9), PlannedHop("b", "fallback", 5))
    assert order(sure, three, {"a": 9}) == ["a", "b"]


def test_a_full_deployment_hands_over_to_others_and_alone_queues_to_a_limit() -> None:
    target = deployment("a")
    assert overflows(10, target, others=True) and not overflows(9, target, others=True)
    assert not overflows(10, target, others=False)
    assert overflows(10 * QUEUE_FACTOR, target, others=False)
