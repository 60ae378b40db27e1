"""Cursor pages as OpenAI's lists have them: `after` an id, at most `limit`, newest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Q, QuerySet

from switchyard.core.errors import InvalidRequest


def whole_number(text: str, name: str, low: int = 1, high: int = 2**31) -> int:
    """Raises InvalidRequest for what is no whole number between the two."""
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        raise InvalidRequest(f"`{name}` must be a whole number from {low} to {high}.", param=name)
    return int(text)


def page_of(
    rows: QuerySet,
    query: Mapping[str, str],
    shape: Callable[[Any], dict[str, Any]],
    *,
    most: int = 100,
    usual: int = 20,
    newest: str = "created_at",
    key_of: Callable[[str], Any] = str,
) -> dict[str, Any]:
    """{"object": "list", "data", "has_more", "first_id", "last_id"}; `order=asc` turns it round.

    `newest`: the field that orders, ties by primary key. `key_of`: an id of the list → a primary key. Raises InvalidRequest
    for a cursor that isn't in the list.
    """
    limit = whole_number(query.get("limit") or str(usual), "limit", 1, most)
    order = query.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise InvalidRequest("`order` must be asc or desc.", param="order")
    sign, beyond = ("-", "lt") if order == "desc" else ("", "gt")
    after = query.get("after")
    if after:
        last = None if "\x00" in after else rows.filter(pk=_key(after, key_of)).first()
        if last is None:
            raise InvalidRequest(f"`after` {after[:60]!r} is not an id of this list.", param="after")
        at = getattr(last, newest)
        rows = rows.filter(Q(**{f"{newest}__{beyond}": at}) | Q(**{newest: at, f"pk__{beyond}": last.pk}))
    found = list(rows.order_by(f"{sign}{newest}", f"{sign}pk")[: limit + 1])
    data = [shape(row) for row in found[:limit]]
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {
        "object": "list",
        "data": data,
        "has_more": len(found) > limit,
        "first_id": ends[0],
        "last_id": ends[1],
    }


def _key(text: str, key_of: Callable[[str], Any]) -> Any:
    try:
        return key_of(text)
    except ValueError:
        raise InvalidRequest(f"`after` {text[:60]!r} is not an id of this list.", param="after") from None
