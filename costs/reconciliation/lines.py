"""What matching works with: lines of a bill, attempts as booked, gaps and what would close them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime

from switchyard.core.money import largest_remainder

ROUNDING_NUSD = 3  # an attempt's legs are rounded one by one: at most half a nano-dollar each
# Cause → what it means. Claims are the vendor's to mend; the others are ours to correct where a call is named.
CAUSES = {
    "missing": "billed, not booked",
    "unbilled": "booked, not billed",
    "billed_twice": "the same call billed twice",
    "booked_twice": "the same call booked twice",
    "estimated": "booked by estimate, billed as it was",
    "price": "same tokens, other price",
    "tokens": "same price, other tokens",
    "currency": "same amount in the bill's currency, other exchange rate",
    "rounding": "rounded per call here, per line there",
    "credit": "a credit of the vendor",
}
CLAIMS = frozenset({"price", "billed_twice"})


@dataclass(frozen=True, slots=True)
class Billed:
    """A line of the bill in nano-dollars; `at_sheet`: the amount in its own currency is what our sheet gives for it."""

    at: datetime
    model: str
    cost_nusd: int
    id: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached_in: int | None = None
    requests: int | None = None
    whole_day: bool = False
    at_sheet: bool = False
    account: str = ""

    @property
    def content(self) -> tuple[object, ...]:
        return (self.model, self.cost_nusd, self.tokens_in, self.tokens_out, self.cached_in)

    @property
    def line(self) -> tuple[object, ...]:
        """Two lines with the same one are one line twice."""
        return (self.at, self.account, self.requests, *self.content)


@dataclass(frozen=True, slots=True)
class Booked:
    """An attempt as booked. `id` is what the upstream bills it by; `ref` its primary key."""

    ref: int
    id: str
    request_id: str
    at: datetime
    model: str
    lob: str
    cost_nusd: int
    tokens_in: int = 0
    tokens_out: int = 0
    cached_in: int = 0
    estimated: bool = False
    price: str = ""

    @property
    def content(self) -> tuple[int, int, int]:
        return (self.cost_nusd, self.tokens_in, self.tokens_out)


@dataclass(frozen=True, slots=True)
class Fix:
    """What would close a gap: an attempt's new figures, or (without `ref`) a call to book."""

    cause: str
    cost_nusd: int
    tokens_in: int
    tokens_out: int
    ref: int | None = None
    id: str = ""
    at: datetime | None = None
    model: str = ""
    lob: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """One difference. `detail` says which token class, or what else there is to know."""

    day: date
    model: str
    lob: str
    cause: str
    billed_nusd: int
    booked_nusd: int
    detail: str = ""
    sample: str = ""
    rows: int = 1

    @property
    def nusd(self) -> int:
        return self.billed_nusd - self.booked_nusd


@dataclass(slots=True)
class Matched:
    gaps: list[Gap] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)


Unit = tuple[Booked, ...]
# What these tokens (in, out, cached) cost by the price that an attempt was booked at; None when nobody knows.
Reprice = Callable[[Booked, int, int, int], int | None]


def cost_of(unit: Unit) -> int:
    return sum(row.cost_nusd for row in unit)


def tokens_of(unit: Unit) -> tuple[int, int, int]:
    return sum(r.tokens_in for r in unit), sum(r.tokens_out for r in unit), sum(r.cached_in for r in unit)


def total_of(lines: list[Billed], name: str) -> int | None:
    values = [getattr(line, name) for line in lines]
    return None if any(v is None for v in values) else sum(values)


def same_tokens(line: Billed, unit: Unit) -> bool:
    return line.tokens_in is not None and not classes_of(line, unit)


def classes_of(line: Billed, unit: Unit) -> str:
    """The token classes that differ, in words; what a bill doesn't tell doesn't differ."""
    names = ("input", "output", "cached input")
    told = (line.tokens_in, line.tokens_out, line.cached_in)
    pairs = zip(names, told, tokens_of(unit), strict=True)
    return ", ".join(name for name, theirs, ours in pairs if theirs is not None and theirs != ours)


def add_gap(
    done: Matched, cause: str, line: Billed | None, unit: Unit, billed: int, booked: int, detail: str = ""
) -> None:
    """A gap of named attempts, shared out where they belong to several lines of business."""
    spread(done, cause, line, list(unit), billed, booked, detail, sample=unit[0].request_id)


def spread(
    done: Matched,
    cause: str,
    line: Billed | None,
    rows: list[Booked],
    billed: int,
    booked: int,
    detail: str = "",
    count: int = 1,
    *,
    sample: str = "",
) -> None:
    """One gap by line of business, in proportion to what each has booked there; the parts sum to it exactly."""
    by_lob: dict[str, int] = defaultdict(int)
    for row in rows:
        by_lob[row.lob] += row.cost_nusd
    day = line.at.date() if line else rows[0].at.date()
    model = line.model if line else rows[0].model
    sample = sample or (line.id if line else "")
    lobs = sorted(by_lob) or [""]
    weights = [by_lob[lob] for lob in lobs]
    if not sum(weights):
        weights = [1] * len(lobs)
    parts_billed = _signed(billed, weights)
    parts_booked = _signed(booked, weights)
    if len(lobs) > 1:
        detail = f"{detail}; shared by use" if detail else "shared by use"
    for lob, one, other in zip(lobs, parts_billed, parts_booked, strict=True):
        if one != other:
            done.gaps.append(Gap(day, model, lob, cause, one, other, detail, sample, count))


def _signed(total: int, weights: list[int]) -> list[int]:
    return (
        [-part for part in largest_remainder(-total, weights)]
        if total < 0
        else largest_remainder(total, weights)
    )
