"""FOCUS 1.2 (or 1.4's names): a row a day, line of business, application, model, side, meter and price version.

Quantity × unit price is the cost on every row, exactly: the price is the sheet's, or the average where a sheet has tiers or
there is none, and what rounding each call by itself added or took is a row of its own. Labels are rows of their own too. So the
sums are the spend report's, calls and labels together.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from costs.books.fiscal import month_start
from costs.exports.focus_columns import columns_of
from costs.exports.focus_labels import label_rows
from costs.exports.focus_names import Names
from costs.exports.focus_prices import Prices
from costs.exports.statements import INSIDE, METERS
from costs.models import QUANTITIES, Attempt, LedgerEntry, SpendHour
from costs.rollups import day_of
from switchyard.tenancy.querysets import Scope

DAY = timedelta(days=1)
EXACT = Context(prec=200)
NANO = Decimal("1e-9")
KEY = ("lob", "application", "workload", "deployment", "model", "side", "node", "purpose", "origin")
PRICED = (*KEY, "price_version", "batch", "usage_source")
LEG_SUMS = tuple(f"{leg}_nusd" for leg in METERS)
COUNTS = (*QUANTITIES, "accelerator_ns", "duration_ms")
MILLION_TOKENS = "1000000 Tokens"
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Export:
    """What is asked for. Days are whole and UTC; `lob` narrows what the scope allows."""

    scope: Scope
    start: datetime
    end: datetime
    lob: str | None = None
    version: str = "1.2"

    def attempts(self, day: datetime) -> QuerySet[Attempt]:
        rows = Attempt.objects.for_tenant(self.scope).filter(at__gte=day, at__lt=day + DAY)
        return rows.filter(lob=self.lob) if self.lob else rows


def focus_csv(export: Export) -> Iterator[str]:
    """The file line by line, header first. ValueError for a version that isn't written here."""
    names = [column.name for column in columns_of(export.version)]
    text = {column.name for column in columns_of(export.version) if column.type == "String"}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    yield _taken(buffer)
    for row in focus_rows(export):
        writer.writerow(
            [safe_text(row.get(name, "")) if name in text else row.get(name, "") for name in names]
        )
        yield _taken(buffer)


def focus_rows(export: Export) -> Iterator[Row]:
    """Rows as text, a null as the empty one; the columns of both versions, of which the file takes its own."""
    if export.scope.organisation_id is None:
        return
    names, prices = Names(export.scope.organisation_id), Prices(export.scope.organisation_id)
    day, end = day_of(export.start), export.end
    while day < end:
        yield from _day(export, day, names, prices)
        yield from label_rows(export.scope, day, names, export.lob)
        day += DAY


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def safe_text(cell: str) -> str:
    """Text that a spreadsheet would run as a formula is kept as text."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


# ------------------------------------------------------------------------------------------------- a day
def _day(export: Export, day: datetime, names: Names, prices: Prices) -> Iterator[Row]:
    beside = _beside(export, day)
    versions = names.policy_versions(day, day + DAY)
    first = export.attempts(day).filter(revision=0)
    sums = {f"{name}_": Sum(name) for name in ("cost_nusd", *LEG_SUMS, *COUNTS)} | {"calls_": Count("pk")}
    for group in first.order_by(*PRICED).values(*PRICED).annotate(**sums):
        base = names.base(group, day, month_start(day), versions)
        yield from _usage(group, base, prices, beside)
    yield from _corrections(export, day, names, versions)
    for key, (variance, correct) in beside.items():
        if variance or correct:
            named = dict(zip(KEY, key, strict=True)) | {"price_version": "", "usage_source": "reported"}
            base = names.base(named, day, month_start(day), versions)
            yield _adjustment(
                base, Decimal(0), "share of the machine's bill", effective=variance, correct=correct
            )


def _beside(export: Export, day: datetime) -> dict[tuple[str, ...], tuple[int, int]]:
    """Names → (loaded less metered, right answers), which no attempt has: on the first row of each."""
    rows = SpendHour.objects.for_tenant(export.scope).filter(start__gte=day, start__lt=day + DAY)
    rows = rows.filter(lob=export.lob) if export.lob else rows
    rows = rows.exclude(Q(variance_nusd=0) & Q(correct=0))
    found = rows.order_by().values(*KEY).annotate(v=Sum("variance_nusd"), c=Sum("correct"))
    return {tuple(row[n] for n in KEY): (row["v"] or 0, row["c"] or 0) for row in found}


def _usage(
    group: Mapping[str, Any], base: Row, prices: Prices, beside: dict[tuple[str, ...], tuple[int, int]]
) -> Iterator[Row]:
    variance, correct = beside.pop(tuple(group[n] for n in KEY), (0, 0))
    rounding = Decimal(0)
    for leg, meter, quantity, per, amount in _meters(group):
        listed, agreed = prices.of(group["price_version"], leg, per, group["batch"])
        cost = Decimal(amount) * NANO
        pricing = EXACT.divide(quantity, Decimal(per)) if per != 1 else quantity
        price = agreed
        if price is None or abs(EXACT.multiply(pricing, price) - cost) > group["calls_"] * NANO:
            price = (
                EXACT.divide(cost, pricing).quantize(Decimal("1e-18"), ROUND_HALF_EVEN, EXACT)
                if pricing
                else Decimal(0)
            )
        product = EXACT.multiply(pricing, price)
        rounding = EXACT.add(rounding, EXACT.subtract(cost, product))
        of_list = price if listed is None else listed
        sku = f"{base['SkuId']}/{meter[0]}"
        yield base | {
            "SkuId": sku, "SkuPriceId": f"{base['SkuPriceId']}/{sku}",
            "BilledCost": _number(product), "ContractedCost": _number(product), "ContractedUnitPrice": _number(price),
            "EffectiveCost": _number(EXACT.add(product, variance * NANO)), "ListUnitPrice": _number(of_list),
            "ListCost": _number(EXACT.multiply(pricing, of_list)), "PricingQuantity": _number(pricing),
            "PricingUnit": MILLION_TOKENS if per == 1_000_000 else meter[1], "ConsumedQuantity": _number(quantity),
            "ConsumedUnit": meter[1], "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based", "SkuMeter": meter[0],
            "ChargeDescription": f"{meter[0]} of {group['model']}", "PricingCategory": "Standard",
            "x_CorrectAnswers": str(correct) if correct else "",
        }  # fmt: skip
        variance, correct = 0, 0
    if rounding or variance or correct:
        yield _adjustment(
            base, rounding, "rounding of each call by itself", effective=variance, correct=correct
        )


def _meters(group: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str], Decimal, int, int]]:
    """(leg, (meter, unit), quantity, units of a price, nano-dollars); what was used for nothing is a row too."""
    for leg, (meter, _unit, count, per) in METERS.items():
        amount = group[f"{leg}_nusd_"]
        if leg in ("calls", "minimum"):
            quantity, unit, of = Decimal(group["calls_"]), "Requests", 1
        elif leg == "seconds":
            quantity, unit, of = Decimal(str(group["duration_ms_"])) / 1000, "Seconds", 1
        elif leg == "compute":
            quantity, unit, of = EXACT.divide(Decimal(group["accelerator_ns_"]), Decimal(10**9)), "Seconds", 1
        else:
            apart = sum(
                group[f"{METERS[part][2]}_"] for part in INSIDE.get(leg, ()) if group[f"{part}_nusd_"]
            )
            quantity, unit, of = Decimal(group[f"{count}_"] - apart), "Tokens", per
        free = group["side"] == "external" and leg in ("input", "output") and quantity > 0
        if amount or free:
            yield leg, (meter, unit), quantity, of, amount


# ------------------------------------------------------------------------------------------------- adjustments
def _adjustment(
    base: Row, cost: Decimal, what: str, *, effective: int = 0, correct: int = 0, correction: bool = False
) -> Row:
    """An amount without a meter: so many dollars at one dollar each."""
    amount = _number(cost)
    return base | {
        "BilledCost": amount, "ContractedCost": amount, "ListCost": amount, "PricingQuantity": amount, "PricingUnit": "USD",
        "EffectiveCost": _number(EXACT.add(cost, effective * NANO)), "ContractedUnitPrice": "1", "ListUnitPrice": "1",
        "ConsumedQuantity": "", "ConsumedUnit": "", "ChargeCategory": "Adjustment", "ChargeFrequency": "One-Time",
        "ChargeClass": "Correction" if correction else "", "ChargeDescription": what, "PricingCategory": "", "SkuMeter": "",
        "SkuId": "", "SkuPriceId": "", "x_CorrectAnswers": str(correct) if correct else "",
    }  # fmt: skip


def _corrections(export: Export, day: datetime, names: Names, versions: Mapping[Any, str]) -> Iterator[Row]:
    """What was corrected since: a correction of a month that was over by then carries FOCUS's class for it, and stands in
    the billing period it was made in."""
    newest = {
        (row["request_id"], row["attempt"]): row
        for row in export.attempts(day).filter(revision__gt=0, superseded=False).values(
            *PRICED, "request_id", "attempt", "revision", "cost_nusd", "at"
        )
    }  # fmt: skip
    if not newest:
        return
    made = _made(newest)
    original: dict[tuple[str, int], int] = {}
    ids = sorted({request_id for request_id, _ in newest})
    for i in range(0, len(ids), 400):
        rows = export.attempts(day).filter(revision=0, request_id__in=ids[i : i + 400])
        original |= {(r, a): cost for r, a, cost in rows.values_list("request_id", "attempt", "cost_nusd")}
    groups: dict[tuple[Any, ...], int] = defaultdict(int)
    for key, row in newest.items():
        billed_in = month_start(made.get(key, row["at"]))
        groups[(*(row[n] for n in PRICED), billed_in)] += row["cost_nusd"] - original.get(key, 0)
    for (*values, billed_in), amount in sorted(groups.items(), key=lambda item: str(item[0])):
        late = billed_in > month_start(day)
        base = names.base(dict(zip(PRICED, values, strict=True)), day, billed_in, versions)
        if amount:
            yield _adjustment(base, amount * NANO, "correction of metered usage", correction=late)


def _made(newest: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[tuple[str, int], datetime]:
    """When each correction was recorded, by the transfers it left."""
    found: dict[tuple[str, int], datetime] = {}
    by_event: dict[str, tuple[str, int]] = {}
    for (request_id, attempt), row in newest.items():
        stem = f"{request_id}/{attempt}"
        by_event |= {
            f"{stem}/{row['revision']}": (request_id, attempt),
            f"reversal:{stem}/0": (request_id, attempt),
        }
    events = sorted(by_event)
    for i in range(0, len(events), 400):
        rows = LedgerEntry.objects.filter(event_id__in=events[i : i + 400]).values_list(
            "event_id", "recorded_at"
        )
        for event_id, at in rows:
            key = by_event[event_id]
            found[key] = max(at, found.get(key, at))
    return found


def _number(value: Decimal | int) -> str:
    """Plain notation without trailing noughts."""
    text = f"{EXACT.create_decimal(value):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text
