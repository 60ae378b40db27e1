"""FOCUS rows of labels: people's work at home, a row a day, line of business, workload and purpose."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from costs.books.fiscal import month_start
from costs.exports.focus_names import Names
from costs.models import LabelHour
from switchyard.tenancy.querysets import Scope

DAY, NANO = timedelta(days=1), Decimal("1e-9")
NAMES = ("lob", "workload", "purpose", "origin")
NOBODY = {"application": "", "deployment": "labels", "node": "", "model": "", "side": "private", "price_version": "label",
          "usage_source": "reported"}  # fmt: skip
Row = dict[str, str]


def label_rows(scope: Scope, day: datetime, names: Names, lob: str | None = None) -> Iterator[Row]:
    """What a day's labels cost. Where all of a row's lines had one price, so many of them at it; else an amount alone."""
    rows = LabelHour.objects.for_tenant(scope).filter(start__gte=day, start__lt=day + DAY)
    rows = rows.filter(lob=lob) if lob else rows
    found = rows.order_by(*NAMES).values(*NAMES).annotate(n=Sum("lines"), nusd=Sum("amount_nusd"))
    for row in found:
        if not row["nusd"]:
            continue
        base = names.base({**NOBODY, **{name: row[name] for name in NAMES}}, day, month_start(day), {})
        base |= {"ServiceName": "Labels", "x_CorrectAnswers": ""}
        even = row["n"] > 0 and row["nusd"] % row["n"] == 0
        yield base | (
            _counted(row["n"], row["nusd"], row["purpose"]) if even else _amount(row["nusd"], row["purpose"])
        )


def _counted(lines: int, nusd: int, purpose: str) -> Row:
    amount, each = _number(nusd), _number(nusd // lines)
    return {
        "BilledCost": amount, "ContractedCost": amount, "ListCost": amount, "EffectiveCost": amount,
        "ContractedUnitPrice": each, "ListUnitPrice": each, "PricingQuantity": str(lines), "PricingUnit": "Labels",
        "ConsumedQuantity": str(lines), "ConsumedUnit": "Labels", "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based", "SkuMeter": purpose, "ChargeDescription": f"{purpose} by people",
        "PricingCategory": "Standard", "SkuId": f"label/{purpose}", "SkuPriceId": f"label/{purpose}/{each}",
    }  # fmt: skip


def _amount(nusd: int, purpose: str) -> Row:
    amount = _number(nusd)
    return {
        "BilledCost": amount, "ContractedCost": amount, "ListCost": amount, "EffectiveCost": amount,
        "ContractedUnitPrice": "1", "ListUnitPrice": "1", "PricingQuantity": amount, "PricingUnit": "USD",
        "ConsumedQuantity": "", "ConsumedUnit": "", "ChargeCategory": "Adjustment", "ChargeFrequency": "One-Time",
        "SkuMeter": "", "SkuId": "", "SkuPriceId": "", "ChargeDescription": f"{purpose} by people, at more than one price",
        "PricingCategory": "",
    }  # fmt: skip


def _number(nusd: int) -> str:
    text = f"{Decimal(nusd) * NANO:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
