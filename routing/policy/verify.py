"""Proof before publish: every kind of request against every invariant, what is unknown chosen by an adversary.

Save refuses (docs/decisions/0003), each with the request that proves it:

1. `declared`: a rule lists a target that an invariant forbids for the class a matched request declares;
2. `class asked for`: a rule whose condition tests data.sensitivity admits a class that none of its targets may see;
3. `never lawful`: a rule lists a target that is forbidden for every request the rule can match.

A request raised above its declared class (header, inspection) falls to the next permitted target, or is refused with
503: the engine asks every invariant again at each hop. Where nobody would be left the proof warns. What becomes of each
invariant at each of the eight hops is told besides (hops.py); only what the document itself asks for is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.policy.cel import Node
from routing.policy.counterexamples import CounterExample
from routing.policy.facts import CLASS_NAMES, MASKED
from routing.policy.hops import ALWAYS, HopBook, HopVerdict
from routing.policy.kinds import OURSELVES, Request, TargetFact, WorkloadFact, coming, requests_of
from routing.policy.outcomes import mentioned, possible
from routing.policy.rules import Document, Invariant, Route
from routing.policy.said import _
from routing.policy.uses import Use, unknown_deployments, uses_of
from routing.policy.witness import witness

__all__ = [
    "OURSELVES", "CounterExample", "Proof", "TargetFact", "Use", "WorkloadFact", "prove", "unknown_deployments", "uses_of",
]  # fmt: skip


@dataclass(slots=True)
class Proof:
    """Holds when there are no counter-examples. `cases`: (rule, request, target, hop, invariant) looked at."""

    examples: list[CounterExample] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cases: int = 0
    hops: list[HopVerdict] = field(default_factory=list)


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
    book = HopBook(invariants, targets)
    requests, others = list(requests_of(workloads, lobs)), list(coming(workloads, lobs))
    every = (*requests, *others)  # held: the book goes by their identity
    book.take_rows(every)
    for i, rule in enumerate(document.rules):
        (admitted, requests), (more, others) = _parted(rule.tree, requests), _parted(rule.tree, others)
        if not admitted:
            message = _("Rule %(rule)s matches no workload there is today.") % {"rule": repr(rule.name)}
            proof.warnings.append(message)
        path = f"rules[{i}].route"
        _prove_route(proof, rule.name, path, rule.route, rule.tree, admitted, invariants, targets)
        book.take(rule.name, rule.route, rule.tree, (*admitted, *more))
        for request in (*admitted, *more):
            request.passed.append((rule.tree, False))  # those that go on must have passed it
    if document.default is not None:
        _prove_route(proof, "default", "default", document.default, ALWAYS, requests, invariants, targets)
        book.take("default", document.default, ALWAYS, (*requests, *others))
        if not document.invariants:
            proof.warnings.append(
                _(
                    "It holds no invariant: nothing is proven, and data of every class goes wherever a rule names."
                )
            )
    proof.hops = book.verdicts(proof.examples)
    return proof


def _parted(tree: Node, requests: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """(those that the condition may admit, those that it may let go on)."""
    admitted, going_on = [], []
    for request in requests:
        outcomes = possible(tree, request.known)
        if True in outcomes:
            admitted.append(request)
        if False in outcomes:
            going_on.append(request)
    return admitted, going_on


def _prove_route(
    proof: Proof,
    name: str,
    path: str,
    route: Route,
    tree: Node,
    admitted: Sequence[Request],
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
        first_class, *more = (c for c in CLASS_NAMES if c in stranded)
        classes: str = first_class
        for other in more:
            classes = _("%(one)s or %(other)s") % {"one": classes, "other": other}
        proof.warnings.append(
            _(
                "Rule %(rule)s names nobody who may see data raised to %(classes)s: such requests will be refused (503)."
            )
            % {"rule": repr(name), "classes": classes}
        )


def _seen(known: Mapping[str, Any], target: TargetFact, hop: str, masked: bool) -> dict[str, Any]:
    """The facts of a request with those of one target on one hop."""
    return {
        **known, "target.name": target.name, "target.side": target.side, "target.model": target.model,
        "target.region": target.region, "hop": hop, MASKED: masked,
    }  # fmt: skip
