"""What is done with a request's data under a route: what the document names, and what execution adds by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from routing.policy.rules import Document, Route


@dataclass(frozen=True, slots=True)
class Use:
    """A target that a route may send data to, on which hop, and where the document says so."""

    target: str  # empty: we ourselves keep it
    hop: str
    path: str = ""  # empty: no document says so
    masked: bool = False  # only masked text would leave


def uses_of(route: Route, path: str = "") -> list[Use]:
    """Everything a document names. A list in order tries its later ones as fallbacks; others may draw anyone."""
    field_name = {"prefer": "prefer", "choose": "among", "cascade": "cascade", "split": "split"}.get(
        route.kind, ""
    )
    in_order = route.kind in ("prefer", "cascade")
    uses = []
    for i, target in enumerate(route.targets):
        where = f"{path}.split.{target}" if route.kind == "split" else f"{path}.{field_name}[{i}]"
        uses.append(Use(target, "fallback" if i and in_order else "first", where, route.mask))
    uses += [Use(t, "fallback", f"{path}.fallback[{i}]", route.mask) for i, t in enumerate(route.fallback)]
    uses += [Use(t, "shadow", f"{path}.shadow[{i}]", route.mask) for i, t in enumerate(route.shadow)]
    if route.cache is not None:
        uses.append(Use("", "cache", f"{path}.cache"))
    return uses


def planned_of(route: Route) -> list[Use]:
    """Everybody whom a plan under this route may hold, as what: a later one is first where those before it are passed over,
    and one that rests comes last."""
    named = dict.fromkeys((*route.targets, *route.fallback))
    return [Use(name, hop, "", route.mask) for name in named for hop in ("first", "fallback")]


# What is kept of any request that is answered, whatever its rule says: under an idempotency key or in a route's cache; answers
# for feedback, texts on the review list, stored responses, batch output; sketches and reviewed texts that a router or guard
# learns from.
KEPT_OF_ALL = (Use("", "cache"), Use("", "log"), Use("", "training"))


def unknown_deployments(document: Document, known: set[str]) -> Iterator[tuple[str, str]]:
    """(path, name) of targets that don't exist."""
    routes = [(f"rules[{i}].route", rule.route) for i, rule in enumerate(document.rules)]
    if document.default is not None:
        routes.append(("default", document.default))
    for path, route in routes:
        for use in uses_of(route, path):
            if use.target and use.target not in known:
                yield use.path, use.target
