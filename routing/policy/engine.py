"""Facts in, an ordered list of permitted hops out, with the reason for every rule and every candidate. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from routing.contracts import CandidateView, Decision, DeploymentInfo, Facts, Hop, PlannedHop, RuleTrace
from routing.policy.candidates import CLOSED, Candidates, broken_invariant, can_do
from routing.policy.rules import CALLER, Document, Invariant, Route

__all__ = ["CompiledPolicies", "Rollout", "can_do", "decision_as_json"]
MIN_ROWS_UNDER_FLOOR = 30
_DENY = Route("deny")
_LAST = 2**63  # sorts after every known cost or time


@dataclass(frozen=True, slots=True)
class Rollout:
    """A document in force for `percent` of the traffic (by a sticky hash), the one before it for the rest."""

    document: Document
    percent: int = 100
    previous: Document | None = None

    def pick(self, sticky: str) -> Document | None:
        if self.percent >= 100:
            return self.document
        share = zlib.crc32(sticky.encode()) % 100
        return self.document if share < self.percent else self.previous

    @property
    def invariants(self) -> tuple[Invariant, ...]:
        """Those of both versions while both are in force: residency is not rolled out by halves."""
        before = self.previous.invariants if self.previous is not None and self.percent < 100 else ()
        own = {invariant.source for invariant in self.document.invariants}
        return (*self.document.invariants, *(i for i in before if i.source not in own))


@dataclass(frozen=True)
class CompiledPolicies:
    """The live documents of one organisation. Implements routing.contracts.Policies."""

    organisation: Rollout | None
    lobs: Mapping[str, Rollout] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)  # preference rules that failed, counted
    invariants: tuple[Invariant, ...] = field(init=False)

    def __post_init__(self) -> None:
        invariants = self.organisation.invariants if self.organisation is not None else (CLOSED,)
        object.__setattr__(self, "invariants", invariants)

    def permits(self, facts: Facts, target: DeploymentInfo, hop: Hop, *, masked: bool = False) -> bool:
        return broken_invariant(self.invariants, facts, target, hop, masked=masked) is None

    def keeps(self, facts: Facts, hop: Hop) -> bool:
        """Restricted data is kept by nobody (docs/decisions/0057), whatever an invariant says."""
        return (
            facts.sensitivity != "restricted" and broken_invariant(self.invariants, facts, None, hop) is None
        )

    def decide(
        self,
        facts: Facts,
        candidates: Sequence[DeploymentInfo],
        *,
        lob: str,
        worst_case: Mapping[str, int],
        sticky: str = "",
        scores: Mapping[str, float] | None = None,
    ) -> Decision:
        """See the protocol. `worst_case`: nano-dollars by deployment."""
        own = self.lobs[lob].pick(sticky) if lob in self.lobs else None
        base = self.organisation.pick(sticky) if self.organisation else None
        documents = [document for document in (own, base) if document is not None]
        workload = facts.values["workload"]
        trace: list[RuleTrace] = []
        route, name = self._first_match(documents, facts, trace)
        if route is None:
            route = (base.default if base else None) or _DENY
            name = "default"
            trace.append(RuleTrace("default", True, "no rule matched"))
        view = Candidates(
            facts=facts, lob=lob, task=workload["task"], workload=workload["name"], worst_case=worst_case,
            by_name={c.name: c for c in candidates}, invariants=self.invariants, mask=route.mask, scores=scores or {},
        )  # fmt: skip
        hops = _hops(route, view, sticky, facts.values["request"]["wish"])
        shadows = tuple(s for s in route.shadow if hops and view.allows(s, "shadow"))
        return Decision(
            hops=hops, shadows=shadows, trace=tuple(trace), candidates=_views(route, name, hops, view), rule=name,
            policy_version="+".join(d.label for d in reversed(documents)) or "none",
            policy_hash="+".join(d.hash[:12] for d in reversed(documents)), refusal="" if hops else _refusal(route, view),
            max_cost_nusd=route.max_cost_nusd, guards=route.guards, mask=route.mask,
            cache=route.cache if hops and route.cache is not None and self.keeps(facts, "cache") else None,
        )  # fmt: skip

    def _first_match(
        self, documents: Sequence[Document], facts: Facts, trace: list[RuleTrace]
    ) -> tuple[Route | None, str]:
        values = facts.values
        for document in documents:
            for rule in document.rules:
                try:
                    matched = bool(rule.matches(values))
                except Exception as error:
                    self.errors[rule.name] = self.errors.get(rule.name, 0) + 1
                    skipped = f"skipped: {type(error).__name__} in its condition"
                    trace.append(RuleTrace(rule.name, False, skipped))
                    continue
                trace.append(rule.traces[matched])
                if matched:
                    return rule.route, rule.name
        return None, ""


def _hops(route: Route, view: Candidates, sticky: str, wish: str) -> tuple[PlannedHop, ...]:
    """The route's own targets in its order, then its fallbacks; each allowed as what it would be."""
    order = _ordered(route, view, sticky)
    if wish and wish in order and route.kind != "cascade":
        order = [wish, *(name for name in order if name != wish)]
    fallback = list(route.fallback)
    if route.kind != "cascade" and (tired := [n for n in (*order, *fallback) if view.rests(n, sticky)]):
        # Whoever burns the error budget comes after everybody else that the rule names; nobody is refused for it.
        order = [n for n in (*order, *fallback) if n not in tired]
        fallback = list(dict.fromkeys(tired))
    planned: list[tuple[str, Hop]] = []
    for name in order:
        hop: Hop = "fallback" if planned else "first"
        if view.allows(name, hop):
            planned.append((name, hop))
    own = len(planned)
    taken = {name for name, _ in planned}
    for name in fallback:
        if name not in taken and view.allows(name, "fallback"):
            planned.append((name, "fallback"))
    hops = []
    for i, (name, hop) in enumerate(planned):
        # The last of a cascade's own targets is taken as it comes: there is nobody better to ask.
        until = route.until_confidence if i < own - 1 else None
        masked = view.mask and view.by_name[name].side == "external"
        hops.append(PlannedHop(name, hop, view.worst_case.get(name, 0), until, masked))
    return tuple(hops)


def _ordered(route: Route, view: Candidates, sticky: str) -> list[str]:
    if route.kind == "choose":
        return _chosen(route, view)
    if route.kind == "split":
        return _split(route.weights, _split_key(route, view.facts, sticky))
    return list(route.targets)


def _chosen(route: Route, view: Candidates) -> list[str]:
    """Those that meet the floor, by cost, speed or quality; the order of the document breaks ties."""
    names = [name for name in route.targets if view.allows(name, "first")]
    if route.quality_floor is not None:
        _apply_floor(route, view, names)
        names = [name for name in names if name not in view.under_floor]
    if route.choose == "best":
        return sorted(names, key=lambda n: -_quality(route, view, n)[0])
    if route.choose == "fastest":
        return sorted(names, key=lambda n: view.by_name[n].usual_accelerator_ns.get(view.workload, _LAST))
    return sorted(names, key=lambda n: view.worst_case.get(n, _LAST))


def _apply_floor(route: Route, view: Candidates, names: Sequence[str]) -> None:
    """Relative to the best evaluated of all candidates, also those that may not see this data."""
    floor = route.quality_floor or 0.0
    if not route.floor_is_absolute:
        evaluated = (_quality(route, view, n) for n in view.by_name)
        floor *= max((q for q, rows in evaluated if rows >= MIN_ROWS_UNDER_FLOOR), default=0.0)
    for name in names:
        accuracy, rows = _quality(route, view, name)
        if rows < MIN_ROWS_UNDER_FLOOR:
            view.under_floor[name] = f"quality floor: {rows} evaluated rows, {MIN_ROWS_UNDER_FLOOR} needed"
        elif accuracy < floor:
            view.under_floor[name] = f"quality floor: {accuracy:.3f} is under {floor:.3f}"


def _quality(route: Route, view: Candidates, name: str) -> tuple[float, int]:
    """(accuracy, evaluated rows); a learned choice goes by the chance of a right answer to this prompt where it is known."""
    if route.learned and name in view.scores:
        return view.scores[name], MIN_ROWS_UNDER_FLOOR
    return view.quality(name)


def _views(
    route: Route, rule: str, hops: Sequence[PlannedHop], view: Candidates
) -> tuple[CandidateView, ...]:
    """Every deployment that does the task, with all that speaks against it."""
    planned = {hop.deployment for hop in hops}
    named = {*route.targets, *route.fallback}
    rows = []
    for name, target in view.by_name.items():
        if not can_do(target, view.task):
            continue
        reasons = list(view.reasons(name, "first"))
        if name in view.under_floor:
            reasons.append(view.under_floor[name] + ("; allowed as fallback" if name in planned else ""))
        if name not in named:
            reasons.append(f"not named by rule {rule!r}")
        elif name not in planned and not reasons:
            reasons.extend(view.reasons(name, "fallback"))
        cost = view.worst_case.get(name)
        chance = view.scores.get(name) if route.learned else None
        rows.append(CandidateView(name, target.side, name in planned, tuple(reasons), cost, chance))
    return tuple(rows)


def _refusal(route: Route, view: Candidates) -> str:
    """`residency` when an invariant alone stood between the request and an answer."""
    if route.kind == "deny":
        return "denied"
    uses: list[tuple[str, Hop]] = [(name, "first") for name in route.targets]
    uses += [(name, "fallback") for name in route.fallback]
    for name, hop in uses:
        reasons = view.reasons(name, hop)
        if reasons and name not in view.under_floor and all(r.startswith("invariant") for r in reasons):
            return "residency"
    return "no_deployment"


def _split_key(route: Route, facts: Facts, sticky: str) -> str:
    """A fact's value where the route names one, so that all who share it are drawn alike; else the caller's."""
    if route.sticky == CALLER:
        return sticky
    group, _, name = route.sticky.partition(".")
    return f"{route.sticky}:{facts.values[group][name]}"


def _split(weights: Sequence[tuple[str, float]], sticky: str) -> list[str]:
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
    return [drawn, *(name for name, _ in weights if name != drawn)]


def decision_as_json(decision: Decision) -> dict[str, Any]:
    """For events, `try` and pages; costs stay nano-dollars."""
    return {
        "rule": decision.rule,
        "refusal": decision.refusal,
        "hops": [
            {
                "deployment": h.deployment,
                "hop": h.hop,
                "worst_case_nusd": h.worst_case_nusd,
                "until": h.until_confidence,
                "masked": h.masked,
            }
            for h in decision.hops
        ],
        "shadows": list(decision.shadows),
        "trace": [{"rule": t.rule, "matched": t.matched, "reason": t.reason} for t in decision.trace],
        "candidates": [
            {
                "deployment": c.deployment,
                "side": c.side,
                "eligible": c.eligible,
                "reasons": list(c.reasons),
                "cost_nusd": c.cost_nusd,
                **({"chance": c.chance} if c.chance is not None else {}),
            }
            for c in decision.candidates
        ],
        "cache": asdict(decision.cache) if decision.cache is not None else None,
        "policy": {"version": decision.policy_version, "hash": decision.policy_hash},
    }
