"""What a condition can come to when only some facts are known and the rest is chosen by an adversary.

Sound, not always sharp: it may name an outcome that no request reaches, never miss one that a request does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from routing.policy.cel import Compare, Has, Items, Literal, Logic, Method, Node, Not, Path
from routing.policy.compile import CLASS_FACTS, OPERATORS, compile_tree
from routing.policy.facts import CLASSES, FACTS

UNKNOWN = object()  # a value the proof knows nothing about
MAX_ASSIGNMENTS = 2_500  # combinations of finite facts looked at for one condition
Known = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Partly:
    """A list of which only some is known: what is in it, and what isn't."""

    present: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()

    def also(self, item: str, present: bool) -> Partly:
        if present:
            return Partly(self.present | {item}, self.absent)
        return Partly(self.present, self.absent | {item})

    def holds(self, item: Any) -> frozenset[bool]:
        if item in self.present:
            return frozenset([True])
        return frozenset([False]) if item in self.absent else frozenset([True, False])


def possible(tree: Node, known: Known) -> frozenset[bool]:
    """The outcomes of a condition. `known`: dotted names → values; classes by name."""
    match tree:
        case Has():
            return frozenset([True])
        case Not(inner=inner):
            return frozenset(not outcome for outcome in possible(inner, known))
        case Logic(op=op, parts=parts):
            return _possible_logic(op, [possible(part, known) for part in parts])
        case Compare(op=op, left=left, right=right):
            a, b = _value(left, known), _value(right, known)
            if a is UNKNOWN or b is UNKNOWN:
                return frozenset([True, False])
            if isinstance(b, Partly):
                return b.holds(a)
            return frozenset([bool(a in b if op == "in" else OPERATORS[op](a, b))])
    value = _value(tree, known)
    return frozenset([True, False]) if value is UNKNOWN else frozenset([bool(value)])


def _possible_logic(op: str, parts: list[frozenset[bool]]) -> frozenset[bool]:
    decisive = op == "||"  # one such part decides
    outcomes = set()
    if any(part == {decisive} for part in parts):
        return frozenset([decisive])
    if any(decisive in part for part in parts):
        outcomes.add(decisive)
    if all((not decisive) in part for part in parts):
        outcomes.add(not decisive)
    return frozenset(outcomes)


def _value(node: Node, known: Known) -> Any:
    match node:
        case Literal(value=value):
            return value
        case Path(name=name) if name in CLASSES:
            return CLASSES[name]
        case Path(name=name) if name in known:
            return CLASSES[known[name]] if name in CLASS_FACTS else known[name]
        case Items(items=items):
            values = [_value(item, known) for item in items]
            return UNKNOWN if any(value is UNKNOWN for value in values) else values
        case Method(subject=Path(name=name), name=method, argument=argument) if name in known:
            return compile_tree(Method(Literal(known[name], 0), method, argument, 0))({})
        case Not() | Logic() | Compare() | Has():
            outcomes = possible(node, known)
            return next(iter(outcomes)) if len(outcomes) == 1 else UNKNOWN
    return UNKNOWN


def mentioned(tree: Node) -> frozenset[str]:
    """The facts a condition tests."""
    match tree:
        case Path(name=name):
            return frozenset() if name in CLASSES else frozenset([name])
        case Has(path=path):
            return mentioned(path)
        case Not(inner=inner):
            return mentioned(inner)
        case Logic(parts=parts) | Items(items=parts):
            return frozenset().union(*map(mentioned, parts))
        case Method(subject=subject):
            return mentioned(subject)
        case Compare(left=left, right=right):
            return mentioned(left) | mentioned(right)
    return frozenset()


def assignments(names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every combination of the finite facts among `names` that a request can have; {} alone where they are too many."""
    finite = sorted(
        n for n in names if n in FACTS and FACTS[n].values is not None and FACTS[n].kind != "list"
    )
    while math.prod(len(FACTS[n].values or ()) for n in finite) > MAX_ASSIGNMENTS:
        finite.remove(max(finite, key=lambda n: len(FACTS[n].values or ())))
    for values in itertools.product(*(FACTS[n].values or () for n in finite)):
        known = dict(zip(finite, values, strict=True))
        if _consistent(known):
            yield known


def _consistent(known: Known) -> bool:
    """Inspection only raises: the data's class is never under the workload's."""
    data, workload = known.get("data.sensitivity"), known.get("workload.sensitivity")
    return data is None or workload is None or CLASSES[data] >= CLASSES[workload]


def sharp(tree: Node) -> frozenset[bool]:
    """The outcomes over every combination of the finite facts it tests: finds `a == "x" && a == "y"` never true."""
    outcomes: set[bool] = set()
    for known in assignments(mentioned(tree)):
        outcomes |= possible(tree, known)
    return frozenset(outcomes)
