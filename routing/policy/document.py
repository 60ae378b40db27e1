"""YAML to Document: located faults, nothing executed, nothing guessed."""

from __future__ import annotations

import hashlib
from typing import Any

import jsonschema

from routing.contracts import CacheRule
from routing.guards.base import GUARDS
from routing.policy.cel import INT64, CelError, Literal, Node, parse
from routing.policy.check import check
from routing.policy.compile import compile_tree
from routing.policy.facts import FACTS
from routing.policy.reach import unreachable
from routing.policy.rules import CALLER, Document, Invariant, Route, Rule
from routing.policy.said import Said, _
from routing.policy.shapes import shape_faults
from routing.policy.source import Faults, finite, load, unseen
from switchyard.core.money import usd_to_nusd

MAX_RULES = 2_000
MAX_TTL_S = 86_400
STICKY_FACTS = tuple(name for name, fact in FACTS.items() if fact.kind == "string")
_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
_USD = {"type": ["number", "string"]}
_ROUTE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "prefer": _NAMES | {"minItems": 1},
        "choose": {"enum": ["cheapest", "fastest", "best"]},
        "among": _NAMES | {"minItems": 1},
        "quality_floor": {"description": "a share of the best in 0..1, or 'abs:0.90'", "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": r"^abs:[01](\.\d+)?$"}]},
        "split": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
        "cascade": _NAMES | {"minItems": 2},
        "until": {"description": "confidence >= a chance in 0..1", "type": "string",
                  "pattern": r"^\s*confidence\s*>=\s*(0(\.\d+)?|1(\.0+)?)\s*$"},
        "fallback": _NAMES,
        "shadow": _NAMES,
        "max_cost_usd": _USD,
        "guards": {"type": "array", "items": {"enum": sorted(GUARDS)}, "uniqueItems": True},
        "deny": {"const": True},
        "learned": {"type": "boolean", "description": "choose by each prompt's own chances"},
        "sticky": {"enum": [CALLER, *STICKY_FACTS], "description": "what a split sticks to"},
        "mask": {"type": "boolean", "description": "replace personal data in whatever leaves"},
        "cache": {
            "type": "object", "additionalProperties": False, "required": ["ttl_s"],
            "properties": {
                "exact": {"type": "boolean"},
                "semantic": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                "ttl_s": {"type": "integer", "minimum": 1, "maximum": MAX_TTL_S},
            },
        },
    },
}  # fmt: skip
_NAME = {"type": "string", "minLength": 1, "maxLength": 120}
_CONDITION = {"type": ["string", "boolean"]}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "invariants": {"type": "array", "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "never"],
            "properties": {"name": _NAME, "never": _CONDITION}}},
        "rules": {"type": "array", "maxItems": MAX_RULES, "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "when", "route"],
            "properties": {"name": _NAME, "when": _CONDITION, "route": _ROUTE}}},
        "default": {"anyOf": [{"const": "deny"}, _ROUTE]},
    },
}  # fmt: skip
_SCHEMA = jsonschema.Draft202012Validator(SCHEMA)
_OWN = Said(" ") + _("Give each a name of its own: traces and counts go by it.")
KINDS = ("prefer", "choose", "split", "cascade", "deny")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def parse_document(text: str, *, organisation: bool, label: str = "", strict: bool = True) -> Document:
    """Read and check one document. Raises ValidationFailed with every fault's path, line and column.

    `strict=False` is for a version that was saved already: what only makes a document pointless is let through.
    """
    source = load(text)
    faults = Faults(source)
    data = source.data
    if strict:
        faults.errors += unseen(text)
        faults.raise_if_any()
    for error in sorted(_SCHEMA.iter_errors(data), key=lambda e: list(map(str, e.path))):
        for fault in shape_faults(error):
            faults.add(_dotted(error.absolute_path), fault)
    faults.raise_if_any()
    _check_scope(data, organisation, faults)
    invariants = [_invariant(i, item, faults) for i, item in enumerate(data.get("invariants") or [])]
    rules = [_rule(i, item, faults) for i, item in enumerate(data.get("rules") or [])]
    default = _default(data.get("default"), faults) if "default" in data else None
    faults.raise_if_any()
    good = tuple(rule for rule in rules if rule is not None)
    if strict:
        _check_names("invariants", data.get("invariants") or [], faults)
        _check_names("rules", data.get("rules") or [], faults)
        for i, message in unreachable(good):
            faults.add(f"rules[{i}].when", message)
        faults.raise_if_any()
    return Document(good, tuple(i for i in invariants if i), default, digest(text), label, source)


def _check_scope(data: dict[str, Any], organisation: bool, faults: Faults) -> None:
    if organisation and "default" not in data:
        faults.add("", _("The organisation's document needs a `default`: `deny`, or a route."))
    if organisation:
        return
    for name in ("invariants", "default"):
        if data.get(name):
            message = _(
                "A line of business refines the organisation's policy and can't redefine its %(part)s."
            )
            faults.add(name, message % {"part": name})


def _check_names(part: str, items: list[dict[str, Any]], faults: Faults) -> None:
    """Traces, counter-examples and error counts go by name."""
    seen: set[str] = set()
    for i, item in enumerate(items):
        if item["name"] in seen:
            told = {"part": part, "name": repr(item["name"])}
            faults.add(f"{part}[{i}].name", _("Two %(part)s are called %(name)s.") % told + _OWN)
        seen.add(item["name"])


def _dotted(parts: Any) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else str(part))
    return path


def _condition(source: Any, path: str, faults: Faults, *, invariant: bool) -> Node | None:
    if isinstance(source, bool):
        return Literal(source, 1)
    try:
        return check(parse(source), invariant=invariant)
    except CelError as error:
        faults.add(path, error.message, error.column - 1)
        return None


def _invariant(i: int, item: dict[str, Any], faults: Faults) -> Invariant | None:
    path = f"invariants[{i}].never"
    tree = _condition(item["never"], path, faults, invariant=True)
    if tree is None:
        return None
    return Invariant(
        item["name"], _written(item["never"]), tree, compile_tree(tree), faults.source.at(path)[0]
    )


def _rule(i: int, item: dict[str, Any], faults: Faults) -> Rule | None:
    path = f"rules[{i}]"
    tree = _condition(item["when"], f"{path}.when", faults, invariant=False)
    route = _route(item["route"], f"{path}.route", faults)
    if tree is None or route is None:
        return None
    return Rule(
        item["name"], _written(item["when"]), tree, compile_tree(tree), route, faults.source.at(path)[0]
    )


def _written(condition: str | bool) -> str:
    return condition if isinstance(condition, str) else str(condition).lower()


def _default(item: Any, faults: Faults) -> Route | None:
    return Route("deny") if item == "deny" else _route(item, "default", faults)


def _route(item: dict[str, Any], path: str, faults: Faults) -> Route | None:
    kinds = [kind for kind in KINDS if kind in item]
    if len(kinds) != 1:
        faults.add(
            path,
            _("A route has exactly one of %(kinds)s; found %(found)s.")
            % {"kinds": ", ".join(KINDS), "found": ", ".join(kinds) or _("none")},
        )
        return None
    kind = kinds[0]
    if not _belongs(item, kind, path, faults):
        return None
    needs = {"choose": "among", "cascade": "until"}.get(kind)
    if needs and needs not in item:
        faults.add(path, _("`%(kind)s` needs `%(needs)s`.") % {"kind": kind, "needs": needs})
        return None
    for name in (name for name in ("quality_floor", "split") if name in item):
        values = item[name].values() if name == "split" else [item[name]]
        if not all(finite(value) for value in values):
            faults.add(f"{path}.{name}", _("A number is expected here, not infinity or `.nan`."))
            return None
    floor, absolute = _floor(item.get("quality_floor"))
    targets = {"prefer": item.get("prefer"), "choose": item.get("among"), "cascade": item.get("cascade"),
               "split": list(item.get("split") or {})}.get(kind) or []  # fmt: skip
    until = float(item["until"].partition(">=")[2]) if kind == "cascade" else None
    return Route(
        kind=kind,  # type: ignore[arg-type]
        targets=tuple(targets), fallback=tuple(item.get("fallback") or ()), shadow=tuple(item.get("shadow") or ()),
        choose=item.get("choose", "cheapest"), quality_floor=floor, floor_is_absolute=absolute,
        weights=tuple((item.get("split") or {}).items()), until_confidence=until,
        max_cost_nusd=_usd(item.get("max_cost_usd"), path, faults), guards=tuple(item.get("guards") or ()),
        learned=bool(item.get("learned")), sticky=item.get("sticky", CALLER), mask=bool(item.get("mask")),
        cache=_cache(item.get("cache"), path, faults),
    )  # type: ignore[arg-type]  # fmt: skip


_OWNERS = (
    ("among", ("choose",)), ("quality_floor", ("choose",)), ("learned", ("choose",)), ("until", ("cascade",)),
    ("sticky", ("split",)), ("cache", KINDS[:-1]), ("mask", KINDS[:-1]),
)  # fmt: skip


def _belongs(item: dict[str, Any], kind: str, path: str, faults: Faults) -> bool:
    for name, owners in _OWNERS:
        if name in item and kind not in owners:
            told = {"name": name, "owners": ", ".join(f"`{o}`" for o in owners)}
            faults.add(f"{path}.{name}", _("`%(name)s` belongs to %(owners)s.") % told)
            return False
    return True


def _cache(item: dict[str, Any] | None, path: str, faults: Faults) -> CacheRule | None:
    if item is None:
        return None
    semantic = item.get("semantic")
    if semantic is not None and not finite(semantic):
        faults.add(f"{path}.cache.semantic", _("A number is expected here, not infinity or `.nan`."))
        return None
    rule = CacheRule(item.get("exact", True), None if semantic is None else float(semantic), item["ttl_s"])
    if not rule.exact and rule.semantic is None:
        faults.add(
            f"{path}.cache",
            _("This keeps nothing: let `exact` be true, name a `semantic` similarity, or leave it out."),
        )
    return rule


def _floor(value: Any) -> tuple[float | None, bool]:
    if isinstance(value, str):
        return float(value.removeprefix("abs:")), True
    return (None if value is None else float(value)), False


def _usd(value: Any, path: str, faults: Faults) -> int | None:
    if value is None:
        return None
    try:
        cap = usd_to_nusd(str(value))
    except (ArithmeticError, ValueError):
        cap = -1
    if cap < 0 or cap >= INT64:
        faults.add(
            f"{path}.max_cost_usd", _("%(value)s is not an amount of dollars.") % {"value": repr(value)}
        )
    return cap
