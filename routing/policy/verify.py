"""Proof before publish: every combination of the finite facts against every invariant; unknown facts are adversarial.

What save refuses, with the request that proves it (docs/decisions/0003):

1. a route that lists a target which an invariant forbids for *every* class a matched request can have, because the
   rule could only ever break it or fail;
2. a route whose *declared* class (the workload's own) already forbids a listed target, while the rule's condition can
   be true for that workload: the author asks for something the organisation has ruled out;
3. a rule after which a raised request (header or inspection) would have no permitted target at all, where the rule
   also lists a forbidden one: it would fail only for the most sensitive data.

At run time the same invariants are asked again at every hop, so even an unverified document can't let data out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.policy.compile import possible
from routing.policy.facts import CLASS_NAMES, CLASSES, TASKS, TIERS
from routing.policy.rules import Document, Invariant, Route, Rule


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


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A request that would break an invariant if nothing else stopped it."""

    invariant: str
    rule: str
    path: str
    facts: dict[str, Any]
    deployment: str
    hop: str

    def sentence(self) -> str:
        facts = self.facts
        return (
            f"Rule {self.rule!r} would send a request of workload {facts['workload.name'] or '(none)'!r} "
            f"({facts['lob.slug']}, {facts['workload.tier']}, data {facts['data.sensitivity']}) to {self.deployment!r} "
            f"as {self.hop}, which the invariant {self.invariant!r} forbids."
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "invariant": self.invariant, "rule": self.rule, "facts": self.facts, "deployment": self.deployment, "hop": self.hop,
        }  # fmt: skip


def unknown_deployments(document: Document, known: set[str]) -> Iterator[tuple[str, str]]:
    """(path, name) of targets that don't exist."""
    routes = [(f"rules[{i}].route", rule.route) for i, rule in enumerate(document.rules)]
    if document.default is not None:
        routes.append(("default", document.default))
    for path, route in routes:
        for name in route.named:
            if name not in known:
                yield path, name


def counter_examples(
    document: Document,
    invariants: Sequence[Invariant],
    workloads: Sequence[WorkloadFact],
    targets: Mapping[str, TargetFact],
    *,
    lob: str | None,
) -> list[CounterExample]:
    """One example for each (rule, invariant) that can break; empty = proven for these workloads and targets."""
    found = []
    routes: list[tuple[str, str, Route, Rule | None]] = [
        (f"rules[{i}]", rule.name, rule.route, rule) for i, rule in enumerate(document.rules)
    ]
    if document.default is not None:
        routes.append(("default", "default", document.default, None))
    for (path, name, route, rule), invariant in itertools.product(routes, invariants):
        example = _breaks(path, name, route, rule, invariant, workloads, targets, lob)
        if example is not None:
            found.append(example)
    return found


def _requests(workloads: Sequence[WorkloadFact], lob: str | None) -> Iterator[tuple[dict[str, Any], str]]:
    """(known facts, declared class) of every kind of request: each workload at each class it can be raised to."""
    for workload in workloads:
        if lob is not None and workload.lob != lob:
            continue
        for sensitivity in CLASS_NAMES[CLASSES[workload.sensitivity] :]:
            yield {
                "workload.name": workload.name, "workload.task": workload.task, "workload.tier": workload.tier,
                "workload.sensitivity": workload.sensitivity, "lob.slug": workload.lob, "data.sensitivity": sensitivity,
            }, workload.sensitivity  # fmt: skip


def _breaks(
    path: str,
    name: str,
    route: Route,
    rule: Rule | None,
    invariant: Invariant,
    workloads: Sequence[WorkloadFact],
    targets: Mapping[str, TargetFact],
    lob: str | None,
) -> CounterExample | None:
    for facts, declared in _requests(workloads, lob):
        if rule is not None and True not in possible(rule.tree, facts):
            continue
        forbidden = [
            (target, hop)
            for target, hop in _uses(route)
            if target in targets and _forbids(invariant, facts, targets[target], hop)
        ]
        if not forbidden:
            continue
        allowed = [
            t for t, hop in _uses(route) if t in targets and not _forbids(invariant, facts, targets[t], hop)
        ]
        if facts["data.sensitivity"] == declared or not allowed:
            return CounterExample(invariant.name, name, path, facts, *forbidden[0])
    return None


def _uses(route: Route) -> list[tuple[str, str]]:
    """(target, hop) for everything a route may do with the data. Any target can end up first."""
    return [
        *((t, "first") for t in route.targets),
        *((t, "fallback") for t in route.fallback),
        *((t, "shadow") for t in route.shadow),
    ]


def _forbids(invariant: Invariant, facts: Mapping[str, Any], target: TargetFact, hop: str) -> bool:
    known = {
        **facts, "target.name": target.name, "target.side": target.side, "target.model": target.model,
        "target.region": target.region, "hop": hop,
    }  # fmt: skip
    return True in possible(invariant.tree, known)


def typical_workloads(lobs: Sequence[str]) -> list[WorkloadFact]:
    """Workloads that don't exist yet but may be made tomorrow: every tier, task and class, for a strict proof."""
    return [
        WorkloadFact("", lob, task, tier, sensitivity)
        for lob, task, tier, sensitivity in itertools.product(lobs, TASKS, TIERS, CLASS_NAMES)
    ]
