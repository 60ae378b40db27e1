"""Every kind of request there is to prove for: each workload, and none, at each class it can have. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.policy.cel import Compare, Items, Literal, Path
from routing.policy.facts import CLASS_NAMES, CLASSES, KEEPER, TIERS
from routing.policy.witness import Wanted


@dataclass(frozen=True, slots=True)
class WorkloadFact:
    """A workload as the proof sees it."""

    name: str
    lob: str
    task: str
    tier: str
    sensitivity: str


@dataclass(frozen=True, slots=True)
class TargetFact:
    name: str
    side: str
    model: str
    region: str


OURSELVES = TargetFact(**KEEPER)


@dataclass(frozen=True, slots=True)
class Request:
    """`known`: by dotted names; what is missing may be anything."""

    known: Mapping[str, Any]
    declared: bool  # its class is the one its workload declares; else it was raised
    passed: list[Wanted] = field(default_factory=list)  # rules that it can match and must not have


def requests_of(workloads: Sequence[WorkloadFact], lobs: Sequence[str]) -> Iterator[Request]:
    """Every workload, and a request without one, at its declared class and at each it can be raised to."""
    for lob in lobs:
        own = [w for w in workloads if w.lob == lob]
        highest = max((w.sensitivity for w in own), key=CLASSES.__getitem__, default="internal")
        without = {
            "workload.name": "", "workload.tier": "core", "lob.slug": lob,
            "workload.sensitivity": max(highest, "internal", key=CLASSES.__getitem__),
        }  # fmt: skip
        named = [
            {
                "workload.name": w.name, "workload.task": w.task, "workload.tier": w.tier,
                "workload.sensitivity": w.sensitivity, "lob.slug": lob,
            }
            for w in own
        ]  # fmt: skip
        for known in (*named, without):
            declared = known["workload.sensitivity"]
            for sensitivity in CLASS_NAMES[CLASSES[declared] :]:
                yield Request({**known, "data.sensitivity": sensitivity}, sensitivity == declared)


def coming(workloads: Sequence[WorkloadFact], lobs: Sequence[str]) -> Iterator[Request]:
    """Requests of workloads that nobody has registered yet: every tier, declared class and class of the data."""
    names = tuple(Literal(w.name, 1) for w in workloads)
    registered = Compare("in", Path("workload.name", 1), Items((*names, Literal("", 1)), 1), 1)
    for lob in lobs:
        for tier in TIERS:
            for declared in CLASS_NAMES:
                for sensitivity in CLASS_NAMES[CLASSES[declared] :]:
                    known = {
                        "workload.tier": tier, "workload.sensitivity": declared, "lob.slug": lob,
                        "data.sensitivity": sensitivity,
                    }  # fmt: skip
                    yield Request(known, sensitivity == declared, [(registered, False)])
