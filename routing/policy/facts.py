"""Every fact a rule may test: its type, what it means, and its empty value. Facts are always whole."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from routing.policy.said import Said, _

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
KEEPING_HOPS = ("cache", "log", "training")
MASKED = "data.masked"
TIERS = ("core", "edge", "experiment")
LANGUAGES = ("en", "zh", "other")
ENTITIES = (
    "email", "phone", "iban", "card", "us_ssn", "cn_resident_id", "passport", "driver_license", "mrn", "bank_account",
    "person_name", "address", "ip_address", "private_key", "api_key", "jwt", "url_password", "password", "health", "legal",
    "customer_term", "injection", "media", "uninspected",
)  # fmt: skip
TASKS = ("chat", "completion", "embedding", "classification", "prediction", "moderation")


class FactError(ValueError):
    """A fact that is unknown or of a wrong type: `path` names it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


@dataclass(frozen=True, slots=True)
class FactType:
    kind: Kind
    meaning: str
    values: tuple[Any, ...] | None = None  # all there are, where they are few
    most: float | None = None  # of a number


FACTS: Mapping[str, FactType] = {
    "request.model": FactType("string", "The `model` of the request as written."),
    "request.wish": FactType("string", "A deployment the caller named, or empty."),
    "request.stream": FactType("bool", "Whether a stream was asked for.", (False, True)),
    "request.tokens_in": FactType("int", "Tokens of input, estimated as bytes / 4."),
    "request.max_tokens": FactType("int", "The cap on output tokens."),
    "request.has_tools": FactType("bool", "Whether tools were offered.", (False, True)),
    "request.language": FactType("string", "Guessed from the script.", LANGUAGES),
    "request.difficulty": FactType("double", "A guess in [0, 1] from length and structure.", most=1),
    "workload.name": FactType("string", "Empty without a workload."),
    "workload.task": FactType("string", "What is asked for.", TASKS),
    "workload.tier": FactType("string", "core, edge or experiment.", TIERS),
    "workload.sensitivity": FactType("class", "The class declared on the workload.", CLASS_NAMES),
    "lob.slug": FactType("string", "Slug of the line of business."),
    "lob.application": FactType("string", "Slug of the application."),
    "data.sensitivity": FactType("class", "The highest of workload, header and inspection.", CLASS_NAMES),
    "data.entities": FactType(
        "list", "Kinds found: personal data, credentials, markers, attempts, the unreadable.", ENTITIES
    ),
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
    MASKED: FactType(
        "bool", "Whether personal data is replaced by placeholders in what the target sees.", (False, True)
    ),
}
# What we ourselves keep (`cache`, `log`, `training`) is kept at home, by no deployment.
KEEPER: Mapping[str, str] = {"name": "", "side": "private", "model": "", "region": ""}


def empty_facts() -> dict[str, dict[str, Any]]:
    """Whole facts with every value empty; inspection fills in what it knows."""
    return {group: values.copy() for group, values in _EMPTY.items()}


def _grouped() -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {}
    for path, fact in FACTS.items():
        group, _dot, name = path.partition(".")
        facts.setdefault(group, {})[name] = EMPTY[fact.kind]
    return facts


_EMPTY = _grouped()


def whole(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Whole facts from some, nested or dotted. Raises FactError naming the first that is unknown or of a wrong type."""
    facts = empty_facts()
    for path, value in _flat(given):
        fact = FACTS.get(path)
        if fact is None:
            near = difflib.get_close_matches(path, FACTS, n=1, cutoff=0.5)
            hint = Said(" ") + _("Did you mean %(word)s?") % {"word": near[0]} if near else ""
            raise FactError(path, _("Unknown fact %(name)s.") % {"name": path} + hint)
        if not _fits(fact, value):
            told = {"name": path, "kind": fact.kind, "found": repr(value)}
            if fact.values and fact.kind != "int":
                among = ", ".join(map(str, fact.values))
                raise FactError(
                    path,
                    _("%(name)s is a %(kind)s, one of %(among)s; found %(found)s.")
                    % (told | {"among": among}),
                )
            raise FactError(path, _("%(name)s is a %(kind)s; found %(found)s.") % told)
        group, _dot, name = path.partition(".")
        facts[group][name] = value
    return facts


def _flat(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield str(name), value


def _fits(fact: FactType, value: Any) -> bool:
    if fact.kind == "list":
        return isinstance(value, list | tuple) and all(item in (fact.values or ()) for item in value)
    types: dict[str, Any] = {"string": str, "class": str, "bool": bool, "int": int, "double": int | float}
    if not isinstance(value, types[fact.kind]) or (isinstance(value, bool) and fact.kind != "bool"):
        return False
    return fact.values is None or value in fact.values or value == EMPTY[fact.kind]


def describe() -> list[dict[str, Any]]:
    """For people and `GET policies/facts`."""
    rows = []
    for source, where in ((FACTS, "rules and invariants"), (TARGET_FACTS, "invariants")):
        for name, fact in source.items():
            values = list(fact.values) if fact.values and len(fact.values) < 16 else None
            rows.append(
                {"name": name, "type": fact.kind, "meaning": fact.meaning, "values": values, "in": where}
            )
    return rows
