"""Trees become closures for the hot path, and a three-valued evaluation for proofs.

Both agree with the CEL library on whole facts; a property test compares them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from routing.policy.cel import Compare, Has, Items, Literal, Logic, Method, Node, Not, Path
from routing.policy.facts import CLASSES, FACTS

Values = Mapping[str, Any]
Closure = Callable[[Values], Any]
UNKNOWN = object()  # a fact the proof knows nothing about
_OPS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CLASS_FACTS = {name for name, fact in FACTS.items() if fact.kind == "class"}


def compile_tree(tree: Node) -> Closure:
    """A function of the nested facts ({"data": {"sensitivity": …}, "hop": …})."""
    match tree:
        case Literal(value=value):
            return lambda values: value
        case Items(items=items):
            parts = [compile_tree(item) for item in items]
            return lambda values: [part(values) for part in parts]
        case Path(name=name):
            return _path(name)
        case Has():
            return lambda values: True  # facts are always whole
        case Not(inner=inner):
            negated = compile_tree(inner)
            return lambda values: not negated(values)
        case Logic(op="&&", parts=parts):
            every = [compile_tree(part) for part in parts]
            return lambda values: all(part(values) for part in every)
        case Logic(parts=parts):
            some = [compile_tree(part) for part in parts]
            return lambda values: any(part(values) for part in some)
        case Method(subject=subject, name=name, argument=argument):
            return _method(compile_tree(subject), name, argument)
        case Compare(op="in", left=left, right=right):
            needle, stack = compile_tree(left), compile_tree(right)
            return lambda values: needle(values) in stack(values)
        case Compare(op=op, left=left, right=right):
            compare, first, second = _OPS[op], compile_tree(left), compile_tree(right)
            return lambda values: compare(first(values), second(values))
    raise AssertionError(tree)


def _path(name: str) -> Closure:
    if name in CLASSES:
        rank = CLASSES[name]
        return lambda values: rank
    group, _, field = name.partition(".")
    if not field:
        return lambda values: values[group]
    if name in _CLASS_FACTS:
        return lambda values: CLASSES[values[group][field]]
    return lambda values: values[group][field]


def _method(subject: Closure, name: str, argument: str) -> Closure:
    if name == "startsWith":
        return lambda values: subject(values).startswith(argument)
    if name == "endsWith":
        return lambda values: subject(values).endswith(argument)
    return lambda values: argument in subject(values)


def possible(tree: Node, known: Mapping[str, Any]) -> frozenset[bool]:
    """Which outcomes the condition can have when only `known` (dotted names) is fixed and all else adversarial.

    Sound, not always sharp: it may name an outcome that no request reaches, never miss one that a request does.
    """
    match tree:
        case Literal(value=value):
            return frozenset([bool(value)])
        case Has():
            return frozenset([True])
        case Not(inner=inner):
            return frozenset(not outcome for outcome in possible(inner, known))
        case Logic(op=op, parts=parts):
            return _possible_logic(op, [possible(part, known) for part in parts])
        case Path(name=name):
            return frozenset([bool(known[name])]) if name in known else frozenset([True, False])
        case Method(subject=Path(name=name)) if name in known:
            return frozenset([bool(_method(lambda values: known[name], tree.name, tree.argument)({}))])
        case Compare(op=op, left=left, right=right):
            a, b = _constant(left, known), _constant(right, known)
            if a is UNKNOWN or b is UNKNOWN:
                return frozenset([True, False])
            return frozenset([bool(a in b if op == "in" else _OPS[op](a, b))])
    return frozenset([True, False])


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


def _constant(node: Node, known: Mapping[str, Any]) -> Any:
    match node:
        case Literal(value=value):
            return value
        case Path(name=name) if name in CLASSES:
            return CLASSES[name]
        case Path(name=name) if name in known:
            return CLASSES[known[name]] if name in _CLASS_FACTS else known[name]
        case Items(items=items):
            values = [_constant(item, known) for item in items]
            return UNKNOWN if any(value is UNKNOWN for value in values) else values
    return UNKNOWN
