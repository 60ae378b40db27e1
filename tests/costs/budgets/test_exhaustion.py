"""When a budget will have run out: by hand where it can be reckoned, by simulation where chance plays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costs.budgets.exhaustion import HOUR, Spending, exhaustion

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def spending(hours, at, *, start=MONDAY, end=MONDAY + 30 * DAY, left=1_000, **changes):
    values = {
        "start": start, "end": end, "at": at, "left_nusd": left, "hours": hours, "since": min(hours, default=None),
        "spent_nusd": sum(nusd for hour, nusd in hours.items() if hour >= start),
    }  # fmt: skip
    return Spending(**values | changes)


def steady(start, hours, nusd=10):
    return {start + n * HOUR: nusd for n in range(hours)}


def test_an_even_pace_is_reckoned_to_the_minute():
    """240 spent in 24 hours, 105 left: ten and a half hours at ten an hour."""
    found = exhaustion(spending(steady(MONDAY, 24), MONDAY + DAY, left=105), UTC)
    expected = MONDAY + DAY + timedelta(hours=10, minutes=30)
    assert (found.pace, found.at, found.low, found.high) == ("even", expected, expected, expected)
    assert found.path[0] == (MONDAY + DAY, 105) and found.path[-1][1] == 0


def test_the_present_hour_counts_as_far_as_it_has_gone():
    hours = steady(MONDAY, 24) | {MONDAY + DAY: 5}
    found = exhaustion(spending(hours, MONDAY + DAY + timedelta(minutes=30), left=15), UTC)
    assert found.at == MONDAY + DAY + timedelta(hours=2)


def test_a_budget_that_lasts_has_no_moment():
    found = exhaustion(spending(steady(MONDAY, 24), MONDAY + DAY, left=29 * 240 + 1), UTC)
    assert (found.at, found.low, found.high) == (None, None, None) and found.path[-1] == (
        MONDAY + 30 * DAY,
        1,
    )


def test_what_is_spent_is_spent_and_what_never_began_has_no_pace():
    at = MONDAY + DAY
    assert exhaustion(spending(steady(MONDAY, 24), at, left=0), UTC).at == at
    assert exhaustion(spending({}, at), UTC).pace == "none"
    assert exhaustion(spending({MONDAY - DAY: 5}, at), UTC).pace == "none"


def office(start, days, zone, nusd=100):
    """Nine to five on weekdays, local time."""
    hours = (start + n * HOUR for n in range(24 * days))
    return {
        hour: nusd
        for hour in hours
        if (local := hour.astimezone(zone)).weekday() < 5 and 9 <= local.hour < 17
    }


def test_the_weeks_own_pattern_skips_nights_and_weekends():
    """800 a working day. On Friday evening 850 are left: Monday takes 800, and the rest is gone at 9:30 on Tuesday."""
    start = datetime(2026, 10, 11, 22, tzinfo=UTC)  # a Monday's midnight in Berlin
    at = datetime(2026, 11, 6, 19, tzinfo=UTC)
    hours = {h: n for h, n in office(start, 40, BERLIN).items() if h < at}
    found = exhaustion(spending(hours, at, start=datetime(2026, 10, 31, 23, tzinfo=UTC), left=850), BERLIN)
    assert found.pace == "week"
    assert found.at == datetime(2026, 11, 10, 9, 30, tzinfo=BERLIN)


def test_a_pattern_is_of_local_hours_so_clocks_that_move_do_not_shift_it():
    """The clocks went back on 25 October: nine in the morning stays nine."""
    start = datetime(2026, 9, 27, 22, tzinfo=UTC)
    at = datetime(2026, 10, 23, 20, tzinfo=UTC)  # the Friday before
    hours = {h: n for h, n in office(start, 40, BERLIN).items() if h < at}
    found = exhaustion(spending(hours, at, start=datetime(2026, 9, 30, 22, tzinfo=UTC), left=50), BERLIN)
    assert found.at == datetime(2026, 10, 26, 9, 30, tzinfo=BERLIN)


def test_a_young_period_leans_on_the_pattern_and_not_on_its_first_hour():
    """Twice as much as usual in the first hour doesn't double the month."""
    history = steady(MONDAY - 28 * DAY, 28 * 24)
    found = exhaustion(spending(history | {MONDAY: 20}, MONDAY + HOUR, left=2_400), UTC)
    assert timedelta(days=9) < found.at - MONDAY < timedelta(days=10)


def test_a_period_that_runs_hotter_than_the_weeks_before_is_scaled_up():
    history = steady(MONDAY - 28 * DAY, 28 * 24) | steady(MONDAY, 10 * 24, 30)
    found = exhaustion(spending(history, MONDAY + 10 * DAY, left=2_400), UTC)
    assert (
        timedelta(days=3) < found.at - (MONDAY + 10 * DAY) < timedelta(days=5)
    )  # at 10 an hour it would be ten days


def test_a_keys_share_of_its_application_is_what_it_spends_itself():
    """The application's hours hold four times what the key spent: the key goes on spending a quarter."""
    history = steady(MONDAY - 28 * DAY, 28 * 24, 40) | steady(MONDAY, 48, 40)
    found = exhaustion(spending(history, MONDAY + 2 * DAY, left=240, spent_nusd=480), UTC)
    assert abs((found.at - (MONDAY + 2 * DAY)) - DAY) < timedelta(minutes=1)


def test_a_budget_without_an_end_is_looked_at_for_a_year():
    at = MONDAY + 4 * DAY
    start = datetime(1970, 1, 1, tzinfo=UTC)
    gone = exhaustion(
        spending(steady(MONDAY, 96), at, start=start, end=None, left=240 * 100, spent_nusd=10**9), UTC
    )
    assert gone.at == at + 100 * DAY
    assert exhaustion(spending(steady(MONDAY, 96), at, start=start, end=None, left=240 * 400), UTC).at is None


@pytest.mark.parametrize("weeks", [0, 4])
def test_nine_intervals_in_ten_hold_what_happens(weeks):
    """200 simulated months whose days differ by a factor drawn at random: the truth is known, and mostly inside."""
    random = np.random.default_rng(11)
    inside = told = 0
    for _ in range(200):
        days = {MONDAY + n * DAY: random.lognormal(0, 0.5) for n in range(-7 * weeks, 31)}
        hours = {day + h * HOUR: max(1, int(1_000 * luck)) for day, luck in days.items() for h in range(24)}
        at, left = MONDAY + 10 * DAY, 24_000 * 12
        known = {h: n for h, n in hours.items() if h < at}
        found = exhaustion(spending(known, at, left=left), UTC)
        later = sorted(h for h in hours if h >= at)
        sums = np.cumsum([hours[h] for h in later])
        truth = None if sums[-1] < left else later[int(np.searchsorted(sums, left))]
        end = MONDAY + 30 * DAY
        told += 1
        inside += (found.low or end) - HOUR <= (truth or end) <= (found.high or end)
    assert 0.82 <= inside / told <= 0.98, inside / told


@settings(max_examples=60, deadline=None)
@given(
    hours=st.dictionaries(st.integers(0, 24 * 20), st.integers(1, 10**9), min_size=1, max_size=60),
    left=st.integers(1, 10**11),
    zone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/New_York"]),
)
def test_an_interval_holds_its_middle_and_more_money_lasts_longer(hours, left, zone):
    at = MONDAY + 20 * DAY + timedelta(minutes=17)
    known = {MONDAY + n * HOUR: nusd for n, nusd in hours.items()}
    end = MONDAY + 30 * DAY
    less, more = (exhaustion(spending(known, at, left=n, end=end), ZoneInfo(zone)) for n in (left, 2 * left))
    for found in (less, more):
        low, middle, high = (moment or end for moment in (found.low, found.at, found.high))
        assert at <= low <= middle <= high <= end
        assert [n for _, n in found.path] == sorted((n for _, n in found.path), reverse=True)
    assert (less.at or end) <= (more.at or end)
