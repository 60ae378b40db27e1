"""Every fact a rule may test: its type, what it means, and its empty value. Facts are always whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["string", "int", "double", "bool", "class", "list"]
EMPTY: Mapping[str, Any] = {
    "string": "",
    "int": 0,
    "double": 0.0,
    "bool": False,
    "class": "internal",
    "list": (),
}
CLASSES: Mapping[str, int] = {"public": 0, "internal": 1, "confidential": 2, "restricted": 3}
CLASS_NAMES = tuple(CLASSES)
SIDES = ("private", "external")
HOPS = ("first", "fallback", "retry", "shadow", "judge", "cache", "log", "training")
TIERS = ("core", "edge", "experiment")
TASKS = ("chat", "completion", "embedding", "classification", "prediction", "moderation")


@dataclass(frozen=True, slots=True)
class FactType:
    kind: Kind
    meaning: str
    values: tuple[Any, ...] | None = None  # all there are, where they are few


FACTS: Mapping[str, FactType] = {
    "request.model": FactType("string", "The `model` of the request as written."),
    "request.wish": FactType("string", "A deployment the caller named, or empty."),
    "request.stream": FactType("bool", "Whether a stream was asked for.", (False, True)),
    "request.tokens_in": FactType("int", "Tokens of input, estimated as bytes / 4."),
    "request.max_tokens": FactType("int", "The cap on output tokens."),
    "request.has_tools": FactType("bool", "Whether tools were offered.", (False, True)),
    "request.language": FactType("string", "en, zh or other."),
    "request.difficulty": FactType("double", "A guess in [0, 1] from length and structure."),
    "workload.name": FactType("string", "Empty without a workload."),
    "workload.task": FactType("string", "What is asked for.", TASKS),
    "workload.tier": FactType("string", "core, edge or experiment.", TIERS),
    "workload.sensitivity": FactType("class", "The class declared on the workload.", CLASS_NAMES),
    "lob.slug": FactType("string", "Slug of the line of business."),
    "lob.application": FactType("string", "Slug of the application."),
    "data.sensitivity": FactType("class", "The highest of workload, header and inspection.", CLASS_NAMES),
    "data.entities": FactType("list", "Kinds of personal data and credentials found."),
    "budget.used_pct": FactType("double", "The fullest budget on the path, in per cent."),
    "private.queue_s": FactType("double", "Wait at the private side, seconds."),
    "quality.accuracy": FactType("double", "Best evaluated accuracy of the workload."),
    "quality.rows": FactType("int", "Rows that figure rests on."),
    "time.hour": FactType("int", "0..23, UTC.", tuple(range(24))),
    "time.weekday": FactType("int", "0 = Monday .. 6.", tuple(range(7))),
}
TARGET_FACTS: Mapping[str, FactType] = {
    "target.name": FactType("string", "The deployment that would see the data."),
    "target.side": FactType("string", "private or external.", SIDES),
    "target.model": FactType("string", "Its model."),
    "target.region": FactType("string", "Its region."),
    "hop": FactType("string", "The step of execution.", HOPS),
}


def empty_facts() -> dict[str, dict[str, Any]]:
    """Whole facts with every value empty; inspection fills in what it knows."""
    facts: dict[str, dict[str, Any]] = {}
    for path, fact in FACTS.items():
        group, _, name = path.partition(".")
        facts.setdefault(group, {})[name] = EMPTY[fact.kind]
    return facts


def describe() -> list[dict[str, Any]]:
    """For people and `GET policies/facts`."""
    rows = []
    for source, where in ((FACTS, "rules and invariants"), (TARGET_FACTS, "invariants")):
        for name, fact in source.items():
            values = list(fact.values) if fact.values and len(fact.values) < 12 else None
            rows.append(
                {"name": name, "type": fact.kind, "meaning": fact.meaning, "values": values, "in": where}
            )
    return rows
