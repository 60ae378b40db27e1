"""Periods against an oracle of its own: the local clock, read hour by hour and minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from costs.periods import period_bounds, period_seconds

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide",
    "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham", "Africa/Cairo", "America/Santiago",
]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Asia/Kolkata", (2026, 3, 29), 24), ("Europe/Berlin", (2026, 3, 29), 23), ("Europe/Berlin", (2026, 10, 25), 25),
        ("Australia/Adelaide", (2026, 4, 5), 25), ("Australia/Adelaide", (2026, 10, 4), 23),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5), ("Australia/Lord_Howe", (2026, 10, 4), 23.5),
        ("Pacific/Chatham", (2026, 4, 5), 25), ("America/St_Johns", (2026, 11, 1), 25),
    ],
)  # fmt: skip
def test_days_last_as_long_as_their_clocks_say(zone, day, hours):
    """Lord Howe Island moves its clocks by half an hour."""
    start, end = period_bounds("day", zone, datetime(*day, 12, tzinfo=ZoneInfo(zone)))
    assert end - start == timedelta(hours=hours)


def test_a_half_hour_zones_day_begins_on_the_half_hour():
    start, end = period_bounds("day", "Asia/Kolkata", datetime(2026, 11, 3, 18, 29, 59, tzinfo=UTC))
    assert (start, end) == (
        datetime(2026, 11, 2, 18, 30, tzinfo=UTC),
        datetime(2026, 11, 3, 18, 30, tzinfo=UTC),
    )
    assert period_seconds("day", "Asia/Kolkata", end.timestamp())[0] == end.timestamp()


MINUTES = st.integers(0, 3 * 365 * 24 * 60)


@settings(max_examples=300, deadline=None)
@given(zone=st.sampled_from(ZONES), minute=MINUTES, period=st.sampled_from(["day", "week", "month"]))
@example(zone="Africa/Cairo", minute=115 * 24 * 60, period="day")  # about where midnight itself is skipped
def test_a_period_holds_the_moments_of_its_local_dates_and_no_others(zone, minute, period):
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    start, end = period_bounds(period, zone, at)
    assert start <= at < end
    inside = [_label(start + timedelta(seconds=s), zone, period) for s in (0, 1, 3599)]
    inside += [
        _label(moment, zone, period) for moment in (at, end - timedelta(seconds=1), end - timedelta(hours=1))
    ]
    assert len(set(inside)) == 1
    assert _label(end, zone, period) != inside[0] != _label(start - timedelta(seconds=1), zone, period)
    assert period_bounds(period, zone, end)[0] == end and period_bounds(period, zone, start)[0] == start
    assert period_seconds(period, zone, at.timestamp()) == (start.timestamp(), end.timestamp())


def _label(moment, zone, period):
    local = moment.astimezone(ZoneInfo(zone))
    return {"day": local.date(), "week": local.isocalendar()[:2], "month": (local.year, local.month)}[period]
