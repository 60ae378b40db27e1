"""The last step down: the attempts of a period, an hour or a day, newest first, each with the way to its decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet, Sum
from django.http import Http404, HttpResponse

from costs.books.browsing import HOUR, AttemptFilter, Mark, attempt_columns, newest_attempts
from costs.rollups import hour_of
from routing.models import DecisionRecord
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, csv_of, page, show
from switchyard.dashboards.views.spend import narrowed, titles

PAGE_SIZE, CSV_ROWS = 50, 10_000
COLUMNS = (
    "at", "request_id", "attempt", "lob", "application", "workload", "deployment", "model", "side", "node", "purpose",
    "status", "tokens_in", "cached_tokens_in", "tokens_out", "reasoning_tokens", "accelerator_ns", "price_version",
    "cost_nusd", "other_side_cost_nusd", "saved_cache_nusd", "saved_batch_nusd", "origin",
)  # fmt: skip


@dataclass(frozen=True)
class Span:
    """start inclusive, end exclusive; `at` is the local hour or day that the address names, or empty."""

    start: datetime
    end: datetime
    at: str = ""


@page
def spend_requests(request: PageRequest) -> HttpResponse:
    """Keyset paging: `before` is "<ISO time>~<id>" of the last row seen, or of where the search for rare ones stopped."""
    ask = request.ask
    span, only = _span(ask, request.GET.get("at", "")), narrowed(request.GET)
    if any("\x00" in value for value in only.values()):
        raise Http404
    asked = AttemptFilter(span.start, span.end, ask.lob or "", only)
    if "csv" in request.GET:
        return csv_of(_panel(attempt_columns(ask.scope, asked, COLUMNS, CSV_ROWS)))
    shown, mark = newest_attempts(ask.scope, asked, PAGE_SIZE, _mark(request.GET.get("before", "")))
    decisions = DecisionRecord.objects.for_tenant(ask.scope).filter(
        request_id__in={row.request_id for row in shown}
    )
    return show(request, "costs/spend_requests.html", {
        "rows": shown, "next": f"{mark[0].isoformat()}~{mark[1]}" if mark else "", "span": span,
        "decisions": dict(decisions.values_list("request_id", "pk")),
        "trail": [(titles()[name], value) for name, value in only.items()], "total_nusd": _total(ask, asked),
    })  # fmt: skip


def _span(ask: Ask, at: str) -> Span:
    """The whole period, or the local day or hour that `at` names. Http404 for what is neither."""
    if not at:
        return Span(hour_of(ask.period.start), ask.period.end)
    zone = ZoneInfo(ask.period.tz)
    try:
        if len(at) == 10:
            day = date.fromisoformat(at)
            ends = [datetime.combine(d, time(), zone) for d in (day, day + timedelta(days=1))]
            return Span(ends[0].astimezone(UTC), ends[1].astimezone(UTC), at)
        first = datetime.fromisoformat(at)
        if first.tzinfo is not None:
            raise ValueError
        start = first.replace(minute=0, second=0, microsecond=0, tzinfo=zone).astimezone(UTC)
        # An hour that the clock shows twice is both of them, as it is on the page that leads here.
        end = first.replace(minute=0, second=0, microsecond=0, tzinfo=zone, fold=1).astimezone(
            UTC
        ) + timedelta(hours=1)
    except (ValueError, OverflowError):
        raise Http404 from None
    return Span(start, end, at)


def _mark(text: str) -> Mark | None:
    """Http404 when it was made up."""
    if not text:
        return None
    moment, _tilde, key = text.partition("~")
    try:
        at, last = datetime.fromisoformat(moment), int(key)
    except ValueError:
        raise Http404 from None
    if at.tzinfo is None or not 0 <= last < 2**63:
        raise Http404
    return at, last


def _total(ask: Ask, asked: AttemptFilter) -> int:
    """By the roll-ups, as everywhere else; the half hours with which days of some zones begin and end are summed by row."""
    first, last = hour_of(asked.start), hour_of(asked.end)
    first = first if first == asked.start else first + HOUR
    if first >= last:
        return _sum(asked.rows(ask.scope))
    edges = [replace(asked, end=first), replace(asked, start=last)]
    parts = [_sum(edge.rows(ask.scope)) for edge in edges if edge.start < edge.end]
    return sum(parts, _sum(replace(asked, start=first, end=last).hours(ask.scope)))


def _sum(rows: QuerySet[Any]) -> int:
    return rows.order_by().aggregate(nusd=Sum("cost_nusd"))["nusd"] or 0


def _panel(rows: Sequence[Sequence[Any]]) -> Panel:
    kinds = {"at": "time"} | {name: "usd" for name in COLUMNS if name.endswith("_nusd")}
    columns = [Column(name.removesuffix("_nusd"), kinds.get(name, "text")) for name in COLUMNS]
    return Panel("spend-requests", "", columns, rows)
