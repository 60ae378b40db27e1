"""What past calls would have cost by another sheet: a preview. Nothing in the books changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet, Sum

from costs.contracts import PriceSheet, Usage
from costs.models import LEGS, QUANTITIES, Attempt, Price
from costs.pricing import external_charge
from costs.reports.base import LEG_SUMS, spend_rows
from costs.rollups import as_of, hour_of
from costs.sheets.amounts import AMOUNTS, tiers_of
from costs.sheets.currencies import USD, rate_in_force
from costs.sheets.in_force import sheet_of
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.querysets import Scope

MOST_CALLS = 1_000_000  # priced one by one; some seconds
CHUNK = 5_000
ROLLUPS, CALLS = "roll-ups", "calls"


@dataclass(slots=True)
class Sums:
    """Calls (0 where roll-ups were read: they don't count every paid call), and nano-dollars by leg."""

    calls: int = 0
    booked: dict[str, int] = field(default_factory=dict)
    repriced: dict[str, int] = field(default_factory=dict)

    @property
    def booked_nusd(self) -> int:
        return sum(self.booked.values())

    @property
    def repriced_nusd(self) -> int:
        return sum(self.repriced.values())

    def add(self, other: Sums) -> None:
        self.calls += other.calls
        for mine, theirs in ((self.booked, other.booked), (self.repriced, other.repriced)):
            for leg, amount in theirs.items():
                mine[leg] = mine.get(leg, 0) + amount


@dataclass(frozen=True, slots=True)
class Preview:
    """`method`: roll-ups | calls. By roll-ups each group is rounded once and not each call: within half a nano-dollar a
    call and leg of the exact figure."""

    method: str
    why: str
    as_of: datetime
    cells: Mapping[tuple[str, str], Sums]  # (deployment, line of business)

    def by(self, part: int | None) -> dict[str, Sums]:
        """Summed by deployment (0), by line of business (1), or all together (None)."""
        found: dict[str, Sums] = {}
        for key, sums in self.cells.items():
            found.setdefault("" if part is None else key[part], Sums()).add(sums)
        return dict(sorted(found.items()))

    @property
    def total(self) -> Sums:
        return self.by(None).get("", Sums())

    def classes(self) -> list[dict[str, Any]]:
        """One row a token class or other leg that appears."""
        total = self.total
        legs = [leg for leg in LEGS if total.booked.get(leg) or total.repriced.get(leg)]
        return [figures(total.booked.get(leg, 0), total.repriced.get(leg, 0), key=leg) for leg in legs]

    def rows(self) -> list[dict[str, Any]]:
        return [
            figures(
                s.booked_nusd, s.repriced_nusd, key=f"{name}|{lob}", deployment=name, lob=lob, calls=s.calls
            )
            for (name, lob), s in sorted(self.cells.items())
        ]

    def grouped(self, part: int) -> list[dict[str, Any]]:
        return [
            figures(s.booked_nusd, s.repriced_nusd, key=key, calls=s.calls)
            for key, s in self.by(part).items()
        ]


def figures(booked: int, repriced: int, **names: Any) -> dict[str, Any]:
    """A row: both amounts, their difference in nano-dollars and in percent (None of nothing)."""
    difference = repriced - booked
    percent = f"{(Decimal(difference) * 100 / booked).quantize(Decimal('0.01'))}" if booked else None
    return names | {
        "booked_nusd": booked, "repriced_nusd": repriced, "difference_nusd": difference, "difference_pct": percent,
    }  # fmt: skip


def sheet_of_price(price: Price, at: datetime) -> PriceSheet:
    """A kept sheet in nano-dollars by the exchange rate of that time. Raises NoExchangeRate."""
    return sheet_of(price, rate_in_force(price.organisation_id, price.currency, at))


def draft(terms: Mapping[str, Any], *, organisation_id: int, at: datetime) -> PriceSheet:
    """A sheet that nobody keeps, of the terms `create_price` takes. Raises NoExchangeRate."""
    rate = rate_in_force(organisation_id, terms.get("currency") or USD, at)
    amounts = {n: rate.to_nusd(terms[n]) for n in AMOUNTS if terms.get(n) is not None}
    return PriceSheet(
        "draft", **amounts, batch_ppm=terms.get("batch_ppm"), tiers=tiers_of(terms.get("tiers") or [], rate.to_nusd)
    )  # fmt: skip


def reprice(
    *,
    scope: Scope,
    deployments: Sequence[str],
    start: datetime,
    end: datetime,
    sheet: PriceSheet,
    lob: str | None = None,
) -> Preview:
    """Whole hours, as in every report. Roll-ups where the sheet is so many nano-dollars a token and no more; call by call
    where it depends on the single call (tiers, minimum, batch share, calls, seconds).

    Raises ValidationFailed when more calls than MOST_CALLS would have to be read.
    """
    why = _needs_calls(sheet)
    if not why:
        rows = spend_rows(scope, start, end, lob).filter(deployment__in=deployments)
        return Preview(ROLLUPS, "", as_of(), _of_rollups(rows, sheet))
    attempts = Attempt.objects.for_tenant(scope).filter(
        superseded=False, deployment__in=deployments, at__gte=hour_of(start), at__lt=_end_of_hour(end)
    )
    attempts = attempts.filter(lob=lob) if lob else attempts
    count = attempts.count()
    if count > MOST_CALLS:
        raise ValidationFailed(
            f"A sheet with {why} is applied call by call, and there are {count:,}: ask for a shorter period or one line of "
            f"business, at most {MOST_CALLS:,} calls.",
            param="from",
        )
    return Preview(CALLS, why, as_of(), _of_calls(attempts, sheet))


def _needs_calls(sheet: PriceSheet) -> str:
    """What of the sheet depends on the single call, in words; "" for none."""
    found = {
        "tiers": bool(sheet.tiers), "a minimum charge": bool(sheet.minimum_nusd),
        "a price per call": bool(sheet.call_nusd_per_munit), "a price per second": bool(sheet.second_nusd_per_munit),
        "a batch share": sheet.batch_ppm is not None,
    }  # fmt: skip
    return ", ".join(name for name, there in found.items() if there)


def _end_of_hour(end: datetime) -> datetime:
    start = hour_of(end)
    return end if start == end else start + timedelta(hours=1)


def _of_rollups(rows: QuerySet, sheet: PriceSheet) -> dict[tuple[str, str], Sums]:
    sums = {f"{name}_": Sum(name) for name in (*QUANTITIES, *LEG_SUMS)}
    cells = {}
    for row in rows.order_by().values("deployment", "lob").annotate(**sums):
        usage = Usage(**{name: row[f"{name}_"] or 0 for name in QUANTITIES})
        booked = {leg: row[f"{leg}_nusd_"] for leg in LEGS if row[f"{leg}_nusd_"]}
        cells[row["deployment"], row["lob"]] = Sums(0, booked, dict(external_charge(usage, sheet).legs))
    return cells


def _of_calls(attempts: QuerySet, sheet: PriceSheet) -> dict[tuple[str, str], Sums]:
    names = ("deployment", "lob", "status", "duration_ms", "batch", *QUANTITIES, *LEG_SUMS)
    cells: dict[tuple[str, str], Sums] = {}
    for row in attempts.order_by().values_list(*names).iterator(chunk_size=CHUNK):
        deployment, lob, status, duration_ms, batch, *counts = row
        tokens, legs = counts[: len(QUANTITIES)], counts[len(QUANTITIES) :]
        booked = {leg: amount for leg, amount in zip(LEGS, legs, strict=True) if amount}
        if status == "error" and not any(tokens) and not booked:
            continue  # it never answered, so nobody bills it
        usage = Usage(
            **dict(zip(QUANTITIES, tokens, strict=True)), duration_ns=int(duration_ms * 1e6), batch=batch
        )
        cell = cells.setdefault((deployment, lob), Sums())
        cell.add(Sums(1, booked, dict(external_charge(usage, sheet).legs)))
    return cells
