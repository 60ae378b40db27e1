"""Where each group of equal requests would go under a version, as shares: each draw of a split counts by its weight. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from costs import pricing
from routing.contracts import Decision, DeploymentInfo, Facts, Hop
from routing.policy.candidates import broken_invariant
from routing.policy.engine import CompiledPolicies, Rollout, can_do
from routing.policy.rules import CALLER, Document, Invariant, Route, Rule
from routing.whatif.columns import Group
from routing.whatif.relevant import routes_of

BYTES_PER_TOKEN = 4
Chain = tuple[
    tuple[str, float | None], ...
]  # (deployment, confidence it must reach), in order; empty = refused


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way a group's requests go, and the share of them that goes it."""

    share: float
    chain: Chain
    rule: str
    crossed: tuple[str, ...] = ()  # invariants that forbid one of its hops


@dataclass(frozen=True, slots=True)
class _Option:
    """A combination of documents in force for a share of the traffic, once for each place in its splits."""

    share: float
    drawn: tuple[CompiledPolicies, ...]
    splits: Mapping[str, tuple[float, ...]]  # rule → weights


@dataclass
class Arm:
    """Every document as it would be in force. `base` and `own`: (share, document) for the organisation and by LOB."""

    base: Sequence[tuple[float, Document | None]]
    own: Mapping[str, Sequence[tuple[float, Document | None]]]
    _options: dict[str, list[_Option]] = field(default_factory=dict)

    def documents(self) -> list[Document]:
        parts = [self.base, *self.own.values()]
        return [document for part in parts for _share, document in part if document is not None]

    @property
    def invariants(self) -> tuple[Invariant, ...]:
        found = [i for _share, document in self.base if document is not None for i in document.invariants]
        return tuple({i.source: i for i in found}.values())

    def options(self, lob: str) -> list[_Option]:
        if lob not in self._options:
            self._options[lob] = [
                _option(share * part, own, base, lob)
                for part, own in self.own.get(lob) or [(1.0, None)]
                for share, base in self.base
            ]
        return self._options[lob]


def shares_of(rollout: Rollout | None) -> list[tuple[float, Document | None]]:
    """What is in force of one scope: both versions while one is rolled out to a part."""
    if rollout is None:
        return [(1.0, None)]
    if rollout.percent >= 100:
        return [(1.0, rollout.document)]
    share = rollout.percent / 100
    return [(share, rollout.document), (1 - share, rollout.previous)]


def _option(share: float, own: Document | None, base: Document | None, lob: str) -> _Option:
    base = _apart(own, base)
    documents = [d for d in (own, base) if d is not None]
    drawing = [r for d in documents for r in routes_of(d) if _draws(r)]
    places = max((len(route.weights) for route in drawing), default=1)
    splits = {
        name: tuple(weight for _target, weight in route.weights)
        for d in documents
        for name, route in [*((r.name, r.route) for r in d.rules), *([("default", d.default)] if d.default else [])]
        if _draws(route)
    }  # fmt: skip
    drawn = tuple(
        CompiledPolicies(
            Rollout(_drawn(base, place)) if base is not None else None,
            {lob: Rollout(_drawn(own, place))} if own is not None else {},
        )
        for place in range(places)
    )
    return _Option(share, drawn, splits)


def _draws(route: Route) -> bool:
    return route.kind == "split" and route.sticky == CALLER


def _apart(own: Document | None, base: Document | None) -> Document | None:
    """Decisions name their rule: those of the organisation get names of their own where both documents use one."""
    taken = {rule.name for rule in own.rules} if own is not None else set()
    if base is None or not any(rule.name in taken for rule in base.rules):
        return base
    rules = [replace(r, name=f"{r.name} (organisation)") if r.name in taken else r for r in base.rules]
    return replace(base, rules=tuple(rules))


def _drawn(document: Document, place: int) -> Document:
    """The document with each split drawn: its target at this place first, the others after it."""

    def rule(old: Rule) -> Rule:
        return replace(old, route=_fixed(old.route, place)) if _draws(old.route) else old

    if not any(_draws(route) for route in routes_of(document)):
        return document
    default = document.default
    if default is not None and _draws(default):
        default = _fixed(default, place)
    return replace(document, rules=tuple(map(rule, document.rules)), default=default)


def _fixed(route: Route, place: int) -> Route:
    names = [name for name, _weight in route.weights]
    first = names[min(place, len(names) - 1)]
    return replace(route, kind="prefer", targets=(first, *(n for n in names if n != first)), weights=())


def decide_group(
    group: Group, arm: Arm, deployments: Iterable[DeploymentInfo], guarded: Sequence[Invariant]
) -> list[Outcome]:
    """Where this group goes under an arm; shares sum to 1. `guarded`: invariants that no hop may break."""
    facts = Facts(group.facts)
    known = [d for d in deployments if can_do(d, group.task) and (not d.lobs or group.lob in d.lobs)]
    by_name = {d.name: d for d in known}
    worst = {d.name: group.worst_case.get(d.name, _worst(d, group)) for d in known if d.billable}
    found: list[Outcome] = []
    for option in arm.options(group.lob):
        if not option.share:
            continue

        def decision(place: int, option: _Option = option) -> Decision:
            compiled = option.drawn[place]
            return compiled.decide(facts, known, lob=group.lob, worst_case=worst, scores=group.chances)

        first = decision(0)
        weights = option.splits.get(first.rule)
        if weights is None:
            found.append(_outcome(option.share, first, facts, by_name, guarded))
            continue
        for place, weight in enumerate(weights):
            taken = first if place == 0 else decision(place)
            share = option.share * weight / sum(weights)
            found.append(_outcome(share, taken, facts, by_name, guarded))
    return found


def _outcome(
    share: float,
    decision: Decision,
    facts: Facts,
    by_name: Mapping[str, DeploymentInfo],
    guarded: Sequence[Invariant],
) -> Outcome:
    hops = [
        h for h in decision.hops
        if decision.max_cost_nusd is None or h.worst_case_nusd <= decision.max_cost_nusd
    ]  # fmt: skip
    chain: list[tuple[str, float | None]] = []
    for hop in hops:
        chain.append((hop.deployment, hop.until_confidence))
        if hop.until_confidence is None:
            break
    if chain:
        chain[-1] = (chain[-1][0], None)
    asked: list[tuple[str, Hop, bool]] = [(h.deployment, h.hop, h.masked) for h in hops]
    asked += [(name, "shadow", decision.mask) for name in decision.shadows]
    crossed = (
        broken_invariant(guarded, facts, by_name[name], hop, masked=masked) for name, hop, masked in asked
    )
    return Outcome(share, tuple(chain), decision.rule, tuple(sorted({c for c in crossed if c})))


def _worst(target: DeploymentInfo, group: Group) -> int:
    """A worst case for somebody who wasn't there when the request came: as large as its facts say it was."""
    request = group.facts["request"]
    return pricing.worst_case(
        prices=target.prices, rate=target.rate, text_bytes=BYTES_PER_TOKEN * request["tokens_in"],
        max_tokens=request["max_tokens"] or target.max_output_tokens,
        usual_accelerator_ns=target.usual_accelerator_ns.get(group.workload),
    )  # fmt: skip
