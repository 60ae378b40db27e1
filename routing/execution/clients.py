"""Who carries a call to an upstream: the lean client, or aiohttp's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

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
    proxy: str = "",
) -> Client:
    """The client of that name. ValueError for another, and for a proxy with one that knows none."""
    if name not in CLIENTS:
        raise ValueError(f"UPSTREAM_CLIENT is {name!r}; it must be one of {', '.join(CLIENTS)}.")
    limits: dict[str, Any] = {"connect_s": connect_s, "first_byte_s": first_byte_s, "idle_s": idle_s}
    if not proxy:
        return CLIENTS[name](**limits, check_address=check_address)
    if name != "aiohttp":
        raise ValueError(
            f"UPSTREAM_PROXY is set, and UPSTREAM_CLIENT {name!r} knows no proxies: set it to aiohttp."
        )
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("UPSTREAM_PROXY must be a URL like http://proxy.example:3128.")
    return Upstream(**limits, check_address=check_address, proxy=proxy)
