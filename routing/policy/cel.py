"""A parser of our own for the subset of CEL that policies use, because the library gives no tree.

expr   := and ("||" and)* ;  and := compare ("&&" compare)*
compare:= term (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") term)?
term   := "!" term | literal | list | "has(" path ")" | path ["." method "(" string ")"] | "(" expr ")"
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from routing.policy.said import _

MAX_LENGTH, MAX_DEPTH = 2000, 32
INT64 = 2**63  # what CEL calls an int
METHODS = ("startsWith", "endsWith", "contains")
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+\.\d+|\d+)|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<op>\|\||&&|==|!=|<=|>=|[<>!()\[\],.\-]))"""
)


class CelError(ValueError):
    """What is wrong in an expression and where: `column` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message, self.column = message, column


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any
    column: int


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Node, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Path:
    name: str
    column: int


@dataclass(frozen=True, slots=True)
class Has:
    path: Path
    column: int


@dataclass(frozen=True, slots=True)
class Not:
    inner: Node
    column: int


@dataclass(frozen=True, slots=True)
class Logic:
    op: str  # && or ||
    parts: tuple[Node, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Compare:
    op: str
    left: Node
    right: Node
    column: int


@dataclass(frozen=True, slots=True)
class Method:
    subject: Node
    name: str
    argument: str
    column: int


Node = Literal | Items | Path | Has | Not | Logic | Compare | Method


def parse(source: str) -> Node:
    """The tree of an expression. Raises CelError."""
    if len(source) > MAX_LENGTH:
        raise CelError(
            _("The expression has %(n)s characters; at most %(most)s are allowed.")
            % {"n": len(source), "most": MAX_LENGTH},
            1,
        )
    parser = _Parser(_tokens(source))
    tree = parser.either(0)
    kind, text, column = parser.peek()
    if kind != "end":
        raise CelError(
            _("Unexpected %(text)s; expected an operator or the end.") % {"text": repr(text)}, column
        )
    return tree


def _tokens(source: str) -> list[tuple[str, str, int]]:
    tokens, at = [], 0
    end = len(source.rstrip())
    while at < end:
        match = _TOKEN.match(source, at)
        if match is None or match.end() == at:
            column = at + len(source[at:]) - len(source[at:].lstrip()) + 1
            raise CelError(
                _("Can't read %(text)s.") % {"text": repr(source[column - 1 : column + 9])}, column
            )
        kind = match.lastgroup or ""
        tokens.append((kind, match.group(kind), match.start(kind) + 1))
        at = match.end()
    tokens.append(("end", "", len(source) + 1))
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str, int]]) -> None:
        self.tokens, self.at = tokens, 0

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.at]

    def take(self, text: str | None = None) -> tuple[str, str, int]:
        token = self.tokens[self.at]
        if text is not None and token[1] != text:
            raise CelError(
                _("Expected %(text)s, found %(found)s.") % {"text": repr(text), "found": _found(token[1])},
                token[2],
            )
        self.at += 1
        return token

    def either(self, depth: int) -> Node:
        return self._chain("||", self.both, depth)

    def both(self, depth: int) -> Node:
        return self._chain("&&", self.compare, depth)

    def _chain(self, op: str, part: Any, depth: int) -> Node:
        column = self.peek()[2]
        parts = [part(depth)]
        while self.peek()[1] == op and self.peek()[0] == "op":
            self.take()
            parts.append(part(depth))
        return parts[0] if len(parts) == 1 else Logic(op, tuple(parts), column)

    def compare(self, depth: int) -> Node:
        left = self.term(depth)
        kind, text, column = self.peek()
        is_in = kind == "name" and text == "in"
        if is_in or (kind == "op" and text in ("==", "!=", "<", "<=", ">", ">=")):
            self.take()
            return Compare(text, left, self.term(depth), column)
        return left

    def term(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise CelError(_("Nested deeper than %(most)s.") % {"most": MAX_DEPTH}, self.peek()[2])
        kind, text, column = self.take()
        if kind == "number":
            return Literal(_number(text, column), column)
        if kind == "op" and text == "!":
            return Not(self.term(depth + 1), column)
        if kind == "op" and text == "-" and self.peek()[0] == "number":
            return Literal(-_number(self.take()[1], column), column)
        if kind == "string":
            return Literal(_unquote(text, column), column)
        if kind == "op" and text == "(":
            inner = self.either(depth + 1)
            self.take(")")
            return inner
        if kind == "op" and text == "[":
            return Items(tuple(self._items(depth)), column)
        if kind == "name" and text in ("true", "false"):
            return Literal(text == "true", column)
        if kind == "name" and text == "has" and self.peek()[1] == "(":
            self.take("(")
            _kind, name, where = self.take()
            path = self._path(name, where)
            self.take(")")
            if not isinstance(path, Path):
                raise CelError(_("has() takes a field such as data.entities."), where)
            return Has(path, column)
        if kind == "name":
            return self._path(text, column)
        raise CelError(_("Expected a value, found %(found)s.") % {"found": _found(text)}, column)

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while self.peek()[1] != "]":
            items.append(self.term(depth + 1))
            if self.peek()[1] != "]":
                self.take(",")
        self.take("]")
        return items

    def _path(self, name: str, column: int) -> Node:
        while self.peek()[1] == "." and self.peek()[0] == "op":
            self.take()
            kind, part, where = self.take()
            if kind != "name":
                raise CelError(_("Expected a field name after the dot."), where)
            if self.peek()[1] == "(":
                if part not in METHODS:
                    raise CelError(
                        _("Unknown method %(name)s; known are %(known)s.")
                        % {"name": repr(part), "known": ", ".join(METHODS)},
                        where,
                    )
                self.take("(")
                kind, text, where = self.take()
                if kind != "string":
                    raise CelError(_("%(name)s() takes one string.") % {"name": part}, where)
                self.take(")")
                return Method(Path(name, column), part, _unquote(text, where), column)
            name = f"{name}.{part}"
        return Path(name, column)


def _found(text: str) -> str:
    return repr(text) if text else _("the end")


def _number(text: str, column: int) -> int | float:
    value = float(text) if "." in text else int(text)
    if abs(value) >= INT64:
        raise CelError(_("%(text)s is larger than a number may be.") % {"text": text}, column)
    return value


def _unquote(text: str, column: int) -> str:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        raise CelError(_("%(text)s is not a string.") % {"text": text}, column) from None


def show(node: Node) -> str:
    """The expression in one canonical spelling: two conditions that differ only in spaces or quotes look the same."""
    match node:
        case Literal(value=bool(value)):
            return str(value).lower()
        case Literal(value=value):
            return repr(value)
        case Items(items=items):
            return f"[{', '.join(map(show, items))}]"
        case Path(name=name):
            return name
        case Has(path=path):
            return f"has({path.name})"
        case Not(inner=inner):
            return f"!({show(inner)})"
        case Logic(op=op, parts=parts):
            return f" {op} ".join(
                f"({show(part)})" if isinstance(part, Logic) else show(part) for part in parts
            )
        case Method(subject=subject, name=name, argument=argument):
            return f"{show(subject)}.{name}({argument!r})"
        case Compare(op=op, left=left, right=right):
            return f"{_operand(left)} {op} {_operand(right)}"
    raise AssertionError(node)


def _operand(node: Node) -> str:
    return f"({show(node)})" if isinstance(node, Logic | Compare) else show(node)
