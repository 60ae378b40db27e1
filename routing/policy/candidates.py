"""Which deployments may take a request, and why not: fitness first, then every invariant for the hop at hand.

A `Frame` holds what one route means for one workload on the deployments at hand; a `Standing` what follows once the
invariants' tests of a request are known. Both are worked out once and shared by all requests that are alike in this;
neither holds anything of a request.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from routing.contracts import DeploymentInfo, Hop
from routing.policy.invariants import InvariantSet, Residual, breaks, broken_invariant
from routing.policy.rules import Route

MIN_ROWS_UNDER_FLOOR = 30
NOT_NAMED = "not named by rule"
__all__ = [
    "MIN_ROWS_UNDER_FLOOR",
    "Frame",
    "Plan",
    "Planned",
    "Row",
    "Standing",
    "broken_invariant",
    "can_do",
]
_NO_QUALITY = (0.0, 0)
_MOST = 512  # standings of a frame, plans of a standing: more are forgotten and worked out again
Outcomes = tuple[bool | None, ...]


class Planned(NamedTuple):
    """A hop but for its cost."""

    deployment: str
    hop: Hop
    until_confidence: float | None
    masked: bool


class Plan(NamedTuple):
    """Hops in order, and their deployments."""

    hops: tuple[Planned, ...]
    names: tuple[str, ...]


class Row(NamedTuple):
    """What is told of a candidate but for its cost."""

    deployment: str
    side: str
    eligible: bool
    reasons: tuple[str, ...]


def can_do(target: DeploymentInfo, task: str) -> bool:
    """A chat deployment outside can also classify, through a prompt with the label list."""
    return task in target.tasks or (task == "classification" and "chat" in target.tasks and not target.heads)


class Frame:
    """One route for one line of business, task and workload on some deployments."""

    def __init__(
        self,
        route: Route,
        rule: str,
        *,
        lob: str,
        task: str,
        workload: str,
        candidates: Sequence[DeploymentInfo],
        invariants: InvariantSet,
    ) -> None:
        self.route, self.rule, self.lob, self.task, self.workload = route, rule, lob, task, workload
        self.candidates = tuple(candidates)  # held, so that the ids in its key stay theirs
        self.by_name = {c.name: c for c in candidates}
        self.invariants = invariants
        names = dict.fromkeys((*self.by_name, *route.named))
        self.unfit = {name: self._unfit(name) for name in names}
        self.checks: dict[tuple[str, Hop], tuple[Residual, ...]] = {}
        for name, target in self.by_name.items():
            for hop in ("first", "fallback", *(("shadow",) if name in route.shadow else ())):
                self.checks[name, hop] = invariants.residuals(target, hop, self.masks(target))  # type: ignore[index,arg-type]
        places = {r.place for found in self.checks.values() for r in found if r.place is not None}
        self.places = tuple(sorted(places))
        self.resting = {n: share for n in route.named if (share := self._share(n)) is not None}
        self._standings: dict[tuple[Outcomes, str], Standing] = {}

    def masks(self, target: DeploymentInfo) -> bool:
        return self.route.mask and target.side == "external"

    def _unfit(self, name: str) -> tuple[str, ...]:
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
        return tuple(reasons)

    def _share(self, name: str) -> int | None:
        target = self.by_name.get(name)
        return target.resting.get(self.workload) if target is not None else None

    def rests(self, name: str, sticky: str) -> bool:
        """Whether it burns this workload's error budget and the request isn't one of those that try it again."""
        share = self.resting.get(name)
        return share is not None and zlib.crc32(f"resting:{name}:{sticky}".encode()) % 100 >= share

    def quality(self, name: str) -> tuple[float, int]:
        """(accuracy, evaluated rows) for this workload."""
        return self.by_name[name].quality.get(self.workload, _NO_QUALITY)

    def standing(self, outcomes: Outcomes, shut: str) -> Standing:
        """`outcomes`: of the tests at `places`. `shut`: why nothing may leave, or empty."""
        key = (outcomes, shut)
        found = self._standings.get(key)
        if found is None:
            if len(self._standings) >= _MOST:
                self._standings.clear()
            found = self._standings[key] = Standing(self, dict(zip(self.places, outcomes, strict=True)), shut)
        return found


class Standing:
    """A frame once the tests of the invariants are known: who may take the request as what, and in which order."""

    def __init__(self, frame: Frame, outcomes: Mapping[int, bool | None], shut: str) -> None:
        self.frame = frame
        self._reasons: dict[tuple[str, Hop], tuple[str, ...]] = {}
        for (name, hop), residuals in frame.checks.items():
            reasons = frame.unfit[name]
            outside = frame.by_name[name].side == "external"
            told = (
                breaks(r, None if r.place is None else outcomes[r.place])
                for r in residuals
            )  # fmt: skip
            if broken := next(filter(None, told), None):
                reasons = (*reasons, f"invariant: {broken}")
            elif shut and outside:
                reasons = (*reasons, f"invariant: {shut}")
            self._reasons[name, hop] = reasons
        route = frame.route
        self.shadows = tuple(s for s in route.shadow if self.allows(s, "shadow"))
        self.first = tuple(n for n in route.targets if self.allows(n, "first"))
        self.under_floor = {} if route.quality_floor is None else self.floored({})
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._rows: dict[tuple[str, ...], tuple[Row, ...]] = {}

    def reasons(self, name: str, hop: Hop) -> tuple[str, ...]:
        """Why this hop is closed to a deployment; empty = open. The quality floor is the chooser's, not here."""
        found = self._reasons.get((name, hop))
        return self.frame.unfit[name] if found is None else found

    def allows(self, name: str, hop: Hop) -> bool:
        return not self.reasons(name, hop)

    def chance(self, name: str, scores: Mapping[str, float]) -> tuple[float, int]:
        """(accuracy, evaluated rows); a learned choice goes by the chance of a right answer to this prompt where known."""
        if name in scores:
            return scores[name], MIN_ROWS_UNDER_FLOOR
        return self.frame.quality(name)

    def floor(self, scores: Mapping[str, float]) -> float:
        """What the route's floor comes to: relative to the best of all candidates, also of those that may not see this data."""
        route = self.frame.route
        floor = route.quality_floor or 0.0
        if not route.floor_is_absolute:
            known = (self.chance(n, scores) for n in self.frame.by_name)
            floor *= max((q for q, rows in known if rows >= MIN_ROWS_UNDER_FLOOR), default=0.0)
        return floor

    def floored(self, scores: Mapping[str, float]) -> dict[str, str]:
        """Who misses the route's floor, and by what."""
        floor = self.floor(scores)
        missed = {}
        for name in self.first:
            accuracy, rows = self.chance(name, scores)
            if rows < MIN_ROWS_UNDER_FLOOR:
                missed[name] = f"quality floor: {rows} evaluated rows, {MIN_ROWS_UNDER_FLOOR} needed"
            elif accuracy < floor:
                missed[name] = f"quality floor: {accuracy:.3f} is under {floor:.3f}"
        return missed

    def plan(self, order: tuple[str, ...], fallback: tuple[str, ...]) -> Plan:
        """The route's own targets in this order, then its fallbacks; each allowed as what it would be."""
        key = (*order, "", *fallback)
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= _MOST:
                self._plans.clear()
            hops = tuple(self._planned(order, fallback))
            found = self._plans[key] = Plan(hops, tuple(hop.deployment for hop in hops))
        return found

    def _planned(self, order: Sequence[str], fallback: Sequence[str]) -> list[Planned]:
        planned: list[tuple[str, Hop]] = []
        for name in order:
            hop: Hop = "fallback" if planned else "first"
            if self.allows(name, hop):
                planned.append((name, hop))
        own = len(planned)
        taken = {name for name, _ in planned}
        planned += [(n, "fallback") for n in fallback if n not in taken and self.allows(n, "fallback")]
        until = self.frame.route.until_confidence
        # The last of a cascade's own targets is taken as it comes: there is nobody better to ask.
        return [
            Planned(n, hop, until if i < own - 1 else None, self.frame.masks(self.frame.by_name[n]))
            for i, (n, hop) in enumerate(planned)
        ]

    def rows(self, planned: tuple[str, ...], notes: Mapping[str, str]) -> tuple[Row, ...]:
        """Every deployment that does the task, with all that speaks against it. `notes`: the floor's and the objective's."""
        if notes is not self.under_floor:
            return self._told(planned, notes)
        found = self._rows.get(planned)
        if found is None:
            if len(self._rows) >= _MOST:
                self._rows.clear()
            found = self._rows[planned] = self._told(planned, notes)
        return found

    def _told(self, planned: tuple[str, ...], notes: Mapping[str, str]) -> tuple[Row, ...]:
        frame = self.frame
        named = {*frame.route.targets, *frame.route.fallback}
        rows = []
        for name, target in frame.by_name.items():
            if not can_do(target, frame.task):
                continue
            reasons = list(self.reasons(name, "first"))
            if name in notes:
                reasons.append(notes[name] + ("; allowed as fallback" if name in planned else ""))
            if name not in named:
                reasons.append(f"{NOT_NAMED} {frame.rule!r}")
            elif name not in planned and not reasons:
                reasons.extend(self.reasons(name, "fallback"))
            rows.append(Row(name, target.side, name in planned, tuple(reasons)))
        return tuple(rows)
