"""Events on their way from the gateway to the ledger: what an entry of the stream holds, and where a decision's stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

STREAM = "sy:usage"


def bodies_of(fields: Mapping[bytes, bytes]) -> list[bytes]:
    """An entry's events as JSON, one a line."""
    return fields.get(b"d", b"").split(b"\n")


def place_of(decision_id: str) -> str:
    """The key that names the entry of this decision."""
    return f"sy:dec:{decision_id}"


async def fresh_event(connection: Any, decision_id: str) -> dict[str, Any] | None:
    """The usage event of a decision while the stream has it; None once the books do, or when it is unknown. Raises what the
    connection raises (redis.asyncio)."""
    at = await connection.get(place_of(decision_id))
    if at is None:
        return None
    mark = decision_id.encode()
    for _, fields in await connection.xrange(STREAM, at, at):
        for body in bodies_of(fields):
            if mark in body:
                event: dict[str, Any] = orjson.loads(body)
                if event.get("decision_id") == decision_id and event.get("kind") == "usage":
                    return event
    return None
