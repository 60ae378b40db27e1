"""What becomes of each invariant at each hop, whatever request comes: every kind of request under every rule, at every step at
which somebody sees its data or something of it is kept. Pure.

`proven`: no request can come to this hop where the invariant forbids it. `held`: some would (the example is one), and execution,
which asks there, passes over it, doesn't ask again or keeps nothing. `broken`: the document asks for it, and is refused.
`unused`: nothing is done at this hop, by this document or by us.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from routing.policy.cel import Literal as Constant
from routing.policy.cel import Node
from routing.policy.counterexamples import CounterExample
from routing.policy.facts import EMPTY, FACTS, HOPS
from routing.policy.invariants import known_of, specialise
from routing.policy.kinds import OURSELVES, Request, TargetFact
from routing.policy.outcomes import possible
from routing.policy.rules import Invariant, Route
from routing.policy.uses import KEPT_OF_ALL, Use, planned_of
from routing.policy.witness import Search, Wanted, witness

Verdict = Literal["proven", "held", "broken", "unused"]
LEARNT = ("classification", "chat")  # tasks whose rows are trained on
ALWAYS = Constant(True, 1)
MOST_SEARCHES = 500  # for whole requests, a document; beyond it what may come true counts as if it did
# Of uploaded rows the policy is told what stands in them and whose they are; all other facts are empty.
_OF_ROWS = {name: EMPTY[fact.kind] for name, fact in FACTS.items() if name != "data.entities"}


@dataclass(frozen=True, slots=True)
class HopVerdict:
    """`cases`: (rule, request, target) looked at for this invariant on this hop."""

    invariant: str
    hop: str
    verdict: Verdict
    cases: int
    example: CounterExample | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "invariant": self.invariant, "hop": self.hop, "verdict": self.verdict, "cases": self.cases,
            "example": self.example.as_json() if self.example is not None else None,
        }  # fmt: skip


class HopBook:
    """Takes in one rule after the other and keeps, for each invariant and hop, how much was looked at and one example."""

    def __init__(self, invariants: Sequence[Invariant], targets: Mapping[str, TargetFact]) -> None:
        self.invariants, self.targets = invariants, {**targets, "": OURSELVES}
        self._cases: dict[tuple[int, str], int] = {}
        self._held: dict[tuple[int, str], CounterExample] = {}
        self._left: dict[tuple[int, Use], Node] = {}
        self._may: dict[
            tuple[int, Use, Use | None, int], bool
        ] = {}  # by the request's identity: each of them is held
        self._rows: list[Request] = []
        self._searches = 0

    def take(self, name: str, route: Route, tree: Node, admitted: Iterable[Request]) -> None:
        """A rule, and the requests it can match that no rule before it surely takes."""
        if route.kind == "deny":
            return
        planned = [use for use in planned_of(route) if use.target in self.targets]
        shadows = [Use(n, "shadow", "", route.mask) for n in route.shadow if n in self.targets]
        for request in admitted:
            reached = ((tree, True), *request.passed)
            for use in (*planned, *shadows):
                self._look(name, use, request, reached)
            for use in planned:
                again = Use(use.target, "retry", "", use.masked)
                self._look(name, again, request, reached, after=use)  # who was let in is asked once more
            if request.known["data.sensitivity"] != "restricted":  # of which nobody keeps anything
                for use in KEPT_OF_ALL:
                    self._look(name, use, request, reached)

    def take_rows(self, requests: Iterable[Request]) -> None:
        """Rows of workloads that somebody may want to fine-tune a deployment on, whatever the rules say."""
        for request in requests:
            if request.known.get("workload.task", LEARNT[0]) not in LEARNT or not request.known.get(
                "workload.name", "?"
            ):
                continue
            rows = Request({**_OF_ROWS, **request.known}, request.declared)
            self._rows.append(rows)
            for name in self.targets:
                if name:
                    self._look("", Use(name, "training"), rows, ())

    def verdicts(self, broken: Sequence[CounterExample]) -> list[HopVerdict]:
        """All hops of every invariant. `broken`: what the document is refused for."""
        refused = {(example.invariant, example.hop): example for example in reversed(broken)}
        told = []
        for i, invariant in enumerate(self.invariants):
            for hop in HOPS:
                cases, held = self._cases.get((i, hop), 0), self._held.get((i, hop))
                if (invariant.name, hop) in refused:
                    verdict: Verdict = "broken"
                    held = refused[invariant.name, hop]
                else:
                    verdict = "held" if held is not None else "proven" if cases else "unused"
                told.append(HopVerdict(invariant.name, hop, verdict, cases, held))
        return told

    def _look(
        self, rule: str, use: Use, request: Request, reached: Sequence[Wanted], *, after: Use | None = None
    ) -> None:
        for i, invariant in enumerate(self.invariants):
            key = (i, use.hop)
            self._cases[key] = self._cases.get(key, 0) + 1
            if key in self._held or not self._possible(i, use, request, after):
                continue
            self._searches += 1
            wanted = [*reached, *self._wanted(i, use, after)]
            search = witness(request.known, wanted) if self._searches <= MOST_SEARCHES else Search(sure=False)
            if search.found is None and search.sure:
                continue
            target = self.targets[use.target]
            self._held[key] = CounterExample(
                invariant.name, rule, "", {**request.known, **(search.found or {})}, use.target, target.side, use.hop,
                use.masked and target.side == "external", certain=search.found is not None,
            )  # fmt: skip

    def _wanted(self, i: int, use: Use, after: Use | None) -> list[Wanted]:
        """What must hold of a request so that it comes to this hop and the invariant forbids it there."""
        let_in = (
            [(self.left(j, after), False) for j in range(len(self.invariants))] if after is not None else []
        )
        return [(self.left(i, use), True), *let_in]

    def _possible(self, i: int, use: Use, request: Request, after: Use | None) -> bool:
        """Whether it can come to that, whatever rules are in the way; asked once for each."""
        key = (i, use, after, id(request))
        found = self._may.get(key)
        if found is None:
            found = True in possible(self.left(i, use), request.known)
            if found and after is not None:
                search = witness(request.known, self._wanted(i, use, after))
                found = search.found is not None or not search.sure
            self._may[key] = found
        return found

    def left(self, i: int, use: Use) -> Node:
        """What is left of an invariant to ask of a request, once target and hop are known."""
        found = self._left.get((i, use))
        if found is None:
            target = self.targets[use.target]
            masked = use.masked and target.side == "external"
            known = known_of(target.name, target.side, target.model, target.region, use.hop, masked)
            found = self._left[i, use] = specialise(self.invariants[i].tree, known)
        return found
