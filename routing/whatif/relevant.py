"""What of a request a set of versions can tell apart: equal keys are decided alike, so each is decided once. Pure.

A number that is only ever compared with constants counts by which of them it exceeds; any other fact counts by its value;
a fact that no condition tests doesn't count. What the engine itself looks at (workload, task, wish, the order of costs, a
learned chance) is in the key as far as the routes use it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.policy.cel import Compare, Literal, Node, Path
from routing.policy.facts import FACTS
from routing.policy.outcomes import mentioned
from routing.policy.rules import CALLER, Document, Route

ALWAYS = ("workload.name", "workload.task", "request.wish")  # what the engine looks at itself
# No rule needs to test them: where their mix shifts, costs and right answers shift with it.
SHIFTING = ("lob.application", "request.language", "data.sensitivity")
CHANCE_STEPS = 50  # a learned chance counts in steps of 1/50
Facts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a record tells of one deployment: worst case in nano-dollars and the learned chance of a right answer."""

    deployment: str
    cost_nusd: int | None
    chance: float | None


@dataclass(frozen=True)
class Relevant:
    """Made once for the versions that are compared; `key` is asked once a record."""

    facts: tuple[str, ...]
    readers: tuple[Callable[[Facts], Hashable], ...]
    by_cost: bool
    caps: tuple[int, ...]
    learned: bool

    def values(self, facts: Facts) -> tuple[Hashable, ...]:
        """The tested facts, as far as they can be told apart."""
        return tuple([read(facts) for read in self.readers])

    def of_candidates(self, candidates: Sequence[Candidate]) -> tuple[Hashable, ...]:
        """Who could answer, in the order of worst cases where costs are compared; caps and chances where they are asked."""
        if self.by_cost or self.caps:
            priced = sorted((c.cost_nusd, c.deployment) for c in candidates if c.cost_nusd is not None)
            names: tuple[Hashable, ...] = tuple(
                (name, bisect_left(self.caps, cost), i > 0 and cost == priced[i - 1][0])
                for i, (cost, name) in enumerate(priced)
            )
        else:
            names = tuple([c.deployment for c in candidates if c.cost_nusd is not None])
        if not self.learned:
            return names
        chances = tuple(
            (c.deployment, round(c.chance * CHANCE_STEPS)) for c in candidates if c.chance is not None
        )
        return (*names, chances)


def relevant(documents: Iterable[Document], *, invariants: Iterable[Node] = ()) -> Relevant:
    """What these documents test, their invariants included."""
    documents = list(documents)
    trees = [rule.tree for d in documents for rule in d.rules]
    trees += [i.tree for d in documents for i in d.invariants] + list(invariants)
    routes = [route for d in documents for route in routes_of(d)]
    names = {name for tree in trees for name in mentioned(tree) if name in FACTS}
    names |= {route.sticky for route in routes if route.sticky != CALLER}
    bounds: dict[str, set[float]] = {}
    plain: set[str] = {*ALWAYS, *SHIFTING}
    for tree in trees:
        _walk(tree, bounds, plain)
    plain |= {name for name in names if name not in bounds}
    chosen = tuple(sorted(names | {*ALWAYS, *SHIFTING}))
    readers = tuple(_reader(name, None if name in plain else sorted(bounds[name])) for name in chosen)
    return Relevant(
        facts=chosen,
        readers=readers,
        by_cost=any(route.kind == "choose" and route.choose == "cheapest" for route in routes),
        caps=tuple(sorted({r.max_cost_nusd for r in routes if r.max_cost_nusd is not None})),
        learned=any(route.learned for route in routes),
    )


def routes_of(document: Document) -> list[Route]:
    return [rule.route for rule in document.rules] + ([document.default] if document.default else [])


def _walk(tree: Node, bounds: dict[str, set[float]], plain: set[str]) -> None:
    """Numbers compared with constants go into `bounds`; facts met in any other way into `plain`."""
    match tree:
        case Compare(op=op, left=Path(name=name), right=Literal(value=value)) if _number(name) and op != "in":
            bounds.setdefault(name, set()).add(value)
        case Compare(op=op, left=Literal(value=value), right=Path(name=name)) if _number(name) and op != "in":
            bounds.setdefault(name, set()).add(value)
        case Path(name=name):
            plain.add(name)
        case _:
            for part in _parts(tree):
                _walk(part, bounds, plain)


def _number(name: str) -> bool:
    return name in FACTS and FACTS[name].kind in ("int", "double")


def _parts(tree: Node) -> list[Node]:
    """The nodes directly under one."""
    found: list[Node] = []
    for field in getattr(tree, "__slots__", ()):
        value = getattr(tree, field)
        found += [v for v in (value if isinstance(value, tuple) else (value,)) if hasattr(v, "column")]
    return found


def _reader(name: str, bounds: Sequence[float] | None) -> Callable[[Facts], Hashable]:
    group, _, field = name.partition(".")
    if bounds is not None:
        # Two numbers between the same bounds, or both on one, compare alike with all of them.
        return lambda facts: (
            bisect_left(bounds, facts[group][field]),
            bisect_right(bounds, facts[group][field]),
        )
    if FACTS[name].kind == "list":
        return lambda facts: tuple(sorted(facts[group][field]))
    return lambda facts: facts[group][field]
