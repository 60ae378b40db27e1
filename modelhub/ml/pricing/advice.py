"""From a demand curve to a price: the one on a small grid that is expected to earn most, if it passes the checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

GRID = 41
SMALLEST_GAIN = 0.002  # of the present profit; below this a change of price is not worth its label


def candidate_prices(current: float, limits: tuple[float, float], unit_cost: float) -> np.ndarray:
    """Prices to try, in cents' steps: a grid over the prices that were ever charged and that cover the cost.

    The model has seen no other price, so it is not asked about one. The current price stands first.
    """
    low, high = max(limits[0], unit_cost + 0.01), limits[1]
    grid = np.round(np.linspace(low, high, GRID), 2) if high > low else np.array([])
    return np.concatenate([[current], np.unique(grid)])


def advise(
    current: float,
    limits: tuple[float, float],
    unit_cost: float,
    units_at: Callable[[np.ndarray], np.ndarray],
) -> dict[str, Any]:
    """`{"price", "units", "profit_change"}`: the price to charge, units expected then, dollars a week gained.

    Keeps the current price (a change of 0) when no other is expected to earn clearly more, and where the
    answer would not be a number.
    """
    prices = candidate_prices(current, limits, unit_cost)
    units = np.asarray(units_at(prices), dtype=np.float64)
    profits = np.where(np.isfinite(units), (prices - unit_cost) * units, -np.inf)
    best = int(np.argmax(profits))
    gain = profits[best] - profits[0]
    if not np.isfinite(gain) or gain <= SMALLEST_GAIN * abs(profits[0]):
        best, gain = 0, 0.0
    return {
        "price": round(float(prices[best]), 2) if best else current,
        "units": int(round(float(units[best]))),
        "profit_change": round(float(gain), 2),
    }
