"""The endpoints of /v1 that aren't the request path: files and fine-tuning. They may ask the database, in threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from routing.contracts import KeyInfo
from switchyard.core.errors import InvalidRequest
from switchyard.gateway import files, fine_tuning
from switchyard.gateway.batches import handle as batches
from switchyard.gateway.replies import Send
from switchyard.gateway.responses import handle as responses

ENDPOINTS = {"files": files.handle, "fine_tuning": fine_tuning.handle, "responses": responses.handle,
             "batches": batches.handle}  # fmt: skip


async def handle(
    scope: dict[str, Any],
    first: str,
    rest: str,
    headers: dict[bytes, bytes],
    key: KeyInfo,
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Send,
) -> None:
    """`first` is of ENDPOINTS, `rest` the path behind it."""
    try:
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), max_num_fields=40))
    except ValueError:
        raise InvalidRequest("The query string has too many fields.") from None
    await ENDPOINTS[first](scope["method"], rest, query, headers, key, receive, send)
