"""Facts in, an ordered list of permitted hops out, with the reason for every rule and every candidate. Pure.

What can be worked out without a request is worked out once and kept: the rules' index (index.py), what is left of each
invariant for a target and hop (invariants.py), who is fit for a route (candidates.py). None of it changes an answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.contracts import CacheRule, Decision, DeploymentInfo, Facts, Hop, PlannedHop
from routing.policy.candidates import MIN_ROWS_UNDER_FLOOR, Frame, Standing, can_do
from routing.policy.choosing import Asked, ordered
from routing.policy.invariants import CLOSED, InvariantSet
from routing.policy.matching import Match, Matcher, match, matcher_of
from routing.policy.rules import Document, Invariant, Route
from routing.policy.views import CandidateViews, decision_as_json

__all__ = ["MIN_ROWS_UNDER_FLOOR", "CompiledPolicies", "Rollout", "can_do", "decision_as_json"]
_DENY = Route("deny")
_NO_SCORES: Mapping[str, float] = {}
_MOST_FRAMES = 4_096


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


@dataclass(frozen=True, slots=True)
class _Chain:
    """The documents that decide for one request, in order."""

    documents: tuple[Document, ...]  # held, so that the ids in its key stay theirs
    matchers: tuple[Matcher, ...]
    default: Route
    version: str
    hash: str


@dataclass(frozen=True)
class CompiledPolicies:
    """The live documents of one organisation. Implements routing.contracts.Policies."""

    organisation: Rollout | None
    lobs: Mapping[str, Rollout] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)  # preference rules that failed, counted
    invariants: tuple[Invariant, ...] = field(init=False)
    _never: InvariantSet = field(init=False, compare=False, repr=False)
    _chains: dict[tuple[int, int], _Chain] = field(
        init=False, compare=False, repr=False, default_factory=dict
    )
    _frames: dict[tuple[Any, ...], Frame] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        invariants = self.organisation.invariants if self.organisation is not None else (CLOSED,)
        object.__setattr__(self, "invariants", invariants)
        object.__setattr__(self, "_never", InvariantSet(invariants))

    def permits(self, facts: Facts, target: DeploymentInfo, hop: Hop, *, masked: bool = False) -> bool:
        return self._never.broken(facts, target, hop, masked=masked) is None

    def keeps(self, facts: Facts, hop: Hop) -> bool:
        """Restricted data is kept by nobody (docs/decisions/0057), whatever an invariant says."""
        declared = facts.values["data"].get("sensitivity", "restricted")
        return declared != "restricted" and self._never.broken(facts, None, hop) is None

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
        chain = self._chain(lob, sticky)
        found = match(chain.matchers, facts.values, self.errors)
        route = chain.default if found.route is None else found.route
        standing = self._standing(route, found, facts, candidates, lob)
        asked = Asked(facts, worst_case, sticky, facts.values["request"]["wish"], scores or _NO_SCORES)
        order, fallback, notes = ordered(route, standing, asked)
        plan = standing.plan(order, fallback)
        hops = tuple(
            [
                PlannedHop(name, hop, worst_case.get(name, 0), until, masked)
                for name, hop, until, masked in plan.hops
            ]
        )
        views = CandidateViews(
            standing,
            plan.names,
            worst_case,
            notes,
            asked.scores if route.learned else _NO_SCORES,
        )
        return Decision(
            hops, standing.shadows if hops else (), found.trace, views, chain.version, chain.hash, found.rule,
            "" if hops else _refusal(route, standing, notes), route.max_cost_nusd, route.guards,
            self._cache(route, facts) if hops and route.cache is not None else None, route.mask,
        )  # fmt: skip

    def _chain(self, lob: str, sticky: str) -> _Chain:
        own = self.lobs[lob].pick(sticky) if lob in self.lobs else None
        base = self.organisation.pick(sticky) if self.organisation is not None else None
        key = (id(own), id(base))
        found = self._chains.get(key)
        if found is None:
            documents = tuple(document for document in (own, base) if document is not None)
            found = self._chains[key] = _Chain(
                documents,
                tuple(map(matcher_of, documents)),
                (base.default if base is not None else None) or _DENY,
                "+".join(d.label for d in reversed(documents)) or "none",
                "+".join(d.hash[:12] for d in reversed(documents)),
            )
        return found

    def _standing(
        self, route: Route, found: Match, facts: Facts, candidates: Sequence[DeploymentInfo], lob: str
    ) -> Standing:
        workload = facts.values["workload"]
        key = (id(route), found.rule, lob, workload["task"], workload["name"], *map(id, candidates))
        frame = self._frames.get(key)
        if frame is None:
            if len(self._frames) >= _MOST_FRAMES:
                self._frames.clear()
            frame = self._frames[key] = Frame(
                route, found.rule, lob=lob, task=workload["task"], workload=workload["name"],
                candidates=candidates, invariants=self._never,
            )  # fmt: skip
        outcomes = tuple([self._never.outcome(place, facts.values) for place in frame.places])
        return frame.standing(outcomes, found.shut)

    def _cache(self, route: Route, facts: Facts) -> CacheRule | None:
        return route.cache if self.keeps(facts, "cache") else None


def _refusal(route: Route, standing: Standing, notes: Mapping[str, str]) -> str:
    """`residency` when an invariant alone stood between the request and an answer."""
    if route.kind == "deny":
        return "denied"
    uses: list[tuple[str, Hop]] = [(name, "first") for name in route.targets]
    uses += [(name, "fallback") for name in route.fallback]
    for name, hop in uses:
        reasons = standing.reasons(name, hop)
        if reasons and name not in notes and all(r.startswith("invariant") for r in reasons):
            return "residency"
    return "no_deployment"
