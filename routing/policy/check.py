"""What save refuses inside an expression: unknown fields, wrong types, each with its column and a suggestion."""

from __future__ import annotations

import difflib

from routing.policy.cel import CelError, Compare, Has, Items, Literal, Logic, Method, Node, Not, Path
from routing.policy.facts import CLASSES, FACTS, TARGET_FACTS, FactType

NUMBERS = {"int", "double"}


def check(tree: Node, *, invariant: bool) -> None:
    """Raise CelError unless the tree is a boolean over known facts. Only invariants may test target.* and hop."""
    known = {**FACTS, **TARGET_FACTS} if invariant else dict(FACTS)
    if _kind(tree, known) != "bool":
        raise CelError("A condition must be true or false.", tree.column)


def _fact(path: Path, known: dict[str, FactType]) -> FactType:
    fact = known.get(path.name)
    if fact is not None:
        return fact
    if path.name in TARGET_FACTS:
        raise CelError(f"{path.name} can be tested in invariants only.", path.column)
    near = difflib.get_close_matches(path.name, [*known, *CLASSES], n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else " `GET /api/v1/policies/facts` lists all of them."
    raise CelError(f"Unknown field {path.name}.{hint}", path.column)


def _kind(node: Node, known: dict[str, FactType]) -> str:
    match node:
        case Literal(value=bool()):
            return "bool"
        case Literal(value=int()):
            return "int"
        case Literal(value=float()):
            return "double"
        case Literal():
            return "string"
        case Items(items=items):
            for item in items:
                _kind(item, known)
            return "items"
        case Path(name=name) if name in CLASSES:
            return "class"
        case Path():
            return _fact(node, known).kind
        case Has(path=path):
            _fact(path, known)
            return "bool"
        case Not(inner=inner):
            _want_bool(inner, known)
            return "bool"
        case Logic(parts=parts):
            for part in parts:
                _want_bool(part, known)
            return "bool"
        case Method(subject=subject, name=name):
            if _kind(subject, known) != "string":
                raise CelError(f"{name}() works on text only.", node.column)
            return "bool"
        case Compare():
            _check_compare(node, known)
            return "bool"
    raise AssertionError(node)


def _want_bool(node: Node, known: dict[str, FactType]) -> None:
    kind = _kind(node, known)
    if kind != "bool":
        raise CelError(f"Expected true or false here, found a {kind}.", node.column)


def _check_compare(node: Compare, known: dict[str, FactType]) -> None:
    left, right = _kind(node.left, known), _kind(node.right, known)
    if node.op == "in":
        if right == "list" and left == "string":
            return
        if right != "items":
            raise CelError('`in` needs a list on its right, such as ["a", "b"].', node.column)
        for item in node.right.items:  # type: ignore[union-attr]
            _comparable("==", left, _kind(item, known), item.column)
            _check_value(node.left, item, known)
        return
    _comparable(node.op, left, right, node.column)
    _check_value(node.left, node.right, known)
    _check_value(node.right, node.left, known)


def _comparable(op: str, left: str, right: str, column: int) -> None:
    same = left == right or {left, right} <= NUMBERS
    ordered = left in NUMBERS or left == "class"
    if not same or left in ("list", "items"):
        raise CelError(f"A {left} can't be compared with a {right}.", column)
    if op not in ("==", "!=") and not ordered:
        raise CelError(f"{op} orders numbers and classes, not a {left}.", column)


def _check_value(field: Node, value: Node, known: dict[str, FactType]) -> None:
    """A literal that a finite fact can never have is a misspelling."""
    if not (isinstance(field, Path) and isinstance(value, Literal)) or field.name in CLASSES:
        return
    values = _fact(field, known).values
    if values and isinstance(value.value, str) and value.value not in values:
        near = difflib.get_close_matches(value.value, [str(v) for v in values], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CelError(
            f"{field.name} is never {value.value!r}; it is one of {', '.join(map(str, values))}.{hint}",
            value.column,
        )
