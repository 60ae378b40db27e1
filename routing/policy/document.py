"""YAML to Document: located faults, nothing executed, nothing guessed."""

from __future__ import annotations

import hashlib
from typing import Any

import jsonschema
import yaml

from routing.policy.cel import CelError, Literal, Node, parse
from routing.policy.check import check
from routing.policy.compile import compile_tree, possible
from routing.policy.rules import Document, Invariant, Route, Rule
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import usd_to_nusd

MAX_BYTES, MAX_RULES = 200_000, 2_000
_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
_USD = {"type": ["number", "string"]}
_ROUTE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "prefer": _NAMES | {"minItems": 1},
        "choose": {"enum": ["cheapest", "fastest", "best"]},
        "among": _NAMES | {"minItems": 1},
        "quality_floor": {"anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": r"^abs:[01](\.\d+)?$"}]},
        "split": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
        "cascade": _NAMES | {"minItems": 2},
        "until": {"type": "string", "pattern": r"^\s*confidence\s*>=\s*(0(\.\d+)?|1(\.0+)?)\s*$"},
        "fallback": _NAMES,
        "shadow": _NAMES,
        "max_cost_usd": _USD,
        "guards": _NAMES,
        "deny": {"const": True},
    },
}  # fmt: skip
_CONDITION = {"type": ["string", "boolean"]}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "invariants": {"type": "array", "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "never"],
            "properties": {"name": {"type": "string"}, "never": _CONDITION}}},
        "rules": {"type": "array", "maxItems": MAX_RULES, "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "when", "route"],
            "properties": {"name": {"type": "string"}, "when": _CONDITION, "route": _ROUTE}}},
        "default": {"anyOf": [{"const": "deny"}, _ROUTE]},
    },
}  # fmt: skip
KINDS = ("prefer", "choose", "split", "cascade", "deny")


class Faults:
    """Collects located faults; `raise_if_any` ends in one ValidationFailed that lists all of them."""

    def __init__(self, positions: dict[str, tuple[int, int]]) -> None:
        self.positions, self.errors = positions, []  # type: ignore[var-annotated]

    def add(self, path: str, message: str, column_offset: int = 0, **extra: Any) -> None:
        line, column = self.positions.get(path) or self.positions.get(path.rpartition(".")[0]) or (1, 1)
        self.errors.append(
            {"path": path, "line": line, "column": column + column_offset, "message": message} | extra
        )

    def raise_if_any(self) -> None:
        if self.errors:
            first = self.errors[0]
            more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
            raise ValidationFailed(f"{first['path'] or 'document'}: {first['message']}{more}", self.errors)


def digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def parse_document(source: str, *, organisation: bool, label: str = "") -> Document:
    """Read and check one document. Raises ValidationFailed with every fault's path, line and column."""
    data, positions = _load(source)
    faults = Faults(positions)
    for error in sorted(
        jsonschema.Draft202012Validator(SCHEMA).iter_errors(data), key=lambda e: list(map(str, e.path))
    ):
        faults.add(_dotted(error.absolute_path), _shorten(error))
    faults.raise_if_any()
    if organisation and "default" not in data:
        faults.add("", "The organisation's document needs a `default`: `deny`, or a route.")
    if not organisation and (data.get("invariants") or "default" in data):
        faults.add(
            "invariants" if data.get("invariants") else "default",
            "A line of business refines the organisation's policy: invariants and default are the organisation's alone.",
        )
    invariants = [_invariant(i, item, faults) for i, item in enumerate(data.get("invariants") or [])]
    rules = [_rule(i, item, faults) for i, item in enumerate(data.get("rules") or [])]
    default = _default(data.get("default"), faults) if "default" in data else None
    faults.raise_if_any()
    good = tuple(rule for rule in rules if rule is not None)
    _check_reachable(good, faults)
    faults.raise_if_any()
    return Document(good, tuple(i for i in invariants if i), default, digest(source), label, positions)


def _load(source: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    if len(source.encode()) > MAX_BYTES:
        raise ValidationFailed(f"The document is larger than {MAX_BYTES} bytes.")
    try:
        node = yaml.compose(source, Loader=yaml.SafeLoader)
        data = yaml.safe_load(source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        fault = {"path": "", "line": line, "column": column, "message": f"Not YAML: {error.problem}."}
        raise ValidationFailed(f"Not YAML, line {line}: {error.problem}.", [fault]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValidationFailed(f"Not YAML: {error}.") from None
    if not isinstance(data, dict):
        raise ValidationFailed(
            "The document must be a mapping with `rules`, and for the organisation `invariants` and `default`."
        )
    positions: dict[str, tuple[int, int]] = {}
    _locate(node, "", positions)
    return data, positions


def _locate(node: Any, path: str, out: dict[str, tuple[int, int]]) -> None:
    out[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _locate(value, f"{path}.{key.value}" if path else str(key.value), out)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _locate(value, f"{path}[{i}]", out)


def _dotted(parts: Any) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else str(part))
    return path


def _shorten(error: jsonschema.ValidationError) -> str:
    if error.validator == "additionalProperties":
        known = ", ".join(sorted(error.schema.get("properties", {})))
        return f"{error.message.split('(')[-1].rstrip(')')}; known are {known}.".capitalize()
    return error.message[:300] + "."


def _condition(source: Any, path: str, faults: Faults, *, invariant: bool) -> Node | None:
    if isinstance(source, bool):
        return Literal(source, 1)
    try:
        tree = parse(source)
        check(tree, invariant=invariant)
    except CelError as error:
        faults.add(path, error.message, error.column - 1)
        return None
    return tree


def _invariant(i: int, item: dict[str, Any], faults: Faults) -> Invariant | None:
    path = f"invariants[{i}].never"
    tree = _condition(item["never"], path, faults, invariant=True)
    if tree is None:
        return None
    line = faults.positions.get(path, (0, 0))[0]
    return Invariant(item["name"], str(item["never"]), tree, compile_tree(tree), line)


def _rule(i: int, item: dict[str, Any], faults: Faults) -> Rule | None:
    path = f"rules[{i}]"
    tree = _condition(item["when"], f"{path}.when", faults, invariant=False)
    route = _route(item["route"], f"{path}.route", faults)
    if tree is None or route is None:
        return None
    line = faults.positions.get(path, (0, 0))[0]
    return Rule(
        item["name"],
        str(item["when"]).lower() if isinstance(item["when"], bool) else item["when"],
        tree,
        compile_tree(tree),
        route,
        line,
    )


def _default(item: Any, faults: Faults) -> Route | None:
    return Route("deny") if item == "deny" else _route(item, "default", faults)


def _route(item: dict[str, Any], path: str, faults: Faults) -> Route | None:
    kinds = [kind for kind in KINDS if kind in item]
    if len(kinds) != 1:
        faults.add(
            path, f"A route has exactly one of {', '.join(KINDS)}; found {', '.join(kinds) or 'none'}."
        )
        return None
    kind = kinds[0]
    for name, owner in (("among", "choose"), ("quality_floor", "choose"), ("until", "cascade")):
        if name in item and owner != kind:
            faults.add(f"{path}.{name}", f"`{name}` belongs to `{owner}`.")
            return None
    needs = {"choose": "among", "cascade": "until"}.get(kind)
    if needs and needs not in item:
        faults.add(path, f"`{kind}` needs `{needs}`.")
        return None
    floor, absolute = _floor(item.get("quality_floor"))
    targets = {"prefer": item.get("prefer"), "choose": item.get("among"), "cascade": item.get("cascade"),
               "split": list(item.get("split") or {})}.get(kind) or []  # fmt: skip
    until = float(item["until"].partition(">=")[2]) if kind == "cascade" else None
    return Route(
        kind=kind, targets=tuple(targets), fallback=tuple(item.get("fallback") or ()), shadow=tuple(item.get("shadow") or ()),
        choose=item.get("choose", "cheapest"), quality_floor=floor, floor_is_absolute=absolute,
        weights=tuple((item.get("split") or {}).items()), until_confidence=until,
        max_cost_nusd=_usd(item.get("max_cost_usd"), path, faults), guards=tuple(item.get("guards") or ()),
    )  # type: ignore[arg-type]  # fmt: skip


def _floor(value: Any) -> tuple[float | None, bool]:
    if isinstance(value, str):
        return float(value.removeprefix("abs:")), True
    return (None if value is None else float(value)), False


def _usd(value: Any, path: str, faults: Faults) -> int | None:
    if value is None:
        return None
    try:
        return usd_to_nusd(str(value))
    except ArithmeticError:
        faults.add(f"{path}.max_cost_usd", f"{value!r} is not an amount of dollars.")
        return None


def _check_reachable(rules: tuple[Rule, ...], faults: Faults) -> None:
    """A rule after one that always holds, a condition that never does, and a repeated condition are dead."""
    seen: dict[str, str] = {}
    always = ""
    for i, rule in enumerate(rules):
        path, outcomes = f"rules[{i}].when", possible(rule.tree, {})
        normal = "".join(rule.source.split())
        if always:
            faults.add(path, f"Unreachable: rule {always!r} before it always matches.")
        elif outcomes == {False}:
            faults.add(path, "This condition is never true.")
        elif normal in seen:
            faults.add(path, f"Unreachable: rule {seen[normal]!r} has the same condition.")
        if outcomes == {True} and not always:
            always = rule.name
        seen.setdefault(normal, rule.name)
