"""Proof before publish: every kind of request against every invariant, what is unknown chosen by an adversary.

Save refuses (docs/decisions/0003), each with the request that proves it:

1. `declared`: a rule lists a target that an invariant forbids for the class a matched request declares;
2. `class asked for`: a rule whose condition tests data.sensitivity admits a class that none of its targets may see;
3. `never lawful`: a rule lists a target that is forbidden for every request the rule can match.

A request raised above its declared class (header, inspection) falls to the next permitted target, or is refused with
503: the engine asks every invariant again at each hop. Where nobody would be left the proof warns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.policy.cel import Literal, Node
from routing.policy.facts import CLASS_NAMES, CLASSES, KEEPER, MASKED
from routing.policy.outcomes import mentioned, possible
from routing.policy.rules import Document, Invariant, Route
from routing.policy.witness import Wanted, witness

TRUE = Literal(True, 1)


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
class Use:
    """A target that a route may send data to, on which hop, and where the document says so."""

    target: str  # empty: we ourselves keep it
    hop: str
    path: str
    masked: bool = False  # only masked text would leave


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A request that the document would send where an invariant forbids it."""

    invariant: str
    rule: str
    path: str
    facts: Mapping[str, Any]
    deployment: str
    side: str
    hop: str
    masked: bool = False
    certain: bool = True  # `facts` are of a request that does it; else nobody could find one, nor rule it out

    def sentence(self) -> str:
        facts = self.facts
        workload = f"workload {facts['workload.name']!r}" if facts["workload.name"] else "no workload"
        request = (
            f"a request of {workload} ({facts['lob.slug']}, {facts['workload.tier']}, data "
            f"{facts['data.sensitivity']})"
        )
        if not self.deployment:
            return (
                f"Rule {self.rule!r} would keep the answer to {request} for the same question again ({self.hop}), which the "
                f"invariant {self.invariant!r} forbids. Leave `cache` out, or let the condition leave such requests out."
            )
        return (
            f"Rule {self.rule!r} would send {request} to {self.deployment!r} ({self.side}) as {self.hop}"
            f"{', masked' if self.masked else ''}, which the invariant "
            f"{self.invariant!r} forbids. Name other deployments, or let the rule's condition leave such requests out."
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "invariant": self.invariant, "rule": self.rule, "facts": dict(self.facts), "deployment": self.deployment,
            "side": self.side, "hop": self.hop, "masked": self.masked,
            "certain": self.certain,
        }  # fmt: skip


@dataclass(slots=True)
class Proof:
    """Holds when there are no counter-examples. `cases`: (rule, request, target, hop, invariant) looked at."""

    examples: list[CounterExample] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cases: int = 0


@dataclass(frozen=True, slots=True)
class _Request:
    known: Mapping[str, Any]
    declared: bool  # its class is the one its workload declares; else it was raised
    passed: list[Wanted] = field(default_factory=list)  # rules that it can match and must not have


def prove(
    document: Document,
    invariants: Sequence[Invariant],
    workloads: Sequence[WorkloadFact],
    targets: Mapping[str, TargetFact],
    *,
    lobs: Sequence[str],
) -> Proof:
    """Check one document for the requests of `lobs`: one example for each rule and invariant that can break."""
    proof = Proof()
    requests = list(_requests(workloads, lobs))
    for i, rule in enumerate(document.rules):
        admitted, going_on = [], []
        for request in requests:
            outcomes = possible(rule.tree, request.known)
            if True in outcomes:
                admitted.append(request)
            if False in outcomes:
                going_on.append(request)
        if not admitted:
            proof.warnings.append(f"Rule {rule.name!r} matches no workload there is today.")
        path = f"rules[{i}].route"
        _prove_route(proof, rule.name, path, rule.route, rule.tree, admitted, invariants, targets)
        for request in admitted:
            request.passed.append((rule.tree, False))  # those that go on must have passed it
        requests = going_on
    if document.default is not None:
        _prove_route(proof, "default", "default", document.default, TRUE, requests, invariants, targets)
    return proof


def _requests(workloads: Sequence[WorkloadFact], lobs: Sequence[str]) -> Iterator[_Request]:
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
                yield _Request({**known, "data.sensitivity": sensitivity}, sensitivity == declared)


def _prove_route(
    proof: Proof,
    name: str,
    path: str,
    route: Route,
    tree: Node,
    admitted: Sequence[_Request],
    invariants: Sequence[Invariant],
    targets: Mapping[str, TargetFact],
) -> None:
    targets = {**targets, "": OURSELVES}
    uses = [use for use in uses_of(route, path) if use.target in targets]
    by_class = "data.sensitivity" in mentioned(tree)
    lawful: set[Use] = set()
    stranded: set[str] = set()
    broken: dict[str, CounterExample] = {}
    first: dict[Use, CounterExample] = {}
    for request in admitted:
        forbidden: dict[Use, CounterExample] = {}
        for use in uses:
            if not use.target and request.known["data.sensitivity"] == "restricted":
                continue  # nobody keeps restricted data, whatever a document says
            target = targets[use.target]
            masked = use.masked and target.side == "external"
            for invariant in invariants:
                proof.cases += 1
                seen = _seen(request.known, target, use.hop, masked)
                if True not in possible(invariant.tree, seen):
                    continue
                search = witness(seen, [(tree, True), (invariant.tree, True), *request.passed])
                if search.found is None and search.sure:
                    continue  # it looked as if it could come true, and can't
                facts = {**request.known, **(search.found or {})}
                forbidden[use] = CounterExample(
                    invariant.name, name, use.path, facts, use.target, target.side, use.hop, masked,
                    certain=search.found is not None,
                )  # fmt: skip
                break
            else:
                lawful.add(use)
        answering = [use for use in uses if use.hop in ("first", "fallback")]
        nobody = bool(answering) and all(use in forbidden for use in answering)
        if request.declared or (by_class and nobody):
            for example in forbidden.values():
                broken.setdefault(example.invariant, example)
        elif nobody:
            stranded.add(request.known["data.sensitivity"])
        for use, example in forbidden.items():
            first.setdefault(use, example)
    for use, example in first.items():
        if use not in lawful:
            broken.setdefault(example.invariant, example)
    proof.examples.extend(broken.values())
    if stranded and not broken:
        classes = " or ".join(c for c in CLASS_NAMES if c in stranded)
        proof.warnings.append(
            f"Rule {name!r} names nobody who may see data raised to {classes}: such requests will be refused (503)."
        )


def uses_of(route: Route, path: str = "") -> list[Use]:
    """Everything a route may do with the data. A list in order tries its later ones as fallbacks; others may draw anyone."""
    field_name = {"prefer": "prefer", "choose": "among", "cascade": "cascade", "split": "split"}.get(
        route.kind, ""
    )
    in_order = route.kind in ("prefer", "cascade")
    uses = []
    for i, target in enumerate(route.targets):
        where = f"{path}.split.{target}" if route.kind == "split" else f"{path}.{field_name}[{i}]"
        uses.append(Use(target, "fallback" if i and in_order else "first", where, route.mask))
    uses += [Use(t, "fallback", f"{path}.fallback[{i}]", route.mask) for i, t in enumerate(route.fallback)]
    uses += [Use(t, "shadow", f"{path}.shadow[{i}]", route.mask) for i, t in enumerate(route.shadow)]
    if route.cache is not None:
        uses.append(Use("", "cache", f"{path}.cache"))
    return uses


def _seen(known: Mapping[str, Any], target: TargetFact, hop: str, masked: bool) -> dict[str, Any]:
    """The facts of a request with those of one target on one hop."""
    return {
        **known, "target.name": target.name, "target.side": target.side, "target.model": target.model,
        "target.region": target.region, "hop": hop, MASKED: masked,
    }  # fmt: skip


def unknown_deployments(document: Document, known: set[str]) -> Iterator[tuple[str, str]]:
    """(path, name) of targets that don't exist."""
    routes = [(f"rules[{i}].route", rule.route) for i, rule in enumerate(document.rules)]
    if document.default is not None:
        routes.append(("default", document.default))
    for path, route in routes:
        for use in uses_of(route, path):
            if use.target and use.target not in known:
                yield use.path, use.target
