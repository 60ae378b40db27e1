"""A line of business's statement of a month: opening, every charge with quantity and unit price, corrections, total.

Chargeback is what was charged (the account `expense:lob:<slug>`), to the nano-dollar. Showback is what it really cost: own
machines' shares of their bills instead of the standard rate, and the idle time that the line of business carries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import BooleanField, Case, Count, Q, QuerySet, Sum, Value, When

from costs.books.fiscal import month_end
from costs.ledger import credit_account, expense_account
from costs.models import AccountHour, LedgerEntry, NodeInterval, SpendHour
from switchyard.core.money import NUSD_PER_USD

BASES = ("chargeback", "showback")
LATE = "late for "  # how the books begin the memo of what came after its month was closed
NAMED = 500  # corrections shown one by one; the rest is one line
MILLION, HOUR_NS = 1_000_000, 3_600_000_000_000
# Leg → (meter, unit, the roll-up's count, units a price is for).
METERS: Mapping[str, tuple[str, str, str, int]] = {
    "input": ("input tokens", "1M tokens", "tokens_in", MILLION),
    "cached_input": ("cached input tokens", "1M tokens", "cached_tokens_in", MILLION),
    "cache_write": ("cache write tokens", "1M tokens", "cache_write_tokens", MILLION),
    "output": ("output tokens", "1M tokens", "tokens_out", MILLION),
    "reasoning": ("reasoning tokens", "1M tokens", "reasoning_tokens", MILLION),
    "calls": ("calls", "call", "requests", 1),
    "seconds": ("seconds of calls", "second", "seconds", 1),
    "compute": ("accelerator time", "hour", "accelerator_ns", HOUR_NS),
    "minimum": ("minimum charges", "request", "requests", 1),
}
INSIDE = {"input": ("cached_input", "cache_write"), "output": ("reasoning",)}  # counted in, priced apart
WORK = ("application", "workload", "deployment", "model", "side", "node", "purpose")
SUMS = ("cost_nusd", "requests", "tokens_in", "tokens_out", "cached_tokens_in", "cache_write_tokens", "reasoning_tokens",
        "accelerator_ns", "duration_ms", "variance_nusd", *(f"{leg}_nusd" for leg in METERS))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One charge. `section`: work | labels | other | loaded | correction. Quantity × unit price is the amount but for
    rounding: the price shown is the average."""

    section: str
    what: str
    amount_nusd: int
    application: str = ""
    workload: str = ""
    model: str = ""
    side: str = ""
    purpose: str = ""
    quantity: Decimal | None = None
    unit: str = ""
    note: str = ""

    @property
    def unit_price_usd(self) -> Decimal | None:
        if not self.quantity:
            return None
        each = Decimal(self.amount_nusd) / NUSD_PER_USD / self.quantity
        return each.quantize(Decimal("0.000000001"))


@dataclass(frozen=True, slots=True)
class Statement:
    lob: str
    basis: str
    start: datetime
    end: datetime
    opening_nusd: int
    lines: list[Line] = field(default_factory=list)

    @property
    def total_nusd(self) -> int:
        return sum(line.amount_nusd for line in self.lines)

    @property
    def closing_nusd(self) -> int:
        return self.opening_nusd + self.total_nusd

    def subtotals(self) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for line in self.lines:
            sums[line.section] += line.amount_nusd
        return dict(sums)


def statement(*, organisation_id: int, lob: str, month: datetime, basis: str = "chargeback") -> Statement:
    """`month` is its first moment, UTC. ValueError for another basis."""
    if basis not in BASES:
        raise ValueError(f"{basis!r} is no basis: expected chargeback or showback.")
    end = month_end(month)
    entries = _entries(organisation_id, lob, month, end)
    work = _work_rows(organisation_id, lob, month, end)
    lines = [*_work(entries, work), *_beside(entries), *_corrections(organisation_id, lob, month, end)]
    if basis == "showback":
        lines += _loaded(organisation_id, lob, month, end, work)
    return Statement(lob, basis, month, end, _opening(organisation_id, lob, month), lines)


def _opening(organisation_id: int, lob: str, month: datetime) -> int:
    rows = AccountHour.objects.filter(
        organisation_id=organisation_id, account=expense_account(lob), start__lt=month
    )
    sums = rows.aggregate(debit=Sum("debit_nusd"), credit=Sum("credit_nusd"))
    return (sums["debit"] or 0) - (sums["credit"] or 0)


# ------------------------------------------------------------------------------------------------- the ledger's side
@dataclass(frozen=True, slots=True)
class _Group:
    """Transfers of the month with the same names, less what was reversed within it; corrections of other months apart."""

    application: str
    workload: str
    purpose: str
    other: str  # the account on the other side
    metered: bool
    count: int
    amount_nusd: int


def _of_account(
    organisation_id: int, lob: str, start: datetime, end: datetime
) -> Iterator[tuple[str, int, QuerySet]]:
    """(the other side's field, sign, rows) for both sides of the account."""
    account = expense_account(lob)
    rows = LedgerEntry.objects.filter(organisation_id=organisation_id, at__gte=start, at__lt=end)
    late = Q(memo__startswith=LATE) | Q(reverses__at__lt=start)
    rows = rows.annotate(late=_flag(late), metered=_flag(Q(attempt__isnull=False)))
    yield "credit", 1, rows.filter(debit=account)
    yield "debit", -1, rows.filter(credit=account)


def _flag(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


def _entries(organisation_id: int, lob: str, start: datetime, end: datetime) -> list[_Group]:
    found: dict[tuple[str, str, str, str, bool], list[int]] = defaultdict(lambda: [0, 0])
    for other, sign, rows in _of_account(organisation_id, lob, start, end):
        names = ("application", "workload", "purpose", other)
        grouped = rows.filter(late=False).order_by().values(*names, "metered")
        for row in grouped.annotate(total=Sum("amount_nusd"), n=Count("pk")):
            sums = found[(*(row[n] for n in names), row["metered"])]  # type: ignore[index]
            sums[0] += sign * row["n"]
            sums[1] += sign * row["total"]
    return [_Group(*key, *sums) for key, sums in sorted(found.items())]


def _corrections(organisation_id: int, lob: str, start: datetime, end: datetime) -> Iterator[Line]:
    """What was booked this month for an earlier one, each by its name."""
    named: list[Line] = []
    rest = rest_count = 0
    for other, sign, rows in _of_account(organisation_id, lob, start, end):
        for row in rows.filter(late=True).select_related("reverses").order_by("pk").iterator(chunk_size=1000):
            if len(named) >= NAMED:
                rest, rest_count = rest + sign * row.amount_nusd, rest_count + 1
                continue
            was = row.reverses.at if row.reverses is not None else None
            named.append(Line(
                "correction", row.event_id, sign * row.amount_nusd, application=row.application, workload=row.workload,
                purpose=row.purpose, side="external" if getattr(row, other).startswith("payable:") else "private",
                note=row.memo or (f"of {was:%Y-%m}" if was else ""),
            ))  # fmt: skip
    yield from named
    if rest_count:
        yield Line("correction", f"{rest_count} more corrections of earlier months", rest)


def _beside(entries: Iterable[_Group]) -> Iterator[Line]:
    """Labels, reviews, feedback, and what else was charged without a call."""
    for group in entries:
        if group.metered or not group.amount_nusd:
            continue
        labels = group.other == "payable:labels"
        yield Line(
            "labels" if labels else "other", group.purpose or ("label" if labels else group.other), group.amount_nusd,
            application=group.application, workload=group.workload, purpose=group.purpose,
            quantity=Decimal(group.count) if group.count > 0 else None, unit="item" if labels else "transfer",
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------- the work's side
def _work_rows(organisation_id: int, lob: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
    rows = SpendHour.objects.filter(organisation_id=organisation_id, lob=lob, start__gte=start, start__lt=end)
    sums = {f"{name}_": Sum(name) for name in SUMS}
    found = rows.order_by(*WORK).values(*WORK).annotate(**sums)
    return [{n: row[n] for n in WORK} | {n: row[f"{n}_"] or 0 for n in SUMS} for row in found]


def _work(entries: list[_Group], work: list[dict[str, Any]]) -> Iterator[Line]:
    """A line a meter. Where the ledger's month says otherwise than the work of the month as it stands now (it was corrected
    after the month was closed), a line says by how much."""
    rolled: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for row in work:
        yield from _meters(row)
        account = credit_account(row["side"], row["deployment"], row["node"])
        rolled[(row["application"], row["workload"], row["purpose"], account)] += row["cost_nusd"]
    booked = {(g.application, g.workload, g.purpose, g.other): g.amount_nusd for g in entries if g.metered}
    for key in sorted({*rolled, *booked}):
        difference = booked.get(key, 0) - rolled.get(key, 0)
        if difference:
            application, workload, purpose, other = key
            yield Line(
                "work", "as charged in the month, against the work as it stands now", difference, application=application,
                workload=workload, purpose=purpose, side="external" if other.startswith("payable:") else "private",
                note="corrected since, or booked in another month",
            )  # fmt: skip


def _meters(row: dict[str, Any]) -> Iterator[Line]:
    names = {n: row[n] for n in ("application", "workload", "model", "side", "purpose")}
    row = row | {"seconds": Decimal(str(row["duration_ms"])) / 1000}
    for leg, (meter, unit, count, per) in METERS.items():
        if amount := row[f"{leg}_nusd"]:
            apart = sum(row[METERS[part][2]] for part in INSIDE.get(leg, ()) if row[f"{part}_nusd"])
            yield Line("work", meter, amount, quantity=Decimal(row[count] - apart) / per, unit=unit, **names)


# ------------------------------------------------------------------------------------------------- showback
def _loaded(
    organisation_id: int, lob: str, start: datetime, end: datetime, work: list[dict[str, Any]]
) -> Iterator[Line]:
    """Per node: the share of its bill less the standard rate, and the idle time that the line of business carries."""
    variances: dict[str, int] = defaultdict(int)
    for row in work:
        variances[row["node"]] += row["variance_nusd"]
    carried, unused = _idle(organisation_id, lob, start, end)
    for node in sorted({*variances, *carried}):
        share = variances[node] - (carried[node] - unused[node])
        if share:
            yield Line("loaded", f"{node}: share of its bill less the standard rate", share, side="private")
        if carried[node]:
            yield Line("loaded", f"{node}: idle time carried", carried[node], side="private")


def _idle(
    organisation_id: int, lob: str, start: datetime, end: datetime
) -> tuple[defaultdict[str, int], defaultdict[str, int]]:
    """Node → idle nano-dollars carried, and the part of it from hours that nobody used, which is on no row of work."""
    rows = NodeInterval.objects.filter(
        organisation_id=organisation_id, start__gte=start, start__lt=end, current=True
    )
    carried, unused = defaultdict[str, int](int), defaultdict[str, int](int)
    for node, shares, used_ns in rows.exclude(idle_shares={}).values_list(
        "node", "idle_shares", "accelerator_ns"
    ):
        amount = shares.get(lob, 0)
        carried[node] += amount
        if not used_ns:
            unused[node] += amount
    return carried, unused
