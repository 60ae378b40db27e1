"""A document's parts after parsing: invariants and rules with their routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from routing.contracts import CacheRule, RuleTrace
from routing.policy.cel import Node
from routing.policy.compile import Closure
from routing.policy.outcomes import mentioned
from routing.policy.source import Source

Kind = Literal["prefer", "choose", "split", "cascade", "deny"]
Choice = Literal["cheapest", "fastest", "best"]
MAX_REASON = 240  # characters of a condition in a trace
RESIDENCY_FACTS = frozenset(["data.sensitivity", "data.entities", "workload.sensitivity"])
CALLER = "caller"  # the end user an application names, else each request draws for itself


@dataclass(frozen=True, slots=True)
class Invariant:
    name: str
    source: str
    tree: Node
    forbids: Closure
    line: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """How a matched rule picks: `targets` in order, then `fallback`."""

    kind: Kind
    targets: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    choose: Choice = "cheapest"
    quality_floor: float | None = None
    floor_is_absolute: bool = False
    weights: tuple[tuple[str, float], ...] = ()
    until_confidence: float | None = None
    max_cost_nusd: int | None = None
    guards: tuple[str, ...] = ()
    learned: bool = False  # choose by each prompt's own chances where they are known
    sticky: str = CALLER  # what a split sticks to: the caller, or a fact
    cache: CacheRule | None = None
    mask: bool = False  # personal data is replaced by placeholders in whatever leaves

    @property
    def named(self) -> tuple[str, ...]:
        """Every deployment this route may send data to."""
        return tuple(dict.fromkeys((*self.targets, *self.fallback, *self.shadow)))


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    source: str
    tree: Node
    matches: Closure
    route: Route
    line: int = 0
    traces: tuple[RuleTrace, RuleTrace] = field(init=False, compare=False, repr=False)  # [matched]
    tests_class: bool = field(
        init=False, compare=False, repr=False
    )  # a residency rule: it tests what the data is

    def __post_init__(self) -> None:
        shown = self.source if len(self.source) <= MAX_REASON else self.source[: MAX_REASON - 1] + "…"
        traces = tuple(RuleTrace(self.name, matched, shown) for matched in (False, True))
        object.__setattr__(self, "traces", traces)
        object.__setattr__(self, "tests_class", not RESIDENCY_FACTS.isdisjoint(mentioned(self.tree)))


@dataclass(frozen=True, slots=True)
class Document:
    """A policy document that parsed and type-checked."""

    rules: tuple[Rule, ...]
    invariants: tuple[Invariant, ...] = ()
    default: Route | None = None  # None: an LOB's document, which has none
    hash: str = ""
    label: str = ""  # org@3
    source: Source = field(default_factory=Source, compare=False, repr=False)  # where each part stands
    # What was worked out from it once, such as its index.
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
