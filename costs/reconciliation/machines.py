"""A machine's invoice against its billed hours, by day: hours missing, hours doubled, another rate. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from costs.reconciliation.bills import InvoiceRow
from costs.reconciliation.lines import Gap
from switchyard.core.money import largest_remainder

CAUSES = {
    "hours_missing": "billed hours that the books don't have",
    "hours_unbilled": "booked hours that nobody billed",
    "hours_doubled": "the same hours billed twice",
    "rate": "same hours, other rate",
}
CLAIMS = frozenset({"hours_doubled", "rate"})
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BookedHour:
    """An hour of the node as its interval holds it."""

    start: datetime
    seconds: int
    bill_nusd: int


def match_machine(
    node: str,
    invoice: Iterable[tuple[InvoiceRow, int]],
    booked: Iterable[BookedHour],
    start: datetime,
    end: datetime,
) -> list[Gap]:
    """Gaps by day; they sum to billed less booked exactly. `invoice` gives each row with its nano-dollars."""
    hours, doubled = _by_day(invoice, start, end)
    ours: dict[date, list[BookedHour]] = defaultdict(list)
    for hour in booked:
        ours[hour.start.date()].append(hour)
    gaps = []
    for day in sorted({*hours, *doubled, *ours}):
        twice = doubled.get(day, (Fraction(0), 0))
        if twice[1]:
            gaps.append(_gap(day, node, "hours_doubled", twice[1], 0, twice[0]))
        gaps += _compare(day, node, hours.get(day, (Fraction(0), 0)), ours.get(day, []))
    return gaps


Sums = dict[date, tuple[Fraction, int]]


def _by_day(invoice: Iterable[tuple[InvoiceRow, int]], start: datetime, end: datetime) -> tuple[Sums, Sums]:
    """Day → (hours, nano-dollars) of the lines, and of those that repeat another line's hours."""
    once: Sums = defaultdict(lambda: (Fraction(0), 0))
    twice: Sums = defaultdict(lambda: (Fraction(0), 0))
    seen: list[tuple[datetime, datetime]] = []
    for row, nusd in sorted(invoice, key=lambda pair: (pair[0].start, pair[0].line)):
        target = twice if any(row.start < e and s < row.end for s, e in seen) else once
        seen.append((row.start, row.end))
        for day, share_hours, share in _days_of(row, nusd):
            if start <= day < end:
                hours, total = target[day.date()]
                target[day.date()] = (hours + share_hours, total + share)
    return dict(once), dict(twice)


def _days_of(row: InvoiceRow, nusd: int) -> list[tuple[datetime, Fraction, int]]:
    """A line's hours and amount by the days it spans; the parts sum to the line."""
    pieces: list[tuple[datetime, int]] = []
    at = row.start
    while at < row.end:
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        until = min(day + DAY, row.end)
        pieces.append((day, (until - at) // timedelta(microseconds=1)))
        at = until
    weights = [length for _, length in pieces]
    whole = sum(weights)
    amounts = (
        [-x for x in largest_remainder(-nusd, weights)] if nusd < 0 else largest_remainder(nusd, weights)
    )
    hours = Fraction(row.hours if isinstance(row.hours, Decimal) else Decimal(row.hours))
    return [
        (day, hours * length / whole, amount) for (day, length), amount in zip(pieces, amounts, strict=True)
    ]


def _compare(day: date, node: str, billed: tuple[Fraction, int], ours: list[BookedHour]) -> list[Gap]:
    hours, amount = billed
    own_hours = Fraction(sum(h.seconds for h in ours), 3600)
    own = sum(h.bill_nusd for h in ours)
    if amount == own:
        return []
    if hours == own_hours or not own_hours:
        cause = "rate" if own_hours else "hours_missing"
        return [_gap(day, node, cause, amount, own, hours)]
    if not hours:
        return [_gap(day, node, "hours_unbilled", amount, own, own_hours)]
    worth = round(hours * own / own_hours)  # the billed hours at our own rate
    if abs(amount - worth) <= len(ours) + 1:
        worth = amount
    cause = "hours_missing" if hours > own_hours else "hours_unbilled"
    gaps = [_gap(day, node, cause, worth, own, abs(hours - own_hours))] if worth != own else []
    return gaps + ([_gap(day, node, "rate", amount, worth, hours)] if worth != amount else [])


def _gap(day: date, node: str, cause: str, billed: int, booked: int, hours: Fraction) -> Gap:
    detail = f"{float(hours):g} h"
    return Gap(day, node, "", cause, billed, booked, detail)


def findings(gaps: Iterable[Gap]) -> list[dict[str, object]]:
    """As JSON holds them, by day."""
    rows: list[dict[str, object]] = [
        {"day": g.day.isoformat(), "model": g.model, "lob": g.lob, "cause": g.cause, "detail": g.detail, "rows": g.rows,
         "billed_nusd": g.billed_nusd, "booked_nusd": g.booked_nusd, "gap_nusd": g.nusd, "claim": g.cause in CLAIMS,
         "samples": []}
        for g in gaps
    ]  # fmt: skip
    return rows
