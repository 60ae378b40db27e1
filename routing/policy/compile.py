"""Trees become closures for the hot path. They agree with the CEL library on whole facts; a property test compares them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from routing.policy.cel import Compare, Has, Items, Literal, Logic, Method, Node, Not, Path
from routing.policy.facts import CLASSES, FACTS, MASKED

Values = Mapping[str, Any]
Closure = Callable[[Values], Any]
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
CLASS_FACTS = frozenset(name for name, fact in FACTS.items() if fact.kind == "class")


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
        case Logic(op=op, parts=parts):
            return _logic(op, [compile_tree(part) for part in parts])
        case Method(subject=subject, name=name, argument=argument):
            return _method(compile_tree(subject), name, argument)
        case Compare():
            return _compare(tree)
    raise AssertionError(tree)


def _logic(op: str, parts: list[Closure]) -> Closure:
    """Pairs are spelt out: a loop for each evaluation costs more than the comparison inside.

    As in CEL the order of the parts decides nothing: an error beside a decisive part (a false of &&, a true of ||) is
    that part, whichever stands first; only an error that nothing decides is raised.
    """
    if len(parts) > 8:
        return _long_logic(op, parts)
    first = parts[0]
    rest = parts[1] if len(parts) == 2 else _logic(op, parts[1:])

    def both(values: Values) -> Any:
        try:
            return first(values) and rest(values)
        except Exception:
            if not rest(values):
                return False
            raise

    def either(values: Values) -> Any:
        try:
            return first(values) or rest(values)
        except Exception:
            if rest(values):
                return True
            raise

    return both if op == "&&" else either


def _long_logic(op: str, parts: list[Closure]) -> Closure:
    decisive = op == "||"

    def decide(values: Values) -> bool:
        failed: Exception | None = None
        for part in parts:
            try:
                if bool(part(values)) is decisive:
                    return decisive
            except Exception as error:
                failed = error
        if failed is not None:
            raise failed
        return not decisive

    return decide


def _compare(tree: Compare) -> Closure:
    value = constant(tree.right)
    if (
        value is not None
        and isinstance(tree.left, Path)
        and "." in tree.left.name
        and tree.left.name != MASKED
    ):
        return _compare_fact(tree.left.name, tree.op, value)
    left, right = compile_tree(tree.left), compile_tree(tree.right)
    if tree.op == "in":
        if value is not None:
            wanted = frozenset(value)
            return lambda values: left(values) in wanted
        return lambda values: left(values) in right(values)
    if value is not None and tree.op == "==":
        return lambda values: left(values) == value
    compare = OPERATORS[tree.op]
    return lambda values: compare(left(values), right(values))


def _compare_fact(name: str, op: str, value: Any) -> Closure:
    """One fact with a constant, as nearly all comparisons are: without a function of its own for the fact."""
    group, _, field = name.partition(".")
    if op == "in":
        wanted = frozenset(value)
        if name in CLASS_FACTS:
            return lambda values: CLASSES[values[group][field]] in wanted
        return lambda values: values[group][field] in wanted
    compare = OPERATORS[op]
    if name in CLASS_FACTS:
        return lambda values: compare(CLASSES[values[group][field]], value)
    if op == "==":
        return lambda values: values[group][field] == value
    return lambda values: compare(values[group][field], value)


def constant(node: Node) -> Any:
    """The value of a node that tests no fact, else None (which no expression can write)."""
    match node:
        case Literal(value=value):
            return value
        case Path(name=name) if name in CLASSES:
            return CLASSES[name]
        case Items(items=items):
            values = [constant(item) for item in items]
            return None if any(value is None for value in values) else values
    return None


def _path(name: str) -> Closure:
    if name in CLASSES:
        rank = CLASSES[name]
        return lambda values: rank
    if name == MASKED:
        return lambda values: values["masked"]  # told beside the facts, with the target: it differs by hop
    group, _, field = name.partition(".")
    if not field:
        return lambda values: values[group]
    if name in CLASS_FACTS:
        return lambda values: CLASSES[values[group][field]]
    return lambda values: values[group][field]


def _method(subject: Closure, name: str, argument: str) -> Closure:
    if name == "startsWith":
        return lambda values: subject(values).startswith(argument)
    if name == "endsWith":
        return lambda values: subject(values).endswith(argument)
    return lambda values: argument in subject(values)
