"""Reading what admission.lua knows of each deployment: breaker, rest that was asked for, calls of the last half minute."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from costs.wire import owner

SLOT_MS, SLOTS = 5_000, 6  # as in admission.lua


@dataclass(frozen=True, slots=True)
class Breaker:
    """state: closed | open | half_open (one call at a time may try). Times in seconds from now; calls of the last 30 s."""

    state: str = "closed"
    opens_for_s: float = 0.0
    rests_for_s: float = 0.0
    failures_in_a_row: int = 0
    calls: int = 0
    failures: int = 0


def read_breakers(
    connection: redis.Redis, organisation_id: int, names: Iterable[str]
) -> dict[str, Breaker] | None:
    """By deployment; one that nobody asked for an hour is closed. None while Valkey can't be reached."""
    wanted = list(names)
    try:
        pipe = connection.pipeline(transaction=False)
        for name in wanted:
            pipe.hgetall(f"sy:cb:{owner(organisation_id)}{name}")
        rows = pipe.execute() if wanted else []
    except (redis.RedisError, OSError):
        return None
    now_ms = time.time() * 1000
    return {name: breaker_of(row, now_ms) for name, row in zip(wanted, rows, strict=True)}


def breaker_of(row: Mapping[Any, Any], now_ms: float) -> Breaker:
    """One hash of admission.lua as people read it."""
    told = {key.decode(): float(value) for key, value in row.items() if value and key != b"pr"}
    left_ms = told.get("ou", 0.0) - now_ms
    state = "closed"
    if told.get("st", 0) == 2 or (told.get("st", 0) == 1 and left_ms <= 0):
        state = "half_open"
    elif told.get("st", 0) == 1:
        state = "open"
    stamp = now_ms // SLOT_MS
    fresh = [slot for slot in range(SLOTS) if 0 <= stamp - told.get(f"s{slot}", -SLOTS) < SLOTS]
    return Breaker(
        state, max(0.0, left_ms / 1000) if state == "open" else 0.0, max(0.0, (told.get("ru", 0.0) - now_ms) / 1000),
        int(told.get("cf", 0)), int(sum(told.get(f"n{s}", 0) for s in fresh)), int(sum(told.get(f"f{s}", 0) for s in fresh)),
    )  # fmt: skip
