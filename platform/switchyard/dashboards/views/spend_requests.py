"""The last step down: the attempts of a period, an hour or a day, newest first, each with the way to its decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet, Sum
from django.http import Http404, HttpResponse

from costs import reports
from costs.models import Attempt
from costs.reports.base import raw_rows
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
    """Keyset paging: `before` is "<ISO time>~<id>" of the last row seen. Raw rows by the index of their time alone."""
    ask = request.ask
    span, only = _span(ask, request.GET.get("at", "")), narrowed(request.GET)
    rows = _rows(ask, span, only)
    if "csv" in request.GET:
        return csv_of(_panel(rows[:CSV_ROWS]))
    found = list(_before(rows, request.GET.get("before", ""))[: PAGE_SIZE + 1])
    more = found[PAGE_SIZE - 1] if len(found) > PAGE_SIZE else None
    shown = found[:PAGE_SIZE]
    asked = {row.request_id for row in shown}
    decisions = DecisionRecord.objects.for_tenant(ask.scope).filter(request_id__in=asked)
    return show(request, "costs/spend_requests.html", {
        "rows": shown, "next": f"{more.at.isoformat()}~{more.pk}" if more else "", "span": span,
        "decisions": dict(decisions.values_list("request_id", "pk")),
        "trail": [(titles()[name], value) for name, value in only.items()], "total_nusd": _total(ask, span, rows, only),
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


def _rows(ask: Ask, span: Span, only: Mapping[str, str]) -> QuerySet[Attempt]:
    rows = raw_rows(ask.scope, span.start, span.end, ask.lob, **only)
    return rows.filter(at__gte=span.start, at__lt=span.end).order_by("-at", "-pk")


def _before(rows: QuerySet[Attempt], mark: str) -> QuerySet[Attempt]:
    if not mark:
        return rows
    moment, _tilde, key = mark.partition("~")
    try:
        at, last = datetime.fromisoformat(moment), int(key)
    except ValueError:
        raise Http404 from None
    return rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=last))


def _total(ask: Ask, span: Span, rows: Any, only: Mapping[str, str]) -> int:
    """By the roll-ups where the span is whole hours, as everywhere else; the few rows of half an hour are summed."""
    if span.start.minute or span.end.minute:
        return rows.order_by().aggregate(cost=Sum("cost_nusd"))["cost"] or 0
    asked = ask.report(group="side", **only) | {"start": span.start, "end": span.end}
    return reports.spend(**asked).totals["cost_nusd"]


def _panel(rows: Any) -> Panel:
    kinds = {"at": "time"} | {name: "usd" for name in COLUMNS if name.endswith("_nusd")}
    return Panel(
        "spend-requests", "", [Column(name.removesuffix("_nusd"), kinds.get(name, "text")) for name in COLUMNS],
        [[getattr(row, name) for name in COLUMNS] for row in rows],
    )  # fmt: skip
