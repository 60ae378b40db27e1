"""The order in which a matched route asks its targets. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from routing.contracts import Facts
from routing.policy.candidates import Standing
from routing.policy.rules import CALLER, Route
from switchyard.core.quick import quick

_LAST = 2**63  # sorts after every known cost or time


@quick
@dataclass(frozen=True, slots=True)
class Asked:
    """What differs from request to request: costs, who asks, what they wish for, and each deployment's chance."""

    facts: Facts
    worst_case: Mapping[str, int]
    sticky: str
    wish: str
    scores: Mapping[str, float]


def ordered(
    route: Route, standing: Standing, asked: Asked
) -> tuple[tuple[str, ...], tuple[str, ...], Mapping[str, str]]:
    """(targets in order, fallbacks, notes on those the floor or the accuracy objective holds back)."""
    order, notes = _by_kind(route, standing, asked)
    fallback = route.fallback
    if route.kind == "cascade":
        return order, fallback, notes
    if asked.wish and asked.wish in order:
        order = (asked.wish, *(name for name in order if name != asked.wish))
    frame = standing.frame
    if frame.resting and (tired := [n for n in (*order, *fallback) if frame.rests(n, asked.sticky)]):
        # Whoever burns the error budget comes after everybody else that the rule names; nobody is refused for it.
        order = tuple(n for n in (*order, *fallback) if n not in tired)
        fallback = tuple(dict.fromkeys(tired))
        objective = "accuracy objective: it burns the workload's error budget"
        notes = dict.fromkeys(fallback, objective) | dict(notes)
    return order, fallback, notes


def _by_kind(route: Route, standing: Standing, asked: Asked) -> tuple[tuple[str, ...], Mapping[str, str]]:
    if route.kind == "choose":
        return _chosen(route, standing, asked)
    if route.kind == "split":
        return _split(route.weights, split_key(route, asked.facts, asked.sticky)), standing.under_floor
    return route.targets, standing.under_floor


def _chosen(route: Route, standing: Standing, asked: Asked) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Those that meet the floor, by cost, speed or quality; the order of the document breaks ties."""
    scores = asked.scores if route.learned else {}
    missed = standing.under_floor
    if scores and route.quality_floor is not None:
        missed = standing.floored(scores)
    names = [n for n in standing.first if n not in missed] if missed else list(standing.first)
    if len(names) > 1:
        if route.choose == "best":
            names.sort(key=lambda n: -standing.chance(n, scores)[0])
        elif route.choose == "fastest":
            frame = standing.frame
            names.sort(key=lambda n: frame.by_name[n].usual_accelerator_ns.get(frame.workload, _LAST))
        else:
            costs = asked.worst_case
            names.sort(key=lambda n: costs.get(n, _LAST))
    return tuple(names), missed


def split_key(route: Route, facts: Facts, sticky: str) -> str:
    """A fact's value where the route names one, so that all who share it are drawn alike; else the caller's."""
    if route.sticky == CALLER:
        return sticky
    group, _, name = route.sticky.partition(".")
    return f"{route.sticky}:{facts.values[group][name]}"


def _split(weights: Sequence[tuple[str, float]], sticky: str) -> tuple[str, ...]:
    """The drawn target first, the others after it in the document's order. Sticky: the same key, the same draw."""
    total = sum(weight for _, weight in weights)
    point = (zlib.crc32(b"split" + sticky.encode()) / 2**32) * total
    reached = 0.0
    drawn = weights[-1][0]
    for name, weight in weights:
        reached += weight
        if point < reached:
            drawn = name
            break
    return (drawn, *(name for name, _ in weights if name != drawn))
