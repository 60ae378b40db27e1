"""Two arms over one traffic: where everything would go, what it comes to, with intervals. Free of the database.

question = Question(before, after, deployments, targets, prices)
reader = question.reader(since=…, until=…); reader.read(rows)
found = replay(question, reader.traffic())
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from routing.contracts import DeploymentInfo
from routing.policy.rules import Invariant
from routing.whatif.basis import Basis, Target
from routing.whatif.cells import Cells, Strata, cells_of, strata_of
from routing.whatif.columns import Reader, Traffic, blocks_of
from routing.whatif.estimate import Estimate, estimate
from routing.whatif.intervals import draws
from routing.whatif.plans import Arm, Outcome, decide_group
from routing.whatif.prices import Prices
from routing.whatif.relevant import Relevant, relevant

SEED = 20_261


@dataclass(frozen=True)
class Question:
    """What is compared. `guarded`: invariants in force beside those of the two arms; `segments`: when prices changed."""

    before: Arm
    after: Arm
    deployments: Sequence[DeploymentInfo]
    targets: Sequence[Target]
    prices: Prices
    guarded: Sequence[Invariant] = ()
    segments: Sequence[datetime] = ()

    @property
    def invariants(self) -> tuple[Invariant, ...]:
        rows = (*self.guarded, *self.before.invariants, *self.after.invariants)
        return tuple({i.source: i for i in rows}.values())

    def relevant(self) -> Relevant:
        documents = [*self.before.documents(), *self.after.documents()]
        return relevant(documents, invariants=[i.tree for i in self.guarded])

    def reader(
        self,
        *,
        since: datetime,
        until: datetime,
        judged: Callable[[str], tuple[int, int]] = lambda decision_id: (0, 0),
    ) -> Reader:
        block_s, blocks = blocks_of(since, until)
        return Reader(
            self.relevant(),
            since=since,
            block_s=block_s,
            blocks=blocks,
            segments=self.segments,
            judged=judged,
        )


@dataclass(frozen=True)
class Side:
    """One arm: each group's outcomes, its cells and their estimate."""

    outcomes: list[list[Outcome]]
    cells: Cells
    estimate: Estimate


@dataclass(frozen=True)
class Replayed:
    traffic: Traffic
    strata: Strata
    basis: Basis
    before: Side
    after: Side
    blocks: int = field(default=0)


def plan(question: Question, arm: Arm, traffic: Traffic) -> list[list[Outcome]]:
    """Where each group goes; canaries and rests of today are no part of what a policy says."""
    invariants = question.invariants
    return [decide_group(group, arm, question.deployments, invariants) for group in traffic.groups]


def with_codes(traffic: Traffic, targets: Sequence[Target]) -> list[Target]:
    """Targets in the order of the traffic's codes, then those that never answered. One that is gone keeps its name."""
    known = {target.name: target for target in targets}
    seen = [known.get(name) or Target(name, "") for name in traffic.deployments]
    return seen + [target for target in targets if target.name not in set(traffic.deployments)]


def replay(question: Question, traffic: Traffic, *, seed: int = SEED) -> Replayed:
    """Both arms over the same requests, with the same draws of days, so that what they share cancels out."""
    random = np.random.default_rng(seed)
    strata = strata_of(traffic)
    weights = draws(traffic.blocks, random)
    basis = Basis(traffic, strata, with_codes(traffic, question.targets), question.prices, weights, random)
    sides = []
    for arm in (question.before, question.after):
        outcomes = plan(question, arm, traffic)
        cells = cells_of(traffic, strata, outcomes, traffic.blocks)
        sides.append(Side(outcomes, cells, estimate(cells, basis, weights)))
    filled = len(set(traffic.rows["block"].tolist()))
    return Replayed(traffic, strata, basis, sides[0], sides[1], filled)
