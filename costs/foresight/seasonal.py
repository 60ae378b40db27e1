"""Simple ways to foresee daily spending, which anything cleverer must beat. Every function: (series, origins, horizon) →
(origins, horizon), each row from the days before its origin alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Origins = NDArray[np.int64]
WEEK = 7
SHRINKAGE = 2.0  # a weekday's own mean counts as many weeks as it was seen, the plain mean counts two


def seasonal_naive(series: Array, origins: Origins, horizon: int) -> Array:
    """The last week again and again."""
    places = np.arange(horizon) % WEEK
    return np.stack(
        [series[o - WEEK : o][places] if o >= WEEK else _mean(series[:o], horizon) for o in origins]
    )


def long_mean(series: Array, origins: Origins, horizon: int) -> Array:
    """Every day costs what the days of the last 13 weeks did on average."""
    return np.stack([_mean(series[max(0, o - 13 * WEEK) : o], horizon) for o in origins])


def recent_mean(series: Array, origins: Origins, horizon: int) -> Array:
    """As the last two weeks were, whatever the weekday: what follows a change of level soonest."""
    return np.stack([_mean(series[max(0, o - 2 * WEEK) : o], horizon) for o in origins])


def weekday_profile(series: Array, origins: Origins, horizon: int) -> Array:
    """The level of the last four weeks times each weekday's share of a week, shrunk towards an even week."""
    rows = []
    for origin in origins:
        known = series[max(0, origin - 13 * WEEK) : origin]
        level = float(series[max(0, origin - 4 * WEEK) : origin].mean()) if origin else 0.0
        places = (np.arange(origin - len(known), origin)) % WEEK
        seen = np.bincount(places, minlength=WEEK)
        sums = np.bincount(places, weights=known, minlength=WEEK)
        mean = known.mean() if len(known) else 0.0
        shares = (sums + SHRINKAGE * mean) / ((seen + SHRINKAGE) * mean) if mean > 0 else np.ones(WEEK)
        rows.append(level * shares[(origin + np.arange(horizon)) % WEEK])
    return np.stack(rows)


def _mean(known: Array, horizon: int) -> Array:
    return np.full(horizon, known.mean() if len(known) else 0.0)
