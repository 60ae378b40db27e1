"""The parts of an admission call that stay the same for a key: encoded once, reused until a period ends."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from costs.contracts import AdmissionAsk, BudgetLimit, RateLimit
from costs.periods import counter_key, period_seconds

ACTIONS = {"warn": 0, "throttle": 1, "stop": 2}
FOREVER = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Wired:
    """A path's budgets and limits as JSON (0: no limit), with what the replies' indices mean."""

    counters: tuple[tuple[BudgetLimit, int, int], ...]  # (budget, start, end) in seconds since the epoch
    effective: tuple[int, ...]  # each counter's limit with what was added to its period, in nano-dollars
    limits: tuple[RateLimit, ...]
    path_json: bytes  # {b: [[counter key, limit, action]], k: the keys, l: [[scope, rpm, tpm, concurrency]], n: owner}
    told: tuple[
        tuple[str, int, tuple[tuple[int, int], ...]], ...
    ]  # what headers tell: (name, 0 | 1, ((place, limit), …))
    valid_until_s: float


def owner(organisation_id: int) -> str:
    """What the names of an organisation's breakers begin with."""
    return f"{organisation_id}:" if organisation_id else ""


def wire(
    budgets: tuple[BudgetLimit, ...], limits: tuple[RateLimit, ...], at_s: float, organisation_id: int = 0
) -> Wired:
    counters = tuple((b, *period_seconds(b.period, b.timezone, at_s)) for b in budgets)
    keys = [counter_key(b.id, start_s) for b, start_s, _ in counters]
    effective = tuple(b.limit_at(start_s) for b, start_s, _ in counters)
    told = [[k, most, ACTIONS[b.action]] for k, most, b in zip(keys, effective, budgets, strict=True)]
    holding = tuple(x for x in limits if x.rpm or x.tpm or x.concurrency)
    rows = [[x.scope, x.rpm or 0, x.tpm or 0, x.concurrency or 0] for x in holding]
    return Wired(
        counters=counters,
        effective=effective,
        limits=holding,
        path_json=orjson.dumps({"b": told, "k": " ".join(keys), "l": rows, "n": owner(organisation_id)}),
        told=tuple(
            (name, which, tuple((i, limit) for i, row in enumerate(holding) if (limit := getattr(row, of))))
            for name, which, of in (("requests", 0, "rpm"), ("tokens", 1, "tpm"))
        ),
        valid_until_s=min((end_s for _, _, end_s in counters if end_s), default=FOREVER),
    )


class PathCache:
    """A key's tuples are the same objects for as long as its snapshot lives, so identity finds them without hashing."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._known: dict[
            tuple[int, int, int], tuple[tuple[BudgetLimit, ...], tuple[RateLimit, ...], Wired]
        ] = {}

    def forget(self) -> None:
        self._known.clear()

    def wire(self, ask: AdmissionAsk, at_s: float) -> Wired:
        key = (id(ask.budgets), id(ask.limits), ask.organisation_id)
        known = self._known.get(key)
        if known is not None and at_s < known[2].valid_until_s:
            return known[2]
        if len(self._known) >= self._size:
            self._known.clear()
        wired = wire(ask.budgets, ask.limits, at_s, ask.organisation_id)
        self._known[key] = (ask.budgets, ask.limits, wired)  # holding the tuples keeps their identities taken
        return wired
