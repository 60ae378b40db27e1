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

from django.db.models import Sum

from costs.books.fiscal import month_end
from costs.exports.charges import (
    Late,
    Line,
    Span,
    correction_lines,
    label_lines,
    late_transfers,
    metered_by_account,
    moved_calls,
    opening_nusd,
    other_lines,
    unnamed,
)
from costs.ledger import credit_account
from costs.models import QUANTITIES, NodeInterval, SpendDay

BASES = ("chargeback", "showback")
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
    "audio_input": ("audio input tokens", "1M tokens", "audio_tokens_in", MILLION),
    "audio_output": ("audio output tokens", "1M tokens", "audio_tokens_out", MILLION),
    "searches": ("searches", "search", "searches", 1),
}
# Counted in, priced apart.
INSIDE = {"input": ("cached_input", "cache_write", "audio_input"), "output": ("reasoning", "audio_output")}
WORK = ("application", "workload", "deployment", "model", "side", "node", "purpose")
SUMS = (
    "cost_nusd", "requests", *QUANTITIES, "accelerator_ns", "duration_ms", "variance_nusd", *(f"{leg}_nusd" for leg in METERS),
)  # fmt: skip


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
    """`month` is its first moment, UTC. ValueError for another basis.

    From roll-ups: of the ledger itself are read only what was booked late and what was charged without a call, both few and
    found by indexes of their own.
    """
    if basis not in BASES:
        raise ValueError(f"{basis!r} is no basis: expected chargeback or showback.")
    span = Span(organisation_id, lob, month, month_end(month))
    late, work = late_transfers(span), _work_rows(span)
    beside = [*label_lines(span, late), *other_lines(span)]
    lines = [*(line for row in work for line in _meters(row)), *_apart(span, work, late)]
    lines += [*beside, *correction_lines(span, late)]
    lines += unnamed(span, lines)
    if basis == "showback":
        lines += _loaded(span, work)
    return Statement(lob, basis, month, span.end, opening_nusd(span), lines)


# ------------------------------------------------------------------------------------------------- work
def _work_rows(span: Span) -> list[dict[str, Any]]:
    rows = SpendDay.objects.filter(
        organisation_id=span.organisation_id, lob=span.lob, start__gte=span.start, start__lt=span.end
    )
    sums = {f"{name}_": Sum(name) for name in SUMS}
    found = rows.order_by(*WORK).values(*WORK).annotate(**sums)
    return [{n: row[n] for n in WORK} | {n: row[f"{n}_"] or 0 for n in SUMS} for row in found]


def _apart(span: Span, work: Iterable[Mapping[str, Any]], late: Iterable[Late]) -> Iterator[Line]:
    """Where the ledger's month says otherwise than the work of the month as it stands now (it was corrected after the month was
    closed, or came after an earlier one was), lines say by how much: by application and workload as far as late transfers
    name them, what is left by vendor or machine."""
    rolled: dict[str, int] = defaultdict(int)
    for row in work:
        rolled[credit_account(row["side"], row["deployment"], row["node"])] += row["cost_nusd"]
    booked, moved = metered_by_account(span), moved_calls(span)
    for one in late:
        if one.metered:
            booked[one.other] -= one.amount_nusd
    for account in sorted({*rolled, *booked, *moved}):
        named = {names: nusd for names, nusd in moved.get(account, {}).items() if nusd}
        left = booked.get(account, 0) - rolled.get(account, 0) - sum(named.values())
        for (application, workload), nusd in [*sorted(named.items()), (("", ""), left)]:
            if nusd:
                yield Line(
                    "work", "as charged in the month, against the work as it stands now", nusd,
                    side="external" if account.startswith("payable:") else "private", application=application,
                    workload=workload, note=f"{account}: corrected since, or booked in another month",
                )  # fmt: skip


def _meters(row: dict[str, Any]) -> Iterator[Line]:
    names = {n: row[n] for n in ("application", "workload", "model", "side", "purpose")}
    row = row | {"seconds": Decimal(str(row["duration_ms"])) / 1000}
    for leg, (meter, unit, count, per) in METERS.items():
        if amount := row[f"{leg}_nusd"]:
            apart = sum(row[METERS[part][2]] for part in INSIDE.get(leg, ()) if row[f"{part}_nusd"])
            yield Line("work", meter, amount, quantity=Decimal(row[count] - apart) / per, unit=unit, **names)


# ------------------------------------------------------------------------------------------------- showback
def _loaded(span: Span, work: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    """Per node: the share of its bill less the standard rate, and the idle time that the line of business carries."""
    variances: dict[str, int] = defaultdict(int)
    for row in work:
        variances[row["node"]] += row["variance_nusd"]
    carried, unused = _idle(span)
    for node in sorted({*variances, *carried}):
        share = variances[node] - (carried[node] - unused[node])
        if share:
            yield Line("loaded", f"{node}: share of its bill less the standard rate", share, side="private")
        if carried[node]:
            yield Line("loaded", f"{node}: idle time carried", carried[node], side="private")


def _idle(span: Span) -> tuple[defaultdict[str, int], defaultdict[str, int]]:
    """Node → idle nano-dollars carried, and the part of it from hours that nobody used, which is on no row of work."""
    rows = NodeInterval.objects.filter(
        organisation_id=span.organisation_id, start__gte=span.start, start__lt=span.end, current=True
    )
    carried, unused = defaultdict[str, int](int), defaultdict[str, int](int)
    for node, shares, used_ns in rows.exclude(idle_shares={}).values_list(
        "node", "idle_shares", "accelerator_ns"
    ):
        amount = shares.get(span.lob, 0)
        carried[node] += amount
        if not used_ns:
            unused[node] += amount
    return carried, unused
