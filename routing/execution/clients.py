"""Who carries a call to an upstream: the lean client, or aiohttp's."""

from __future__ import annotations

from collections.abc import Callable

from routing.execution.lean.client import LeanUpstream
from routing.execution.openai_http import Upstream

Client = Upstream | LeanUpstream
CLIENTS: dict[str, type[Upstream] | type[LeanUpstream]] = {"lean": LeanUpstream, "aiohttp": Upstream}


def make_client(
    name: str,
    *,
    connect_s: float,
    first_byte_s: float,
    idle_s: float,
    check_address: Callable[[str, str], None] | None = None,
) -> Client:
    """The client of that name. ValueError for another."""
    if name not in CLIENTS:
        raise ValueError(f"UPSTREAM_CLIENT is {name!r}; it must be one of {', '.join(CLIENTS)}.")
    return CLIENTS[name](
        connect_s=connect_s, first_byte_s=first_byte_s, idle_s=idle_s, check_address=check_address
    )
