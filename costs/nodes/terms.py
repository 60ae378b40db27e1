"""Pure: what a machine costs in any span of time, by its parts, and its standard rate. Exact fractions, rounded once."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from zoneinfo import ZoneInfo

from costs.pricing import HOURS_PER_MONTH as DECIMAL_HOURS
from costs.pricing import Unpriced
from switchyard.core.money import NUSD_PER_USD, largest_remainder

PARTS = ("cloud", "purchase", "power", "rack", "people", "operations")
HOURS_PER_MONTH = Fraction(DECIMAL_HOURS)
HOUR = timedelta(hours=1)
QUARTER = timedelta(
    minutes=15
)  # every zone's offset is a multiple of it, so the local hour changes on none other
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Band:
    """Local hours `start` ≤ h < `end` cost so much a kWh; it wraps over midnight when it ends before it starts."""

    start: int
    end: int
    usd_per_kwh: Decimal

    @property
    def hours(self) -> frozenset[int]:
        length = (self.end - self.start) % 24 or 24
        return frozenset((self.start + i) % 24 for i in range(length))


@dataclass(frozen=True, slots=True)
class Terms:
    """What a machine costs, as one dated version says it. Amounts are dollars.

    `committed_from` and `bought_from` are where the commitment and the depreciation began: versions that change something
    else carry them on.
    """

    version: str
    usd_per_hour: Decimal | None = None
    commitment_usd_per_hour: Decimal | None = None
    commitment_upfront_usd: Decimal = Decimal(0)
    commitment_months: int | None = None
    capex_usd: Decimal | None = None
    salvage_usd: Decimal = Decimal(0)
    life_months: int | None = None
    watts: int = 0
    pue: Decimal = Decimal(1)
    usd_per_kwh: Decimal = Decimal(0)
    tariff: tuple[Band, ...] = ()
    tariff_timezone: str = "UTC"
    rack_usd_per_month: Decimal = Decimal(0)
    people_usd_per_month: Decimal = Decimal(0)
    operations_usd_per_month: Decimal = Decimal(0)
    planned_utilisation: Decimal = Decimal(1)
    committed_from: datetime | None = None
    bought_from: datetime | None = None

    @property
    def priced(self) -> bool:
        return self.usd_per_hour is not None or (self.capex_usd is not None and bool(self.life_months))

    @property
    def commitment(self) -> tuple[object, ...]:
        return (self.commitment_usd_per_hour, self.commitment_upfront_usd, self.commitment_months)

    @property
    def purchase(self) -> tuple[object, ...]:
        return (self.capex_usd, self.salvage_usd, self.life_months)

    @property
    def committed_until(self) -> datetime | None:
        """Calendar months after it began."""
        if self.committed_from is None or not self.commitment_months:
            return None
        return add_months(self.committed_from, self.commitment_months)

    @property
    def depreciated_at(self) -> datetime | None:
        if self.bought_from is None or self.capex_usd is None or not self.life_months:
            return None
        return self.bought_from + timedelta(hours=float(self.life_months * HOURS_PER_MONTH))


@dataclass(frozen=True, slots=True)
class Bill:
    """Nano-dollars, and the parts that sum to them exactly."""

    nusd: int
    parts: dict[str, int]


def add_months(start: datetime, months: int) -> datetime:
    """The same day and time so many calendar months later; the month's last day where it has no such day."""
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


def bill_of(spans: Sequence[tuple[Terms, datetime, datetime]]) -> Bill:
    """The bill of neighbouring spans, each by its own terms; one rounding of the whole, half-even. Raises Unpriced."""
    exact = dict.fromkeys(PARTS, Fraction(0))
    for terms, start, end in spans:
        for begin, until in _pieces(terms, start, end):
            share = Fraction((until - begin) // MICROSECOND, HOUR // MICROSECOND)
            for part, hourly in _hourly(terms, begin, _price_at(terms, begin)).items():
                exact[part] += hourly * share
    return _rounded(exact)


def standard_bill(terms: Terms, at: datetime) -> Bill:
    """An hour of the machine as it is metered: with the tariff's average over the day. Raises Unpriced."""
    prices = _prices_by_hour(terms)
    exact = dict.fromkeys(PARTS, Fraction(0)) | _hourly(terms, at, sum(prices, Fraction(0)) / 24)
    return _rounded(exact)


def _rounded(exact: dict[str, Fraction]) -> Bill:
    total = sum(exact.values(), Fraction(0))
    whole = round(total)  # half-even
    if not total:
        return Bill(0, dict.fromkeys(exact, 0))
    common = 1
    for value in exact.values():
        common = common * value.denominator // _gcd(common, value.denominator)
    weights = [int(value * common) for value in exact.values()]
    return Bill(whole, dict(zip(exact, largest_remainder(whole, weights), strict=True)))


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def _pieces(terms: Terms, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The span cut wherever the rate may change: the ends of commitment and life, and local hours of a tariff."""
    cuts = {c for c in (terms.committed_until, terms.depreciated_at) if c is not None and start < c < end}
    if terms.tariff and terms.watts:
        first = datetime.fromtimestamp(
            int(start.timestamp()) // 900 * 900, UTC
        )  # whole quarters since the epoch
        step = first + QUARTER
        while step < end:
            if _price_at(terms, step) != _price_at(terms, step - QUARTER):
                cuts.add(step)
            step += QUARTER
    edges = [start, *sorted(c for c in cuts if c > start), end]
    yield from zip(edges, edges[1:], strict=False)


def _hourly(terms: Terms, at: datetime, usd_per_kwh: Fraction) -> dict[str, Fraction]:
    """Nano-dollars an hour by part, unrounded. A cloud rate includes its power."""
    parts: dict[str, Fraction] = {}
    if terms.usd_per_hour is not None:
        parts["cloud"] = _cloud(terms, at)
    elif terms.capex_usd is not None and terms.life_months:
        ended = terms.depreciated_at
        worth = Fraction(terms.capex_usd) - Fraction(terms.salvage_usd)
        parts["purchase"] = (
            Fraction(0)
            if ended is not None and at >= ended
            else worth / (terms.life_months * HOURS_PER_MONTH)
        )
        parts["power"] = Fraction(terms.watts, 1000) * Fraction(terms.pue) * usd_per_kwh
    else:
        raise Unpriced("The node has neither a rate per hour nor a purchase price with a life.")
    for part in ("rack", "people", "operations"):
        parts[part] = Fraction(getattr(terms, f"{part}_usd_per_month")) / HOURS_PER_MONTH
    return {part: usd * NUSD_PER_USD for part, usd in parts.items()}


def _cloud(terms: Terms, at: datetime) -> Fraction:
    """Dollars an hour: on demand, or committed with the upfront payment spread over the hours it covers."""
    begins, ends = terms.committed_from, terms.committed_until
    if begins is None or ends is None or not begins <= at < ends:
        return Fraction(terms.usd_per_hour or 0)
    covered = Fraction((ends - begins) // MICROSECOND, HOUR // MICROSECOND)
    return Fraction(terms.commitment_usd_per_hour or 0) + Fraction(terms.commitment_upfront_usd) / covered


def _price_at(terms: Terms, at: datetime) -> Fraction:
    """Dollars a kWh in the local hour that `at` lies in."""
    if not terms.tariff:
        return Fraction(terms.usd_per_kwh)
    return _prices_by_hour(terms)[at.astimezone(_zone(terms.tariff_timezone)).hour]


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _band_prices(default: Decimal, tariff: tuple[Band, ...]) -> tuple[Fraction, ...]:
    prices = [Fraction(default)] * 24
    for band in tariff:
        for hour in band.hours:
            prices[hour] = Fraction(band.usd_per_kwh)
    return tuple(prices)


def _prices_by_hour(terms: Terms) -> tuple[Fraction, ...]:
    return _band_prices(terms.usd_per_kwh, terms.tariff)
