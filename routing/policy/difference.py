"""What changed between two documents, rule by rule: added, removed, renamed, moved, changed. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from routing.policy.rules import Document, Invariant, Route, Rule

Kind = Literal["added", "removed", "renamed", "moved", "changed"]
Part = Literal["invariant", "rule", "default"]
_UNSAID = ((), None, "", False)
_ONLY_OF = {"choose": "choose", "sticky": "split"}


@dataclass(frozen=True, slots=True)
class Detail:
    """One field of a rule: `when`, or a part of its route; "" where it isn't said."""

    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Change:
    """`old_place`, `new_place`: from 1 within its part, None where it isn't. `details`: what of it reads differently."""

    part: Part
    kinds: tuple[Kind, ...]
    name: str
    old_name: str = ""
    old_place: int | None = None
    new_place: int | None = None
    details: tuple[Detail, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "part": self.part, "kinds": list(self.kinds), "name": self.name, "old_name": self.old_name,
            "old_place": self.old_place, "new_place": self.new_place,
            "details": [{"field": d.field, "old": d.old, "new": d.new} for d in self.details],
        }  # fmt: skip


def by_rule(old: Document, new: Document) -> list[Change]:
    """Every change, invariants first, then rules in the order of the new document (removed ones at the end), the default."""
    return [
        *_of_part("invariant", old.invariants, new.invariants),
        *_of_part("rule", old.rules, new.rules),
        *_of_default(old.default, new.default),
    ]


def _of_part(
    part: Part, old: Sequence[Invariant | Rule], new: Sequence[Invariant | Rule]
) -> Iterator[Change]:
    was = {item.name: i for i, item in enumerate(old)}
    renamed = _renamed(old, new)
    pairs = [(was.get(renamed.get(item.name, item.name)), i) for i, item in enumerate(new)]
    still = _in_order([place for place, _ in pairs if place is not None])
    for place, i in pairs:
        item = new[i]
        if place is None:
            yield Change(part, ("added",), item.name, new_place=i + 1, details=tuple(_details(None, item)))
            continue
        kinds: list[Kind] = []
        details = tuple(_details(old[place], item))
        if old[place].name != item.name:
            kinds.append("renamed")
        if place not in still:
            kinds.append("moved")
        if details:
            kinds.append("changed")
        if kinds:
            yield Change(part, tuple(kinds), item.name, old[place].name, place + 1, i + 1, details)
    kept = {place for place, _ in pairs}
    for place, item in enumerate(old):
        if place not in kept:
            yield Change(
                part, ("removed",), item.name, old_place=place + 1, details=tuple(_details(item, None))
            )


def _renamed(old: Sequence[Invariant | Rule], new: Sequence[Invariant | Rule]) -> dict[str, str]:
    """New name → old name, where all but the name is the same and neither name stands in the other document."""
    was, are = {item.name for item in old}, {item.name for item in new}
    gone = [item for item in old if item.name not in are]
    found: dict[str, str] = {}
    for item in new:
        if item.name in was:
            continue
        same = next((g for g in gone if _body(g) == _body(item)), None)
        if same is not None:
            gone.remove(same)
            found[item.name] = same.name
    return found


def _body(item: Invariant | Rule) -> tuple[Any, ...]:
    return (item.source, item.route) if isinstance(item, Rule) else (item.source,)


def _in_order(places: Sequence[int]) -> frozenset[int]:
    """The longest run that kept its order: the others are the ones that moved (patience sorting)."""
    tails: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for i, place in enumerate(places):
        length = bisect_left(tails, place)
        before.append(at[length - 1] if length else -1)
        if length == len(tails):
            tails.append(place)
            at.append(i)
        else:
            tails[length], at[length] = place, i
    chain, i = set(), at[-1] if at else -1
    while i >= 0:
        chain.add(places[i])
        i = before[i]
    return frozenset(chain)


def _of_default(old: Route | None, new: Route | None) -> Iterator[Change]:
    if old == new:
        return
    kind: Kind = "added" if old is None else ("removed" if new is None else "changed")
    yield Change("default", (kind,), "default", details=tuple(_route_details(old, new)))


def _details(old: Invariant | Rule | None, new: Invariant | Rule | None) -> Iterator[Detail]:
    before, after = old.source if old else "", new.source if new else ""
    is_rule = isinstance(old or new, Rule)
    if before != after:
        yield Detail("when" if is_rule else "never", before, after)
    if is_rule:
        yield from _route_details(
            old.route if isinstance(old, Rule) else None, new.route if isinstance(new, Rule) else None
        )


def _route_details(old: Route | None, new: Route | None) -> Iterator[Detail]:
    for field in fields(Route):
        before, after = _said(old, field.name), _said(new, field.name)
        if before != after and not (before in _UNSAID and after in _UNSAID):
            yield Detail(field.name, _text(before), _text(after))


def _said(route: Route | None, name: str) -> Any:
    """A field that only one kind of route has holds a value that nobody wrote in the others."""
    if route is None or route.kind != _ONLY_OF.get(name, route.kind):
        return None
    return getattr(route, name)


def _text(value: Any) -> str:
    if value in _UNSAID:
        return ""
    if isinstance(value, tuple):
        return ", ".join(" ".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    return str(value)
