"""What the books hold of a deployment's calls or a node's hours, as matching reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db.models import Q, QuerySet

from costs.contracts import PriceSheet, Usage
from costs.models import Attempt, ExchangeRate, LedgerEntry, NodeInterval, Price
from costs.pricing import external_cost
from costs.reconciliation.lines import Booked, Reprice
from costs.reconciliation.machines import BookedHour
from costs.sheets.currencies import Rate
from costs.sheets.in_force import sheet_of

HISTORY = timedelta(days=60)  # how far back a replayed history is dated
CHUNK = 400
FIELDS = (
    "pk", "request_id", "upstream_id", "at", "model", "lob", "cost_nusd", "tokens_in", "tokens_out", "cached_tokens_in",
    "usage_source", "price_version", "origin",
)  # fmt: skip


def attempts_of(organisation_id: int, deployments: Sequence[str]) -> QuerySet[Attempt]:
    """What the vendor may bill. Answers that were kept and given again (price version `cache`) were no calls."""
    rows = Attempt.objects.filter(
        organisation_id=organisation_id, deployment__in=deployments, side="external", superseded=False
    )
    return rows.exclude(price_version="cache")


def booked_calls(
    organisation_id: int,
    deployments: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    named: set[str],
    elsewhere: set[str],
) -> list[Booked]:
    """Attempts that the bill names, whatever their time, and those of the period that it should name.

    `elsewhere`: ids that the bill names outside of the period: they belong to another one. A replayed history is dated in
    the past, but its calls were made, and are billed, when they were recorded.
    """
    rows = attempts_of(organisation_id, deployments)
    found: dict[int, Booked] = {}
    for ids in _chunks(sorted(named)):
        of_ids = rows.filter(Q(upstream_id__in=ids) | Q(upstream_id="", request_id__in=ids))
        found |= {row["pk"]: _booked(row) for row in of_ids.values(*FIELDS).iterator(chunk_size=5000)}
    in_time = rows.filter(at__gte=start, at__lt=end).exclude(origin="demonstration")
    for row in in_time.values(*FIELDS).iterator(chunk_size=5000):
        found.setdefault(row["pk"], _booked(row))
    recorded = dict(_recorded(organisation_id, deployments, start, end))
    for ids in _chunks(sorted(recorded)):
        for row in rows.filter(origin="demonstration", request_id__in=ids).values(*FIELDS):
            found.setdefault(row["pk"], _booked(row, recorded[row["request_id"]]))
    return [row for row in found.values() if row.id in named or row.id not in elsewhere]


def _recorded(
    organisation_id: int, deployments: Sequence[str], start: datetime, end: datetime
) -> Iterator[tuple[str, datetime]]:
    accounts = [f"payable:{name}" for name in deployments]
    rows = LedgerEntry.objects.filter(
        organisation_id=organisation_id, at__gte=start - HISTORY, at__lt=end, origin="demonstration",
        credit__in=accounts, reverses__isnull=True, recorded_at__gte=start, recorded_at__lt=end,
    )  # fmt: skip
    yield from rows.order_by().values_list("request_id", "recorded_at").iterator(chunk_size=5000)


def _booked(row: dict[str, Any], at: datetime | None = None) -> Booked:
    return Booked(
        ref=row["pk"], id=row["upstream_id"] or row["request_id"], request_id=row["request_id"], at=at or row["at"],
        model=row["model"], lob=row["lob"], cost_nusd=row["cost_nusd"], tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"], cached_in=row["cached_tokens_in"], estimated=row["usage_source"] == "estimated",
        price=row["price_version"],
    )  # fmt: skip


def _chunks(ids: list[str]) -> Iterable[list[str]]:
    return (ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK))


def booked_hours(organisation_id: int, node: str, start: datetime, end: datetime) -> list[BookedHour]:
    rows = NodeInterval.objects.filter(
        organisation_id=organisation_id, node=node, current=True, start__gte=start, start__lt=end
    )
    return [BookedHour(row.start, row.seconds, row.bill_nusd) for row in rows.order_by("start")]


# ------------------------------------------------------------------------------------------------- prices
def sheets_by_version(organisation_id: int) -> Callable[[str], PriceSheet | None]:
    """Price version → its sheet in nano-dollars, at the exchange rate it names; None where it names no sheet."""

    @lru_cache(maxsize=1000)
    def sheet_named(version: str) -> PriceSheet | None:
        name, _, rate = version.partition("@fx:")
        kind, _, number = name.partition(":")
        if kind != "price" or not number.isdecimal():
            return None
        price = Price.objects.filter(organisation_id=organisation_id, pk=int(number)).first()
        if price is None or not rate:
            return sheet_of(price) if price is not None else None
        known = ExchangeRate.objects.filter(organisation_id=organisation_id, pk=int(rate)).first()
        return (
            sheet_of(price, Rate(known.currency, known.nusd_per_unit, known.pk))
            if known is not None
            else None
        )

    return sheet_named


def repricer(organisation_id: int) -> Reprice:
    """What a bill's tokens cost by the sheet that an attempt was booked at; None where it was booked from a bill itself."""
    sheet_named = sheets_by_version(organisation_id)

    def reprice(row: Booked, tokens_in: int, tokens_out: int, cached_in: int) -> int | None:
        sheet = sheet_named(row.price)
        if sheet is None:
            return None
        return external_cost(
            Usage(tokens_in=tokens_in, tokens_out=tokens_out, cached_tokens_in=cached_in), sheet
        )

    return reprice
