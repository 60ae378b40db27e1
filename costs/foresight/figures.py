"""A day's figures beside a usual day's, as natural logarithms: how much was asked, how long, at what price, and of whom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import log

from costs.foresight.factors import Day, Rates, align, rates, requests, total

FEW_REQUESTS = 20  # ratios of fewer say nothing
Figures = dict[str, float | None]


class Days:
    """A workload's days, and of each what every comparison needs again: rates, requests and cost (nano-dollars)."""

    def __init__(self, days: Sequence[Day]) -> None:
        self.days = days
        self.requests, self.cost = [requests(day) for day in days], [total(day) for day in days]

    @cached_property
    def rates(self) -> list[dict[str, Rates]]:
        return [rates(day) for day in self.days]


class Beside:
    """Days beside a usual one."""

    def __init__(self, days: Days, usual: Day) -> None:
        self.days, self.usual, self.rates = days, usual, rates(usual)
        self.tells = requests(usual) > 0 and total(usual) > 0

    def figures(self, i: int) -> Figures:
        """None where there was too little to tell."""
        asked, cost = self.days.requests[i], self.days.cost[i]
        out: Figures = {
            "requests": log(asked + 1),
            "spend": log(cost + 1),
            "tokens": None,
            "price": None,
            "mix": None,
        }
        if asked < FEW_REQUESTS or cost <= 0 or not self.tells:
            return out
        old, new = align(self.rates, self.days.rates[i])
        plain = mixed = longer = dearer = 0.0
        for name, before in old.items():
            after, as_before, at_old_prices, as_now = new[name], 0.0, 0.0, 0.0
            for kind, price in before.prices.items():
                amount = after.amounts[kind]
                as_before += before.amounts[kind] * price
                at_old_prices += amount * price
                as_now += amount * after.prices[kind]
            plain += before.share * as_before
            mixed += after.share * as_before
            longer += after.share * at_old_prices
            dearer += after.share * as_now
        return out | {
            "mix": _ratio(mixed, plain),
            "tokens": _ratio(longer, mixed),
            "price": _ratio(dearer, longer),
        }


def _ratio(a: float, b: float) -> float | None:
    return log(a / b) if a > 0 and b > 0 else None
