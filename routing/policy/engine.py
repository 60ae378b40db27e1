"""Facts in, an ordered list of permitted hops out, with the reason for every rule and every candidate. Pure."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.contracts import CandidateView, Decision, DeploymentInfo, Facts, Hop, PlannedHop, RuleTrace
from routing.policy.rules import Document, Invariant, Route

log = logging.getLogger(__name__)
MIN_ROWS_UNDER_FLOOR = 30
_DENY = Route("deny")


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


@dataclass(slots=True)
class _Candidates:
    """What is known of each deployment for one request, worked out once."""

    facts: Facts
    lob: str
    task: str
    workload: str
    worst_case: Mapping[str, int]
    by_name: Mapping[str, DeploymentInfo]
    invariants: Sequence[Invariant]
    floor: float = 0.0
    verdicts: dict[str, tuple[bool, tuple[str, ...]]] = field(default_factory=dict)

    def refusals(self, name: str, hop: Hop) -> tuple[str, ...]:
        target = self.by_name.get(name)
        if target is None:
            return ("unknown or disabled deployment",)
        reasons = []
        if target.lobs and self.lob not in target.lobs:
            reasons.append("not for this line of business")
        if not can_do(target, self.task):
            reasons.append(f"does not do {self.task}")
        if not target.billable:
            reasons.append("no price" if target.side == "external" else "no node, so no cost")
        broken = broken_invariant(self.invariants, self.facts, target, hop)
        if broken:
            reasons.append(f"invariant: {broken}")
        return tuple(reasons)

    def eligible(self, name: str, hop: Hop = "first") -> bool:
        if name not in self.verdicts:
            reasons = self.refusals(name, hop)
            self.verdicts[name] = (not reasons, reasons)
        return self.verdicts[name][0]

    def exclude(self, name: str, reason: str) -> None:
        self.verdicts[name] = (False, (reason,))


def can_do(target: DeploymentInfo, task: str) -> bool:
    """A chat deployment outside can also classify, through a prompt with the label list."""
    return task in target.tasks or (task == "classification" and "chat" in target.tasks and not target.heads)


def broken_invariant(
    invariants: Sequence[Invariant], facts: Facts, target: DeploymentInfo, hop: Hop
) -> str | None:
    """The name of an invariant that forbids this hop. An error in evaluating one forbids it too."""
    values = {
        **facts.values,
        "target": {"name": target.name, "side": target.side, "model": target.model, "region": target.region},
        "hop": hop,
    }
    for invariant in invariants:
        try:
            if invariant.forbids(values):
                return invariant.name
        except Exception:
            log.exception("invariant %r could not be evaluated: closed", invariant.name)
            return f"{invariant.name} (could not be evaluated)"
    return None


@dataclass(frozen=True)
class CompiledPolicies:
    """The live documents of one organisation. Implements routing.contracts.Policies."""

    organisation: Rollout | None
    lobs: Mapping[str, Rollout] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)  # preference rules that failed, counted

    def permits(self, facts: Facts, target: DeploymentInfo, hop: Hop) -> bool:
        if self.organisation is None:
            return target.side == "private"  # no organisation policy: nothing is known to be allowed out
        document = self.organisation.document
        return broken_invariant(document.invariants, facts, target, hop) is None

    def decide(
        self,
        facts: Facts,
        candidates: Sequence[DeploymentInfo],
        *,
        lob: str,
        worst_case: Mapping[str, int],
        sticky: str = "",
    ) -> Decision:
        """See the protocol. `worst_case`: nano-dollars by deployment."""
        own = self.lobs[lob].pick(sticky) if lob in self.lobs else None
        base = self.organisation.pick(sticky) if self.organisation else None
        documents = [document for document in (own, base) if document is not None]
        workload = facts.values["workload"]
        view = _Candidates(
            facts=facts, lob=lob, task=workload["task"], workload=workload["name"], worst_case=worst_case,
            by_name={c.name: c for c in candidates}, invariants=base.invariants if base else (),
        )  # fmt: skip
        trace: list[RuleTrace] = []
        route, name = self._first_match(documents, facts, trace)
        if route is None:
            route = (base.default if base else None) or _DENY
            name = "default"
            trace.append(RuleTrace("default", True, "no rule matched"))
        hops = () if route.kind == "deny" else self._hops(route, view, sticky, facts)
        shadows = tuple(s for s in route.shadow if not view.refusals(s, "shadow"))
        return Decision(
            hops=hops, shadows=shadows, trace=tuple(trace), candidates=self._views(view), rule=name,
            policy_version="+".join(d.label for d in reversed(documents)) or "none",
            policy_hash="+".join(d.hash[:12] for d in reversed(documents)), refusal="" if hops else self._refusal(route, view),
            max_cost_nusd=route.max_cost_nusd, guards=route.guards,
        )  # fmt: skip

    def _first_match(
        self, documents: Sequence[Document], facts: Facts, trace: list[RuleTrace]
    ) -> tuple[Route | None, str]:
        for document in documents:
            for rule in document.rules:
                try:
                    matched = bool(rule.matches(facts.values))
                except Exception as error:
                    self.errors[rule.name] = self.errors.get(rule.name, 0) + 1
                    trace.append(
                        RuleTrace(rule.name, False, f"skipped: {type(error).__name__} in its condition")
                    )
                    continue
                trace.append(RuleTrace(rule.name, matched, rule.source))
                if matched:
                    return rule.route, rule.name
        return None, ""

    def _hops(self, route: Route, view: _Candidates, sticky: str, facts: Facts) -> tuple[PlannedHop, ...]:
        firsts = [name for name in self._ordered(route, view, sticky) if view.eligible(name)]
        wish = facts.values["request"]["wish"]
        if wish and wish in firsts and route.kind != "cascade":
            firsts = [wish, *(name for name in firsts if name != wish)]
        rest = [
            n
            for n in route.fallback
            if n not in firsts and view.eligible(n) and not view.refusals(n, "fallback")
        ]
        hops = []
        for i, name in enumerate([*firsts, *rest]):
            last_of_cascade = i == len(firsts) - 1
            until = (
                route.until_confidence
                if route.kind == "cascade" and i < len(firsts) and not last_of_cascade
                else None
            )
            # Only the first is a first choice; whoever answers after it was a fallback and must be allowed to be one.
            if i and until is None and view.refusals(name, "fallback"):
                continue
            cost = view.worst_case.get(name, 0)
            hops.append(PlannedHop(name, "first" if i == 0 else "fallback", cost, until))
        return tuple(hops)

    def _ordered(self, route: Route, view: _Candidates, sticky: str) -> list[str]:
        if route.kind == "choose":
            return self._chosen(route, view)
        if route.kind == "split":
            return _split(route.weights, sticky)
        return list(route.targets)

    def _chosen(self, route: Route, view: _Candidates) -> list[str]:
        """Those that meet the floor, by cost, speed or quality; the order of the document breaks ties."""
        names = [name for name in route.targets if view.eligible(name)]
        quality = {n: view.by_name[n].quality.get(view.workload, (0.0, 0)) for n in names}
        if route.quality_floor is not None:
            evaluated = [q for q, rows in quality.values() if rows >= MIN_ROWS_UNDER_FLOOR]
            # Relative to the best evaluated of the route's own targets, also those that may not see this data.
            known = [
                view.by_name[n].quality.get(view.workload, (0.0, 0))
                for n in route.targets
                if n in view.by_name
            ]
            best = max(
                (q for q, rows in known if rows >= MIN_ROWS_UNDER_FLOOR), default=max(evaluated, default=0.0)
            )
            floor = route.quality_floor if route.floor_is_absolute else route.quality_floor * best
            for name in list(names):
                accuracy, rows = quality[name]
                if rows < MIN_ROWS_UNDER_FLOOR:
                    view.exclude(name, f"quality floor: {rows} evaluated rows, {MIN_ROWS_UNDER_FLOOR} needed")
                elif accuracy < floor:
                    view.exclude(name, f"quality floor: {accuracy:.3f} is under {floor:.3f}")
                else:
                    continue
                names.remove(name)
        if route.choose == "best":
            return sorted(names, key=lambda n: -quality[n][0])
        if route.choose == "fastest":
            slow = 2**62
            return sorted(names, key=lambda n: view.by_name[n].usual_accelerator_ns.get(view.workload, slow))
        return sorted(names, key=lambda n: view.worst_case.get(n, 2**62))

    def _views(self, view: _Candidates) -> tuple[CandidateView, ...]:
        rows = []
        for name, target in view.by_name.items():
            if not can_do(target, view.task):
                continue
            eligible = view.eligible(name)
            reasons = view.verdicts[name][1]
            rows.append(CandidateView(name, target.side, eligible, reasons, view.worst_case.get(name)))
        return tuple(rows)

    @staticmethod
    def _refusal(route: Route, view: _Candidates) -> str:
        """`residency` when an invariant alone stood between the request and an answer."""
        if route.kind == "deny":
            return "denied"
        reasons = [view.verdicts.get(n, (False, ()))[1] for n in (*route.targets, *route.fallback)]
        if any(reason and all(r.startswith("invariant") for r in reason) for reason in reasons):
            return "residency"
        return "no_deployment"


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
            }
            for c in decision.candidates
        ],
        "policy": {"version": decision.policy_version, "hash": decision.policy_hash},
    }
