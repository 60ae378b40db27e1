"""What save refuses inside an expression: unknown fields, wrong types, each with its column and a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from routing.policy.cel import CelError, Compare, Has, Items, Literal, Logic, Method, Node, Not, Path
from routing.policy.facts import CLASS_NAMES, CLASSES, FACTS, TARGET_FACTS, FactType
from routing.policy.said import Said, _

NUMBERS = {"int", "double"}
Known = dict[str, FactType]


def check(tree: Node, *, invariant: bool) -> Node:
    """The tree as it will be compiled, a boolean over known facts. Raises CelError.

    Only invariants may test target.* and hop. A class in quotes, as in `data.sensitivity == "restricted"`, becomes
    the constant of that name.
    """
    known = {**FACTS, **TARGET_FACTS} if invariant else dict(FACTS)
    tree = _with_classes(tree, known)
    if _kind(tree, known) != "bool":
        raise CelError(_("A condition must be true or false."), tree.column)
    return tree


def _with_classes(node: Node, known: Known) -> Node:
    match node:
        case Not(inner=inner):
            return replace(node, inner=_with_classes(inner, known))
        case Logic(parts=parts):
            return replace(node, parts=tuple(_with_classes(part, known) for part in parts))
        case Compare(left=left, right=right):
            left, right = _with_classes(left, known), _with_classes(right, known)
            if _is_class(left, known):
                right = _class_constant(right)
            if _is_class(right, known):
                left = _class_constant(left)
            return replace(node, left=left, right=right)
    return node


def _is_class(node: Node, known: Known) -> bool:
    return isinstance(node, Path) and node.name in known and known[node.name].kind == "class"


def _class_constant(node: Node) -> Node:
    if isinstance(node, Items):
        return replace(node, items=tuple(_class_constant(item) for item in node.items))
    if isinstance(node, Literal) and isinstance(node.value, str):
        if node.value not in CLASSES:
            raise CelError(
                _("%(value)s is no class.") % {"value": repr(node.value)} + _hint(node.value, CLASS_NAMES),
                node.column,
            )
        return Path(node.value, node.column)
    return node


def _hint(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """What to put behind a sentence: with a blank in front, or empty."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    hint = _("Did you mean %(word)s?") % {"word": near[0]} if near else otherwise
    return Said(" ") + hint if hint else ""


def _fact(path: Path, known: Known) -> FactType:
    fact = known.get(path.name)
    if fact is not None:
        return fact
    if path.name in TARGET_FACTS:
        raise CelError(_("%(name)s can be tested in invariants only.") % {"name": path.name}, path.column)
    hint = _hint(path.name, [*known, *CLASSES], _("`GET /api/v1/policies/facts` lists all of them."))
    raise CelError(_("Unknown field %(name)s.") % {"name": path.name} + hint, path.column)


def _kind(node: Node, known: Known) -> str:
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
                raise CelError(_("%(name)s() works on text only.") % {"name": name}, node.column)
            return "bool"
        case Compare():
            _check_compare(node, known)
            return "bool"
    raise AssertionError(node)


def _want_bool(node: Node, known: Known) -> None:
    kind = _kind(node, known)
    if kind != "bool":
        raise CelError(_("Expected true or false here, found a %(kind)s.") % {"kind": kind}, node.column)


def _check_compare(node: Compare, known: Known) -> None:
    left, right = _kind(node.left, known), _kind(node.right, known)
    if node.op == "in":
        if right == "list" and left == "string":
            _check_value(node.right, node.left, known)
            return
        if not isinstance(node.right, Items):
            raise CelError(_('`in` needs a list on its right, such as ["a", "b"].'), node.column)
        for item in node.right.items:
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
        raise CelError(
            _("A %(left)s can't be compared with a %(right)s.") % {"left": left, "right": right}, column
        )
    if op not in ("==", "!=") and not ordered:
        raise CelError(
            _("%(op)s orders numbers and classes, not a %(kind)s.") % {"op": op, "kind": left}, column
        )


def _check_value(field: Node, value: Node, known: Known) -> None:
    """A literal that a finite fact can never have is a misspelling."""
    if not (isinstance(field, Path) and isinstance(value, Literal)) or field.name in CLASSES:
        return
    values = _fact(field, known).values
    if values and isinstance(value.value, str) and value.value not in values:
        allowed = [str(v) for v in values]
        message = _("%(name)s is never %(value)s; it is one of %(values)s.") % {
            "name": field.name, "value": repr(value.value), "values": ", ".join(allowed)
        }  # fmt: skip
        raise CelError(message + _hint(value.value, allowed), value.column)
