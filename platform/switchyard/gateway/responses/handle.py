"""/v1/responses/{id}: retrieve, delete, cancel, and the items it was asked with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from routing.contracts import KeyInfo
from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest
from switchyard.gateway.models import StoredResponse
from switchyard.gateway.paging import whole_number
from switchyard.gateway.replies import Send, send_json
from switchyard.gateway.responses import background, keeping, shape
from switchyard.gateway.threads import in_thread

MARGIN_S = 60.0  # after its deadline a response in the background has no process any more that could end it


async def handle(
    method: str, rest: str, query: Mapping[str, str], headers: dict[bytes, bytes], key: KeyInfo, receive: Any, send: Send
) -> None:  # fmt: skip
    """Everything under /v1/responses; `rest` is the path behind it."""
    response_id, _, tail = rest.partition("/")
    if response_id and not tail and method == "GET":
        if query.get("stream", "").lower() == "true":
            raise InvalidRequest("A kept response is given whole: leave `stream` out.", param="stream")
        await send_json(send, 200, await in_thread(lambda: current(keeping.find(response_id, key))))
    elif response_id and not tail and method == "DELETE":
        await in_thread(lambda: _delete(response_id, key))
        await send_json(send, 200, {"id": response_id, "object": "response", "deleted": True})
    elif tail == "cancel" and method == "POST":
        await send_json(send, 200, await in_thread(lambda: _cancel(response_id, key)))
    elif tail == "input_items" and method == "GET":
        await send_json(send, 200, await in_thread(lambda: _items(response_id, key, query)))
    else:
        raise InvalidRequest("This endpoint takes GET, POST and DELETE.", code="wrong_endpoint", status=405)


def current(row: StoredResponse) -> dict[str, Any]:
    """As it is now: one that nobody can end any more has failed."""
    response, items = keeping.opened(row)
    lost_at = row.created_at + timedelta(seconds=conf("REQUEST_DEADLINE_S") + MARGIN_S)
    if row.status in ("queued", "in_progress") and now() > lost_at:
        error = {"code": "server_error", "message": "The process that worked on it ended. Ask again."}
        response = shape.failed(response, error, [])
        keeping.save(row, response, items)
    return response


def _delete(response_id: str, key: KeyInfo) -> None:
    row = keeping.find(response_id, key)
    background.stop(row.pk)
    row.delete()


def _cancel(response_id: str, key: KeyInfo) -> dict[str, Any]:
    """Only one in the background can be cancelled; one that was cancelled stays so. Raises InvalidRequest."""
    row = keeping.find(response_id, key)
    response, items = keeping.opened(row)
    if not row.background:
        raise InvalidRequest(
            "Only a response that was asked for with `background: true` can be cancelled.",
            param="response_id",
        )
    if row.status in ("queued", "in_progress"):
        response = response | {"status": "cancelled"}
        keeping.save(row, response, items)
        background.stop(row.pk)
        return current(keeping.find(response_id, key))
    return response


def _items(response_id: str, key: KeyInfo, query: Mapping[str, str]) -> dict[str, Any]:
    _, items = keeping.opened(keeping.find(response_id, key))
    limit = whole_number(query.get("limit") or "20", "limit", 1, 100)
    order, after = query.get("order") or "desc", query.get("after")
    if order not in ("asc", "desc"):
        raise InvalidRequest("`order` must be asc or desc.", param="order")
    items = items if order == "asc" else items[::-1]
    if after:
        places = [i for i, item in enumerate(items) if item["id"] == after]
        if not places:
            raise InvalidRequest(f"`after` {after[:60]!r} is not an id of this list.", param="after")
        items = items[places[0] + 1 :]
    page = items[:limit]
    return {
        "object": "list", "data": page, "has_more": len(items) > limit,
        "first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None,
    }  # fmt: skip
