"""Exchange rates: what a unit of a currency is worth in nano-dollars, from a date on until the next rate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from costs.models import ExchangeRate
from costs.pricing import half_even
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import NUSD_PER_USD, format_usd
from switchyard.tenancy.services import bump_config

USD = "USD"
CURRENCY = re.compile(r"[A-Z]{3}")  # ISO 4217
DEAREST_UNIT_NUSD = 1_000 * NUSD_PER_USD  # no currency's unit is worth a thousand dollars


class NoExchangeRate(ValidationFailed):
    """No rate of the currency is in force: nothing can be said in dollars, so nothing is."""

    code = "missing_exchange_rate"


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate in force. Dollars have no row: `id` is 0 and a dollar is a dollar."""

    currency: str
    nusd_per_unit: int
    id: int = 0

    def to_nusd(self, amount_nano: int) -> int:
        """Nano-units of the currency in nano-dollars, half-even."""
        return amount_nano if self.id == 0 else half_even(amount_nano * self.nusd_per_unit, NUSD_PER_USD)


DOLLARS = Rate(USD, NUSD_PER_USD)


def rates_in_force(organisation_id: int, at: datetime) -> dict[str, Rate]:
    """Currency → its rate at that time; dollars always."""
    rows = ExchangeRate.objects.filter(organisation_id=organisation_id, valid_from__lte=at)
    found = {r.currency: Rate(r.currency, r.nusd_per_unit, r.pk) for r in rows.order_by("valid_from")}
    return found | {USD: DOLLARS}


def rate_in_force(organisation_id: int, currency: str, at: datetime) -> Rate:
    """Raises NoExchangeRate."""
    if currency == USD:
        return DOLLARS
    rows = ExchangeRate.objects.filter(organisation_id=organisation_id, currency=currency, valid_from__lte=at)
    row = rows.order_by("-valid_from").first()
    if row is None:
        raise NoExchangeRate(
            f"No exchange rate of {currency} is in force at {at:%Y-%m-%d %H:%M} UTC: enter one that begins by then."
        )
    return Rate(row.currency, row.nusd_per_unit, row.pk)


def to_nusd(amount_nano: int, currency: str, at: datetime, organisation_id: int) -> int:
    """Nano-units of a currency in nano-dollars at the rate in force, half-even. Raises NoExchangeRate."""
    return rate_in_force(organisation_id, currency, at).to_nusd(amount_nano)


def check_currency(text: str) -> str:
    """An ISO 4217 code. Raises ValidationFailed."""
    if not CURRENCY.fullmatch(text):
        raise ValidationFailed(
            f"{text!r} is no currency: write its three capital letters, like EUR.", param="currency"
        )
    return text


def check_rate(
    *, organisation_id: int, currency: str, nusd_per_unit: int, source: str, valid_from: datetime
) -> None:
    """Raises ValidationFailed for what create_rate refuses."""
    check_currency(currency)
    if currency == USD:
        raise ValidationFailed("The books are in dollars: a dollar has no rate.", param="currency")
    if not 0 < nusd_per_unit <= DEAREST_UNIT_NUSD:
        raise ValidationFailed(
            f"A unit of {currency} at {format_usd(nusd_per_unit)} dollars: a rate lies between 0 and 1,000 dollars.",
            param="usd_per_unit",
        )
    if not source.strip():
        raise ValidationFailed("Name who published the rate, and when.", param="source")
    rows = ExchangeRate.objects.filter(organisation_id=organisation_id, currency=currency)
    held = rows.filter(valid_from__lte=now(), valid_from__gte=valid_from).order_by("-valid_from").first()
    if held is not None:
        raise ValidationFailed(
            f"A rate of {currency} is in force since {held.valid_from:%Y-%m-%d %H:%M} UTC: the new one must begin later.",
            param="from",
        )
    if rows.filter(valid_from=valid_from).exists():
        raise ValidationFailed(f"A rate of {currency} begins then already.", param="from")


@transaction.atomic
def create_rate(
    *,
    organisation_id: int,
    currency: str,
    nusd_per_unit: int,
    source: str,
    actor: Any,
    valid_from: datetime | None = None,
) -> ExchangeRate:
    """A new dated rate, from now on unless said otherwise; it holds until the next one.

    Raises ValidationFailed for a currency or a rate that can't be, and for one that begins before another that is in
    force: what was converted stays explained.
    """
    start = valid_from or now()
    check_rate(
        organisation_id=organisation_id, currency=currency, nusd_per_unit=nusd_per_unit, source=source, valid_from=start
    )  # fmt: skip
    row = ExchangeRate.objects.create(
        organisation_id=organisation_id, currency=currency, valid_from=start, nusd_per_unit=nusd_per_unit,
        source=source.strip(),
    )  # fmt: skip
    record(
        actor=actor, action="exchange_rate.created", target=f"exchange_rate:{row.pk}", organisation_id=organisation_id,
        detail={"currency": currency, "from": start, "usd_per_unit": format_usd(nusd_per_unit), "source": row.source},
    )  # fmt: skip
    bump_config()
    return row


@transaction.atomic
def delete_rate(*, row: ExchangeRate, actor: Any) -> None:
    """Take one back that has not begun. Raises ValidationFailed once it was in force."""
    if row.valid_from <= now():
        raise ValidationFailed("This rate was in force: it is kept. Enter the one that follows it.")
    record(
        actor=actor, action="exchange_rate.deleted", target=f"exchange_rate:{row.pk}",
        organisation_id=row.organisation_id, detail={"currency": row.currency, "from": row.valid_from},
    )  # fmt: skip
    row.delete()
    bump_config()
