"""Pure: a workload's lifetime cost by its parts, and what one of its business events costs and brings. Nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from costs.pricing import HOURS_PER_MONTH
from switchyard.core.money import largest_remainder

PARTS = ("labels", "training", "inference", "people")
MONTH_S = int(HOURS_PER_MONTH * 3600)  # 365.25 days ÷ 12, the month that nodes are written off by
USUAL_LIFE_MONTHS = 12


def month_share(seconds: int, months: int = 1) -> Fraction:
    """What part of so many months a period is, at most all of them. ValueError for a life without a month."""
    if months < 1:
        raise ValueError(f"A life of {months} months: expected at least 1.")
    return min(Fraction(1), Fraction(seconds, months * MONTH_S))


def amortised(nusd: int, seconds: int, life_months: int) -> int:
    """A cost × (period ÷ life), half-even: what a period carries of something that serves for so many months."""
    return round(nusd * month_share(seconds, life_months))


def monthly(nusd_per_month: int, seconds: int) -> int:
    """What a period costs of something paid by the month; a period may be longer than one."""
    return round(nusd_per_month * Fraction(seconds, MONTH_S))


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A workload's cost in a period. What is inside a part stands beside it."""

    answers: int = 0
    booked_labels_nusd: int = 0  # rows, reviews and feedback of the ledger
    data_nusd: int = 0  # bought data, the period's part
    training_nusd: int = 0  # the period's part
    spent_on_training_nusd: int = 0  # what those trainings cost in full
    metered_nusd: int = 0
    variance_nusd: int = 0  # loaded less metered
    people_nusd: int = 0

    @property
    def labels_nusd(self) -> int:
        return self.booked_labels_nusd + self.data_nusd

    @property
    def inference_nusd(self) -> int:
        return self.metered_nusd + self.variance_nusd

    @property
    def total_nusd(self) -> int:
        return self.labels_nusd + self.training_nusd + self.inference_nusd + self.people_nusd

    def __add__(self, other: Lifetime) -> Lifetime:
        return replace(self, **{n: getattr(self, n) + getattr(other, n) for n in self.__slots__})

    def part(self, name: str) -> int:
        return getattr(self, f"{name}_nusd")

    def per_thousand(self, nusd: int) -> int | None:
        """Of 1,000 answers; None when nothing was answered."""
        return round(Fraction(nusd * 1000, self.answers)) if self.answers else None


def lifetime_row(cost: Lifetime) -> dict[str, Any]:
    """The figures of a report's row: parts, total, per 1,000 answers, each part's share of the total in [0, 1]."""
    row: dict[str, Any] = {"answers": cost.answers}
    row |= {f"{name}_nusd": cost.part(name) for name in PARTS}
    row |= {"total_nusd": cost.total_nusd, "nusd_per_1000": cost.per_thousand(cost.total_nusd)}
    row |= {f"{name}_nusd_per_1000": cost.per_thousand(cost.part(name)) for name in PARTS}
    whole = cost.total_nusd
    row |= {f"{name}_share": cost.part(name) / whole if whole > 0 else None for name in PARTS}
    return row | {
        "booked_labels_nusd": cost.booked_labels_nusd, "data_nusd": cost.data_nusd,
        "spent_on_training_nusd": cost.spent_on_training_nusd,
        "metered_nusd": cost.metered_nusd, "variance_nusd": cost.variance_nusd,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Events:
    """Business events of one kind in a period. `value_nusd` is what those of known worth brought."""

    count: int = 0
    valued: int = 0
    value_nusd: int = 0

    def __add__(self, other: Events) -> Events:
        return Events(
            self.count + other.count, self.valued + other.valued, self.value_nusd + other.value_nusd
        )


def shared_cost(total_nusd: int, counts: Sequence[int]) -> list[int]:
    """A workload's cost over its kinds of event by their number; the shares sum to it exactly."""
    sign = -1 if total_nusd < 0 else 1
    if not any(counts):
        return [0] * len(counts)
    return [sign * share for share in largest_remainder(abs(total_nusd), counts)]


def unit_figures(events: Events, cost_nusd: int, inference_nusd: int, answers: Fraction) -> dict[str, Any]:
    """Per event: cost (and what the answers alone cost), value, margin, answers. None where there is nothing to divide;
    the margin of all is only known when every event's value is."""

    def each(amount: int | Fraction, of: int) -> int | None:
        return round(Fraction(amount) / of) if of else None

    cost, value = each(cost_nusd, events.count), each(events.value_nusd, events.valued)
    whole = events.count > 0 and events.valued == events.count
    return {
        "events": events.count,
        "cost_nusd": cost_nusd,
        "value_nusd": events.value_nusd if events.valued else None,
        "margin_nusd": events.value_nusd - cost_nusd if whole else None,
        "nusd_per_event": cost,
        "inference_nusd_per_event": each(inference_nusd, events.count),
        "value_nusd_per_event": value,
        "margin_nusd_per_event": None if cost is None or value is None else value - cost,
        "answers_per_event": float(answers / events.count) if events.count else None,
    }


def before(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of the period before, under names that say so."""
    return {f"before_{name}": value for name, value in figures.items()}
