"""Exponential smoothing with a damped trend and a weekly season, ETS(A,Ad,A) (Hyndman et al. 2008, ch. 2.5).

Written here because the state-space recursion is twelve lines: statsmodels would bring pandas into the worker for them. It
stands as the oracle in the tests.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
WEEK = 7
DAMPING = 0.95  # a trend of a month ago says little about the next one
# Every combination is run side by side over the whole series; each origin then uses the one that had been best by then.
ALPHAS, TREND_SHARES, GAMMAS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7), (0.0, 0.1), (0.0, 0.05, 0.2)


def grid() -> Array:
    """Rows (alpha, beta, gamma)."""
    return np.array([(a, a * t, g) for a, t, g in product(ALPHAS, TREND_SHARES, GAMMAS)])


def start_states(series: Array) -> tuple[float, Array]:
    """(level, season by place in the first week) from the first two weeks; a season needs both of them."""
    head = series[: 2 * WEEK]
    level = float(head.mean())
    if len(head) < 2 * WEEK:
        return level, np.zeros(WEEK)
    season = head.reshape(2, WEEK).mean(axis=0) - level
    return level, season


def smooth(
    series: Array, parameters: Array, level: float, season: Array, damping: float = DAMPING
) -> tuple[Array, Array, Array, Array]:
    """Run every row of `parameters` (alpha, beta, gamma) over the series.

    Gives states before each day and after the last: levels and trends (n+1, G), seasons (n+1, G, 7) by place in the week
    counted from the first day, and one-step errors (n, G).
    """
    alpha, beta, gamma = parameters.T
    n, g = len(series), len(parameters)
    levels, trends, errors = np.empty((n + 1, g)), np.zeros((n + 1, g)), np.empty((n, g))
    seasons = np.empty((n + 1, g, WEEK))
    levels[0], seasons[0] = level, season
    for t, value in enumerate(series):
        place, damped = t % WEEK, damping * trends[t]
        error = errors[t] = value - (levels[t] + damped + seasons[t, :, place])
        levels[t + 1] = levels[t] + damped + alpha * error
        trends[t + 1] = damped + beta * error
        seasons[t + 1] = seasons[t]
        seasons[t + 1, :, place] += gamma * error
    return levels, trends, seasons, errors


def paths(series: Array, origins: NDArray[np.int64], horizon: int, damping: float = DAMPING) -> Array:
    """(origins, horizon): the days after each origin, foreseen from the days before it alone. `origins` count days known.

    The starting states use the first two weeks, so origins should not lie before day 14.
    """
    parameters = grid()
    level, season = start_states(series)
    levels, trends, seasons, errors = smooth(series, parameters, level, season, damping)
    loss = np.vstack([np.zeros(len(parameters)), np.cumsum(errors**2, axis=0)])
    best = loss[origins].argmin(axis=1)
    ahead = np.arange(1, horizon + 1)
    carried = np.cumsum(damping**ahead)
    places = (origins[:, None] + ahead[None, :] - 1) % WEEK
    flat = levels[origins, best][:, None] + trends[origins, best][:, None] * carried[None, :]
    return np.maximum(flat + np.take_along_axis(seasons[origins, best], places, axis=1), 0.0)
