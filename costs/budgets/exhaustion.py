"""Pure: when a budget will have run out, with an interval, from what was spent so far.

Hours to come are expected to look like the same hours of the weeks before (two weeks or more of them), scaled to how the
present period compares; without them, like the average hour so far. How far off whole days were from their expectation, or
single hours where whole days are too few, is drawn again at random for many possible futures; the level too, since it was
measured on no more than those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np

HOUR = timedelta(hours=1)
PATTERN = timedelta(days=14)  # this much history makes a pattern of the week
DAYS_MIN = 3  # so many whole days say how much days differ; before that, hours do
FUTURES, SEED = 400, 7
# Shares of the futures. In simulated months these ends, not 5 and 95 %, hold nine in ten: the futures don't know how
# little the pattern itself was measured on.
LOW, MIDDLE, HIGH = 0.035, 0.5, 0.965
HORIZON = timedelta(days=366)  # of a budget without an end
POINTS = 60  # of the path, for a chart


@dataclass(frozen=True, slots=True)
class Spending:
    """`hours` are nano-dollars by hour (UTC), those before the period too; hours without any may be missing. `since` is the
    first hour that counts, None when there is none. `spent_nusd` and `left_nusd` are of the period, and fresher."""

    start: datetime
    end: datetime | None
    at: datetime
    spent_nusd: int
    left_nusd: int
    hours: Mapping[datetime, int]
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """None for a moment past the period's end: it will last. `pace`: spent | week | even | none."""

    at: datetime | None
    low: datetime | None
    high: datetime | None
    pace: str
    path: tuple[tuple[datetime, int], ...] = ()  # (moment, nano-dollars expected to be left)


def exhaustion(of: Spending, zone: tzinfo) -> Exhaustion:
    """The middle of the possible futures, and the moments that nine in ten of them lie between."""
    if of.left_nusd <= 0:
        return Exhaustion(of.at, of.at, of.at, "spent")
    if of.since is None or of.spent_nusd <= 0 and of.at - of.since < PATTERN:
        return Exhaustion(None, None, None, "none")
    past = {hour: of.hours.get(hour, 0) for hour in _hours(of.since, of.at)[:-1]}
    shape = _week(past, zone) if of.at - of.since >= PATTERN else None
    pace = "even" if shape is None else "week"
    if shape is None:
        elapsed_h = max((of.at - max(of.start, of.since)) / HOUR, 1.0)
        # A budget without an end may have been spent from long before the hours at hand.
        spent = of.spent_nusd if of.end is not None else sum(of.hours.values())
        shape = np.full(168, spent / elapsed_h)
        level = 1.0
    else:
        level = _level(of, shape, zone)
    ahead = _hours(of.at, min(of.end or of.at + HORIZON, of.at + HORIZON))
    expected = np.array([level * shape[_slot(hour, zone)] for hour in ahead])
    if not ahead or not expected.any():
        return Exhaustion(None, None, None, pace)
    expected[0] *= (ahead[0] + HOUR - of.at) / HOUR
    ratios, by_day = _ratios(past, shape, zone)
    unit = timedelta(days=1) if by_day else HOUR
    seen = len(ratios)  # units that the level was measured on
    if pace == "week" and of.end is not None:
        seen = min(seen, 1 + (of.at - of.start) // unit)
    hours = np.sort(
        _gone_after(_futures(expected, ratios, seen, ahead, zone if by_day else None), of.left_nusd)
    )
    low, middle, high = (
        _moment(hours[int(FUTURES * share)], of.at, ahead, of.end) for share in (LOW, MIDDLE, HIGH)
    )
    return Exhaustion(middle, low, high, pace, _path(of, ahead, expected))


def _hours(start: datetime, end: datetime) -> list[datetime]:
    """Beginnings of the hours that touch [start, end)."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [first + n * HOUR for n in range(max(0, -((first - end) // HOUR)))]


def _slot(hour: datetime, zone: tzinfo) -> int:
    local = hour.astimezone(zone)
    return local.weekday() * 24 + local.hour


def _week(past: Mapping[datetime, int], zone: tzinfo) -> np.ndarray:
    """Mean spend of each of the week's 168 local hours."""
    sums, counts = np.zeros(168), np.zeros(168)
    for hour, nusd in past.items():
        slot = _slot(hour, zone)
        sums[slot] += nusd
        counts[slot] += 1
    return sums / np.maximum(counts, 1)


def _level(of: Spending, shape: np.ndarray, zone: tzinfo) -> float:
    """How the period compares to the pattern. A day's worth of the pattern is added to both, so that a young period isn't
    judged by its first hours; what the hours don't hold (a key's are its application's) is scaled to."""
    if of.end is None:
        return 1.0
    known = sum(nusd for hour, nusd in of.hours.items() if hour >= of.start)
    elapsed = _hours(of.start, of.at)
    should = sum(shape[_slot(hour, zone)] for hour in elapsed)
    if elapsed:
        should -= shape[_slot(elapsed[-1], zone)] * ((elapsed[-1] + HOUR - of.at) / HOUR)
    day = shape.sum() / 7
    scale = of.spent_nusd / known if known else 1.0
    return scale * (known + day) / (should + day) if should + day > 0 else 1.0


def _ratios(past: Mapping[datetime, int], shape: np.ndarray, zone: tzinfo) -> tuple[np.ndarray, bool]:
    """Spent ÷ expected, by whole local day, or by hour while there are few days; their mean is one."""
    days: dict[object, tuple[float, float, int]] = {}
    for hour, nusd in past.items():
        got, should, n = days.get(hour.astimezone(zone).date(), (0.0, 0.0, 0))
        days[hour.astimezone(zone).date()] = (got + nusd, should + shape[_slot(hour, zone)], n + 1)
    whole = [got / should for got, should, n in days.values() if n >= 23 and should > 0]
    if len(whole) >= DAYS_MIN:
        return _centred(whole), True
    slots = ((nusd, shape[_slot(hour, zone)]) for hour, nusd in past.items())
    return _centred([nusd / should for nusd, should in slots if should > 0]), False


def _centred(ratios: Sequence[float]) -> np.ndarray:
    """With mean one, and spread as few observations understate it: by n − 1, and as Student's t is wider than normal."""
    found = np.array(ratios or [1.0])
    n, mean = len(found), found.mean()
    if mean <= 0 or n < 2:
        return np.ones(1)
    wider = math.sqrt(n / (n - 1)) * (1 + 1 / (n - 1))
    return np.maximum(0.0, 1 + (found / mean - 1) * wider)


def _futures(
    expected: np.ndarray, ratios: np.ndarray, seen: int, ahead: Sequence[datetime], days_of: tzinfo | None
) -> np.ndarray:
    """FUTURES rows of cumulated spend by hour; with a zone, the hours of one local day share their luck."""
    random = np.random.default_rng(SEED)
    unit = np.arange(len(ahead))
    if days_of is not None:
        dates = [hour.astimezone(days_of).date() for hour in ahead]
        unit = np.array([(date - dates[0]).days for date in dates])
    level = random.choice(ratios, size=(FUTURES, seen)).mean(axis=1, keepdims=True)
    luck = random.choice(ratios, size=(FUTURES, int(unit[-1]) + 1))
    return np.cumsum(level * luck[:, unit] * expected, axis=1)


def _gone_after(spent: np.ndarray, left_nusd: int) -> np.ndarray:
    """For each future, after how many of the hours ahead (with a fraction) the rest is gone; infinite when it lasts."""
    gone = spent >= left_nusd
    index, rows = gone.argmax(axis=1), np.arange(len(spent))
    before = np.where(index > 0, spent[rows, np.maximum(index - 1, 0)], 0.0)
    part = (left_nusd - before) / np.maximum(spent[rows, index] - before, 1e-9)
    return np.where(gone.any(axis=1), index + part, np.inf)


def _moment(hours: float, at: datetime, ahead: Sequence[datetime], end: datetime | None) -> datetime | None:
    """The first of the hours is what is left of the present one."""
    if not np.isfinite(hours):
        return None
    index = min(int(hours), len(ahead) - 1)
    begins = max(ahead[index], at)
    moment = begins + (ahead[index] + HOUR - begins) * float(min(1.0, hours - index))
    return moment if end is None or moment < end else None


def _path(of: Spending, ahead: Sequence[datetime], expected: np.ndarray) -> tuple[tuple[datetime, int], ...]:
    left = of.left_nusd - np.cumsum(expected)
    step = -(-len(ahead) // POINTS)
    chosen = [*range(step - 1, len(ahead) - 1, step), len(ahead) - 1]
    return ((of.at, of.left_nusd), *((ahead[i] + HOUR, int(max(0, left[i]))) for i in chosen))
