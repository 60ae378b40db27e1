"""Reads: which sheet is in force, as it was entered and in nano-dollars."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet

from costs.contracts import PriceSheet
from costs.models import Price
from costs.sheets.amounts import tiers_of
from costs.sheets.currencies import DOLLARS, USD, NoExchangeRate, Rate, rate_in_force, rates_in_force
from switchyard.core.clock import now


def rows_in_force(organisation_id: int, at: datetime) -> QuerySet[Price]:
    rows = Price.objects.filter(organisation_id=organisation_id, valid_from__lte=at)
    return rows.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=at)).order_by("valid_from")


def prices_in_force(organisation_id: int, at: datetime | None = None) -> dict[str, Price]:
    """Deployment → the row in force at `at` (now), in the currency it was entered in."""
    return {row.deployment: row for row in rows_in_force(organisation_id, at or now())}


def price_sheets(organisation_id: int, at: datetime | None = None) -> dict[str, PriceSheet]:
    """Deployment → the sheet in force at `at` (now), in nano-dollars. One whose currency has no rate in force is left out:
    its deployment counts as unpriced and gets no traffic."""
    at = at or now()
    rows = prices_in_force(organisation_id, at)
    foreign = any(row.currency != USD for row in rows.values())
    rates = rates_in_force(organisation_id, at) if foreign else {USD: DOLLARS}
    return {name: sheet_of(row, rates[row.currency]) for name, row in rows.items() if row.currency in rates}


def price_in_force(organisation_id: int, deployment: str, at: datetime) -> PriceSheet | None:
    """In nano-dollars; None when there is none, or its currency has no rate in force then."""
    row = rows_in_force(organisation_id, at).filter(deployment=deployment).last()
    if row is None:
        return None
    try:
        return sheet_of(row, rate_in_force(organisation_id, row.currency, at))
    except NoExchangeRate:
        return None


def sheet_of(price: Price, rate: Rate = DOLLARS) -> PriceSheet:
    """A sheet in nano-dollars. In another currency each amount is converted once, half-even, and the version names the
    rate that did it."""
    to = rate.to_nusd
    return PriceSheet(
        version=f"{price.version}@fx:{rate.id}" if rate.id else price.version,
        input_nusd_per_munit=to(price.input_nusd_per_munit),
        cached_input_nusd_per_munit=_converted(price.cached_input_nusd_per_munit, rate),
        cache_write_nusd_per_munit=_converted(price.cache_write_nusd_per_munit, rate),
        output_nusd_per_munit=to(price.output_nusd_per_munit),
        reasoning_nusd_per_munit=_converted(price.reasoning_nusd_per_munit, rate),
        call_nusd_per_munit=to(price.call_nusd_per_munit),
        second_nusd_per_munit=to(price.second_nusd_per_munit),
        training_nusd_per_munit=_converted(price.training_nusd_per_munit, rate),
        audio_input_nusd_per_munit=_converted(price.audio_input_nusd_per_munit, rate),
        audio_output_nusd_per_munit=_converted(price.audio_output_nusd_per_munit, rate),
        search_nusd_per_munit=_converted(price.search_nusd_per_munit, rate),
        minimum_nusd=to(price.minimum_nusd),
        batch_ppm=price.batch_ppm,
        tiers=tiers_of(price.tiers, to),
        source=price.source,
    )


def _converted(amount: int | None, rate: Rate) -> int | None:
    return None if amount is None else rate.to_nusd(amount)
