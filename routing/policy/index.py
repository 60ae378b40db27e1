"""Which of a document's rules can match at all, found without looking at each: one bit a rule, one AND a fact.

For every rule `narrow` reads off its condition what must hold of single facts (equalities, memberships, classes, flags,
ranges of numbers). For each fact that some rule narrows, the index keeps by value the bits of the rules that the value
leaves possible. A request looks up its own values and ANDs the bits; only the rules that are left are evaluated, in
order. What is skipped is false whatever else the request is, by CEL's own reading of errors (an error beside a false is
false), so first match, trace and error counts are those of evaluating one rule after the other.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from routing.policy.cel import Compare, Logic, Node, Not, Path
from routing.policy.compile import OPERATORS, Values, constant
from routing.policy.facts import CLASSES, FACTS
from routing.policy.rules import Rule

MIN_RULES = 8  # fewer are evaluated one after the other sooner than looked up
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`; an open end leaves the bound itself out."""

    low: float = -math.inf
    low_open: bool = False
    high: float = math.inf
    high_open: bool = False

    def both(self, other: Range) -> Range:
        low = max((self.low, self.low_open), (other.low, other.low_open))
        high = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Range(*low, high[0], not high[1])

    def around(self, other: Range) -> Range:
        """The smallest that holds both."""
        low = min((self.low, self.low_open), (other.low, other.low_open))
        high = max((self.high, not self.high_open), (other.high, not other.high_open))
        return Range(*low, high[0], not high[1])


Bound = frozenset[Any] | Range
Bounds = dict[str, Bound]


def narrow(tree: Node) -> Bounds:
    """What must hold of single facts for a condition to be true: fact → values, or the range of a number."""
    match tree:
        case Logic(op="&&", parts=parts):
            found: Bounds = {}
            for part in parts:
                for name, bound in narrow(part).items():
                    found[name] = _both(found[name], bound) if name in found else bound
            return found
        case Logic(parts=parts):
            each = [narrow(part) for part in parts]
            shared = set.intersection(*(set(bounds) for bounds in each))
            return {name: _either([bounds[name] for bounds in each]) for name in shared}
        case Path(name=name) if name in FACTS:
            return {name: frozenset([True])}
        case Not(inner=inner):
            return _not(inner)
        case Compare():
            return _compared(tree)
    return {}


def _both(a: Bound, b: Bound) -> Bound:
    if isinstance(a, Range) and isinstance(b, Range):
        return a.both(b)
    return a & b if isinstance(a, frozenset) and isinstance(b, frozenset) else a


def _either(bounds: Sequence[Bound]) -> Bound:
    first, *rest = bounds
    for other in rest:
        if isinstance(first, Range) and isinstance(other, Range):
            first = first.around(other)
        elif isinstance(first, frozenset) and isinstance(other, frozenset):
            first = first | other
    return first


def _not(inner: Node) -> Bounds:
    match inner:
        case Not(inner=twice):
            return narrow(twice)
        case Path(name=name) if name in FACTS:
            return {name: frozenset([False])}
        case Logic(op="||", parts=parts):
            return narrow(Logic("&&", tuple(Not(part, part.column) for part in parts), inner.column))
        case Logic(parts=parts):
            return narrow(Logic("||", tuple(Not(part, part.column) for part in parts), inner.column))
        case Compare(op=op) if op in _NEGATED:
            return _compared(Compare(_NEGATED[op], inner.left, inner.right, inner.column))
    return {}


def _compared(tree: Compare) -> Bounds:
    op, left, right = tree.op, tree.left, tree.right
    if op != "in" and constant(left) is not None:
        op, left, right = _TURNED[op], right, left
    if not isinstance(left, Path) or left.name not in FACTS:
        return {}
    fact, value = FACTS[left.name], constant(right)
    if value is None:
        return {}
    if fact.kind == "class":
        ranks = [r for r in CLASSES.values() if (r in value if op == "in" else OPERATORS[op](r, value))]
        return {left.name: frozenset(name for name, rank in CLASSES.items() if rank in ranks)}
    if fact.kind in ("int", "double"):
        bound = _range(op, value)
        return {} if bound is None else {left.name: bound}
    if op in ("==", "in") and fact.kind in ("string", "bool"):
        return {left.name: frozenset(value if op == "in" else [value])}
    return {}


def _range(op: str, value: Any) -> Range | None:
    match op:
        case "in":
            return Range(min(value), False, max(value), False) if value else Range(1, False, 0, False)
        case "==":
            return Range(value, False, value, False)
        case "<" | "<=":
            return Range(high=value, high_open=op == "<")
        case ">" | ">=":
            return Range(low=value, low_open=op == ">")
    return None


class RuleIndex:
    """The rules of one document by what they test. Immutable after it was built."""

    __slots__ = ("_all", "_finite", "_named", "_numbers")

    def __init__(self, rules: Sequence[Rule]) -> None:
        bounds = [narrow(rule.tree) for rule in rules]
        self._all = (1 << len(rules)) - 1
        self._named: list[
            tuple[str, str, dict[Any, int], int]
        ] = []  # group, field, value → bits, of any other
        self._finite: list[
            tuple[str, str, dict[Any, int]]
        ] = []  # a value that can't be is an error, as in a rule
        self._numbers: list[tuple[str, str, list[float], list[int]]] = []  # group, field, edges, bits by cell
        for name in sorted({name for found in bounds for name in found}):
            group, _, field = name.partition(".")
            own = [found.get(name) for found in bounds]
            match FACTS[name].kind:
                case "int" | "double":
                    self._numbers.append((group, field, *_cells(own)))
                case "class" | "bool":
                    by_value, other = _values(own)
                    every = FACTS[name].values or ()
                    self._finite.append((group, field, {v: by_value.get(v, other) for v in every}))
                case _:
                    self._named.append((group, field, *_values(own)))

    def possible(self, values: Values) -> int:
        """One bit a rule that may match, the first rule's the lowest. Raises where a fact it needs can't be read."""
        bits = self._all
        for group, field, by_value, other in self._named:
            bits &= by_value.get(values[group][field], other)
        for group, field, by_class in self._finite:
            bits &= by_class[values[group][field]]
        for group, field, edges, by_cell in self._numbers:
            value = values[group][field]
            if value == value:  # what is not a number lies in no cell and rules nothing out
                at = bisect_left(edges, value)
                bits &= by_cell[2 * at + (at < len(edges) and edges[at] == value)]
        return bits


def _values(own: Sequence[Any]) -> tuple[dict[Any, int], int]:
    """(value → bits of the rules it leaves, bits for every other value)."""
    other = sum(1 << i for i, bound in enumerate(own) if bound is None)
    by_value: dict[Any, int] = {}
    for i, bound in enumerate(own):
        for value in bound or ():
            by_value[value] = by_value.get(value, other) | 1 << i
    return by_value, other


def _cells(own: Sequence[Any]) -> tuple[list[float], list[int]]:
    """(edges, bits by cell): cell 0 is below the first edge, 1 on it, 2 between it and the second, 3 on that, …"""
    edges = sorted({e for r in own if r is not None for e in (r.low, r.high) if math.isfinite(e)})
    place = {edge: 2 * i + 1 for i, edge in enumerate(edges)}
    cells = 2 * len(edges) + 1
    begin, end = [0] * cells, [0] * cells
    for i, r in enumerate(own):
        first = place[r.low] + r.low_open if r is not None and r.low in place else 0
        last = place[r.high] - r.high_open if r is not None and r.high in place else cells - 1
        if first <= last:
            begin[first] |= 1 << i
            end[last] |= 1 << i
    bits, within = [], 0
    for cell in range(cells):
        within |= begin[cell]
        bits.append(within)
        within &= ~end[cell]
    return edges, bits


def ones(bits: int) -> Iterator[int]:
    """The places of the set bits, lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def index_of(rules: Sequence[Rule]) -> RuleIndex | None:
    """The index of a document long enough to need one."""
    return RuleIndex(rules) if len(rules) >= MIN_RULES else None
