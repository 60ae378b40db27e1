"""Which deployments may take a request, and why not: fitness first, then every invariant for the hop at hand."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from routing.contracts import DeploymentInfo, Facts, Hop
from routing.policy.cel import Literal
from routing.policy.facts import KEEPER
from routing.policy.rules import Invariant

log = logging.getLogger(__name__)
_NO_QUALITY = (0.0, 0)
# Without an organisation's policy nothing is known to be allowed out.
CLOSED = Invariant(
    "no organisation policy is live", 'target.side == "external"', Literal(True, 1),
    lambda values: values["target"]["side"] == "external",
)  # fmt: skip


@dataclass(slots=True)
class Candidates:
    """What is known of each deployment for one request, worked out once."""

    facts: Facts
    lob: str
    task: str
    workload: str
    worst_case: Mapping[str, int]
    by_name: Mapping[str, DeploymentInfo]
    invariants: Sequence[Invariant]
    mask: bool = False  # of the route: what leaves under it leaves masked
    scores: Mapping[str, float] = field(default_factory=dict)  # chance of a right answer to this prompt
    unfit: dict[str, tuple[str, ...]] = field(default_factory=dict)  # whatever the hop
    under_floor: dict[str, str] = field(default_factory=dict)
    broken: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def reasons(self, name: str, hop: Hop) -> tuple[str, ...]:
        """Why this hop is closed to a deployment; empty = open. The quality floor is the chooser's, not here."""
        unfit = self.unfit.get(name)
        if unfit is None:
            unfit = self.unfit[name] = self._unfit(name)
        target = self.by_name.get(name)
        if target is None:
            return unfit
        key = (name, hop)
        if key not in self.broken:
            masked = self.mask and target.side == "external"
            self.broken[key] = broken_invariant(self.invariants, self.facts, target, hop, masked=masked)
        broken = self.broken[key]
        return (*unfit, f"invariant: {broken}") if broken else unfit

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

    def rests(self, name: str, sticky: str) -> bool:
        """Whether it burns this workload's error budget and the request isn't one of those that try it again."""
        target = self.by_name.get(name)
        share = target.resting.get(self.workload) if target is not None else None
        if share is None or zlib.crc32(f"resting:{name}:{sticky}".encode()) % 100 < share:
            return False
        self.under_floor.setdefault(name, "accuracy objective: it burns the workload's error budget")
        return True

    def allows(self, name: str, hop: Hop) -> bool:
        return not self.reasons(name, hop)

    def quality(self, name: str) -> tuple[float, int]:
        return self.by_name[name].quality.get(self.workload, _NO_QUALITY)


def can_do(target: DeploymentInfo, task: str) -> bool:
    """A chat deployment outside can also classify, through a prompt with the label list."""
    return task in target.tasks or (task == "classification" and "chat" in target.tasks and not target.heads)


def broken_invariant(
    invariants: Sequence[Invariant],
    facts: Facts,
    target: DeploymentInfo | None,
    hop: Hop,
    *,
    masked: bool = False,
) -> str | None:
    """The name of an invariant that forbids this hop; no target = we ourselves would keep it. An error forbids it too."""
    seen = KEEPER if target is None else {
        "name": target.name, "side": target.side, "model": target.model, "region": target.region
    }  # fmt: skip
    values = {**facts.values, "target": seen, "hop": hop, "masked": masked}
    for invariant in invariants:
        try:
            if invariant.forbids(values):
                return invariant.name
        except Exception:
            log.exception("invariant %r could not be evaluated: closed", invariant.name)
            return f"{invariant.name} (could not be evaluated)"
    return None
