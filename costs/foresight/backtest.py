"""A month's end, foreseen; and how far off the way it is foreseen has been.

Several simple methods are tried at every past day that leaves enough days after it (rolling origin). The one with the
smallest mean error is used; the mean of three keeps the job unless another was clearly better, since averages of simple
forecasts rarely lose (Makridakis et al. 2020, the M4 competition). The interval comes from the same past errors: their root
mean square times Student's t with as many degrees of freedom as there were spans that don't overlap.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costs.foresight import ets, seasonal
from costs.foresight.student import quantile

Array = NDArray[np.float64]
Method = Callable[[Array, NDArray[np.int64], int], Array]
MIN_DAYS = 14
FULL_DAYS = 28  # from here on there are two weeks to start from and two to learn a season on
MEAN_OF = ("long mean", "weekday profile", "ETS(A,Ad,A)")
FAVOUR = 0.85  # another method must be this much better than the mean of three
CONFIDENCE = 0.9
SIMPLE: dict[str, Method] = {
    "seasonal naive": seasonal.seasonal_naive,
    "long mean": seasonal.long_mean,
    "recent mean": seasonal.recent_mean,
    "weekday profile": seasonal.weekday_profile,
}


class NotEnoughDays(ValueError):
    """Fewer whole days than any honest estimate needs."""

    def __init__(self, days: int) -> None:
        super().__init__(f"{days} whole days are there, {MIN_DAYS} are needed.")
        self.days = days


@dataclass(frozen=True)
class Foreseen:
    """The days ahead and their sum. `half_width` is a share of the sum; `mape` and `coverage` those of the backtest."""

    method: str
    days: Array
    half_width: float
    mape: float
    coverage: float | None  # None: too few past estimates had an interval of their own
    backtests: int
    span: int  # days that a backtest foresaw

    @property
    def total(self) -> float:
        return float(self.days.sum())


def foresee(series: Sequence[float], horizon: int, confidence: float = CONFIDENCE) -> Foreseen:
    """The `horizon` days after a series of whole days. Raises NotEnoughDays.

    A horizon longer than the past can test is given the relative error of the longest that it can: sums over more days are
    rather surer than that, so the interval is wide rather than narrow.
    """
    known = np.asarray(series, dtype=float)
    n = len(known)
    if n < MIN_DAYS:
        raise NotEnoughDays(n)
    first = MIN_DAYS if n >= FULL_DAYS else 7
    span = max(1, min(horizon, (n - first) // 2))
    origins = np.arange(first, n - span + 1)
    tried = _all_methods(known, np.append(origins, n), max(horizon, span))
    future = np.array([known[o : o + span].sum() for o in origins])
    errors = {name: _relative(future, paths[:-1, :span].sum(axis=1)) for name, paths in tried.items()}
    off = {name: float(np.abs(found).mean()) for name, found in errors.items()}
    chosen = min(off, key=lambda name: off[name] * (FAVOUR if name == "mean of three" else 1.0))
    found = errors[chosen]
    half = _half_width(found, (n - first) / span, confidence)
    coverage = _coverage(found, span, confidence)
    return Foreseen(chosen, tried[chosen][-1, :horizon], half, off[chosen], coverage, len(found), span)


def _all_methods(known: Array, origins: NDArray[np.int64], horizon: int) -> dict[str, Array]:
    tried = {name: method(known, origins, horizon) for name, method in SIMPLE.items()}
    if len(known) >= FULL_DAYS:
        tried["ETS(A,Ad,A)"] = ets.paths(known, origins, horizon)
    tried["mean of three"] = np.mean([tried[name] for name in MEAN_OF if name in tried], axis=0)
    return tried


def _relative(actual: Array, foreseen: Array) -> Array:
    """(actual − foreseen) ÷ foreseen: what the interval is applied to. Nothing foreseen and nothing spent is no error."""
    scale = np.where(foreseen > 0, foreseen, np.maximum(actual, 1.0))
    return np.asarray((actual - foreseen) / scale)


def _half_width(errors: Array, spans: float, confidence: float) -> float:
    return float(np.sqrt(np.mean(errors**2)) * quantile(0.5 + confidence / 2, max(2.0, spans)))


def _coverage(errors: Array, span: int, confidence: float) -> float | None:
    """Share of past estimates inside the interval that could have been given at the time: from errors over by then."""
    inside = []
    for i in range(len(errors)):
        over = errors[: max(0, i - span + 1)]
        if len(over) >= 5:
            inside.append(abs(errors[i]) <= _half_width(over, max(2.0, len(over) / span), confidence))
    return float(np.mean(inside)) if len(inside) >= 5 else None


@dataclass(frozen=True)
class MonthEnd:
    """Nano-dollars. `spent` is all that was spent so far; points are running sums by day of the month."""

    month: date
    spent: int
    estimate: int
    low: int
    high: int
    foreseen: Foreseen
    points: list[dict[str, Any]]


def month_end(
    series: Sequence[int],
    first: date,
    spent_today: int = 0,
    confidence: float = CONFIDENCE,
    *,
    gone_of_today: float | None = None,
) -> MonthEnd:
    """The month of the day after the last whole one. `first` is the day of series[0]. Raises NotEnoughDays.

    `gone_of_today`: the share of a usual day's spending that has come by now. Then today ends with what was spent so far and
    the rest of a usual day; without it, with the usual day or what was spent already, whichever is more.
    """
    today = first + timedelta(days=len(series))
    month = today.replace(day=1)
    days_in_month = calendar.monthrange(month.year, month.month)[1]
    gone = today.day - 1
    whole = [int(v) for v in (series[max(0, len(series) - gone) :] if gone else [])]
    whole = [0] * (gone - len(whole)) + whole  # the books began in the middle of the month
    foreseen = foresee(series, days_in_month - gone, confidence)
    ahead = foreseen.days.copy()
    ahead[0] = _today(ahead[0], spent_today, gone_of_today)
    before, rest = sum(whole), float(ahead.sum())
    spent = before + spent_today
    estimate = before + round(rest)
    margin = round((rest - spent_today) * foreseen.half_width)  # what was spent is sure
    low, high = max(spent, estimate - margin), estimate + margin
    points = _points(month, whole, ahead, estimate - low, margin)
    if spent_today:
        points[len(whole)]["actual"] = spent  # so far, with today's part
    return MonthEnd(month, spent, estimate, low, high, foreseen, points)


def _today(usual: float, spent: int, gone: float | None) -> float:
    return max(usual, spent) if gone is None else spent + usual * (1 - min(1.0, max(0.0, gone)))


def _points(month: date, whole: list[int], ahead: Array, below: int, above: int) -> list[dict[str, Any]]:
    """Running sums. The interval is drawn growing with the root of the days ahead; its end is the one that was measured."""
    points: list[dict[str, Any]] = []
    total = 0
    for i, amount in enumerate(whole):
        total += amount
        day = (month + timedelta(days=i)).isoformat()
        points.append({"day": day, "actual": total, "nusd": None, "low": None, "high": None})
    sums = np.cumsum(ahead)
    for i, more in enumerate(sums):
        grown = ((i + 1) / len(ahead)) ** 0.5
        day = (month + timedelta(days=len(whole) + i)).isoformat()
        points.append(
            {"day": day, "actual": None, "nusd": total + round(float(more)),
             "low": max(total, total + round(float(more) - below * grown)),
             "high": total + round(float(more) + above * grown)}
        )  # fmt: skip
    return points


def evaluate(
    series: Mapping[str, Sequence[int]],
    first: date,
    *,
    at_day: int = 10,
    history_days: int = 56,
    confidence: float = CONFIDENCE,
) -> dict[str, Any]:
    """Every whole month of every series, foreseen at the end of its day `at_day` from the days before, against what came.

    `series`: name → nano-dollars a day from `first` on; months with fewer than `history_days` days before them are left out.
    Gives {"mape", "median", "coverage", "n", "by_series": {name: {"mape", "coverage", "n"}}, "run_rate_mape",
    "seasonal_naive_mape", "estimates": […]}; the last two stand beside it as controls: spent so far over days gone, and the
    last week repeated.
    """
    found = [
        {"series": name, **one}
        for name, days in series.items()
        for one in _months(days, first, at_day, history_days, confidence)
    ]
    if not found:
        raise ValueError(f"No whole month has {history_days} days before it.")
    out = _summary(found)
    out["by_series"] = {name: _summary([f for f in found if f["series"] == name]) for name in series}
    return out | {"estimates": found}


def _months(
    days: Sequence[int], first: date, at_day: int, history_days: int, confidence: float
) -> list[dict[str, Any]]:
    found = []
    for start in range(history_days, len(days)):
        month = first + timedelta(days=start)
        length = calendar.monthrange(month.year, month.month)[1]
        if month.day != 1 or start + length > len(days):
            continue
        actual = sum(days[start : start + length])
        gone = sum(days[start : start + at_day])
        known = days[: start + at_day]
        end = month_end(known, first, confidence=confidence)
        found.append(
            {"month": month.isoformat(), "actual": actual, "estimate": end.estimate, "low": end.low, "high": end.high,
             "method": end.foreseen.method, "error": _off(end.estimate, actual),
             "inside": end.low <= actual <= end.high, "run_rate_error": _off(gone * length / at_day, actual),
             "naive_error": _off(gone + sum((list(known[-7:]) * 5)[: length - at_day]), actual)}
        )  # fmt: skip
    return found


def _off(estimate: float, actual: int) -> float:
    return abs(estimate - actual) / actual if actual else float(estimate != 0)


def _summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not found:
        return {"mape": None, "median": None, "coverage": None, "n": 0}
    return {
        "mape": float(np.mean([f["error"] for f in found])),
        "median": float(np.median([f["error"] for f in found])),
        "coverage": float(np.mean([f["inside"] for f in found])),
        "n": len(found),
        "run_rate_mape": float(np.mean([f["run_rate_error"] for f in found])),
        "seasonal_naive_mape": float(np.mean([f["naive_error"] for f in found])),
    }
