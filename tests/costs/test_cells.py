"""Cells: a period's sums by every name are those of its hours, wherever the period begins and ends; one read a page."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from costs.models import Spend, SpendHour
from costs.reading import once, one_reading
from costs.reports.base import Asked, grouped, zone_of
from costs.reports.cells import NAMES, SUMS, Parts, by, cells
from costs.reports.spend import spend
from costs.rollups import refresh_days
from switchyard.tenancy.querysets import Scope

pytestmark = pytest.mark.django_db
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
ALL = Scope(1, None, None, frozenset({"viewer"}))
LEGAL = Scope(1, frozenset({7}), frozenset({"legal"}), frozenset({"viewer"}))
SPANS = [(0, 24 * 5), (5, 24 * 3 + 7), (3, 9), (20, 30), (24, 48), (0, 25), (23, 24), (30, 30)]


@pytest.fixture
def hours() -> list[dict[str, Any]]:
    """Five days of hours of two lines of business, an hour in five without work; a neighbour's organisation beside them."""
    dice, told = random.Random(7), []
    for hour in range(24 * 5):
        for lob, workload, side in (
            ("legal", "a", "private"),
            ("legal", "b", "external"),
            ("plant", "a", "private"),
        ):
            if dice.random() < 0.2:
                continue
            names = {"lob": lob, "workload": workload, "side": side, "deployment": f"{side}-d", "model": "m"}
            sums = {name: dice.randrange(1_000) for name in SUMS}
            told.append({"start": FIRST + timedelta(hours=hour), **names, **sums})
    SpendHour.objects.bulk_create(SpendHour(organisation_id=1, **row) for row in told)
    SpendHour.objects.create(
        organisation_id=2,
        start=FIRST,
        lob="legal",
        workload="a",
        deployment="x",
        model="m",
        side="external",
        cost_nusd=10**9,
    )
    refresh_days(FIRST, FIRST + timedelta(days=5))
    return told


def plain(
    rows: list[dict[str, Any]], start: datetime, end: datetime, *names: str, lob: str = ""
) -> dict[Any, dict[str, int]]:
    """Sums by hand, an hour after the other."""
    found: dict[Any, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for row in rows:
        if start <= row["start"] < end and lob in ("", row["lob"]):
            for name in SUMS:
                found[tuple(row[n] for n in names)][name] += row[name]
    return dict(found)


@pytest.mark.parametrize(("first", "last"), SPANS)
def test_days_and_the_hours_around_them_sum_to_the_periods_hours(
    hours: list[dict[str, Any]], first: int, last: int
):
    start, end = FIRST + timedelta(hours=first), FIRST + timedelta(hours=last)
    assert by(cells(ALL, start, end), ("lob", "side")) == plain(hours, start, end, "lob", "side")
    assert by(cells(ALL, start, end, "plant"), ("workload",)) == plain(
        hours, start, end, "workload", lob="plant"
    )
    assert by(cells(ALL, start, end, side="private", workload="a"), ("lob",)).keys() <= {
        ("legal",),
        ("plant",),
    }


@pytest.mark.parametrize(("first", "last"), SPANS)
def test_a_reader_of_one_line_of_business_gets_its_cells_alone(
    hours: list[dict[str, Any]], first: int, last: int
):
    start, end = FIRST + timedelta(hours=first), FIRST + timedelta(hours=last)
    assert by(cells(LEGAL, start, end), ("lob", "workload")) == plain(
        hours, start, end, "lob", "workload", lob="legal"
    )
    assert not list(cells(LEGAL, start, end, "plant"))


def test_days_of_utc_are_those_that_the_hours_give(hours: list[dict[str, Any]]):
    start, end = FIRST + timedelta(hours=7), FIRST + timedelta(hours=24 * 4 + 5)
    for groups in (["day", "side"], ["week"], ["month", "lob"], ["lob", "day"]):
        assert grouped(Asked(ALL, start, end), groups, zone_of("UTC")) == grouped(
            Asked(ALL, start, end),
            groups,
            zone_of("Africa/Abidjan"),  # the same clock, read from hours
        )


def test_a_span_takes_the_hour_that_its_end_falls_into():
    parts = Parts.of(FIRST + timedelta(minutes=20), FIRST + timedelta(days=2, minutes=1))
    assert (parts.start, parts.end) == (FIRST, FIRST + timedelta(days=2, hours=1))
    assert (parts.first_day, parts.last_day) == (FIRST, FIRST + timedelta(days=2))


def test_one_reading_asks_once_and_the_next_sees_what_came(hours: list[dict[str, Any]]):
    ask = {"scope": ALL, "start": FIRST, "end": FIRST + timedelta(days=2)}
    with one_reading(), CaptureQueriesContext(connection) as asked:
        before = spend(**ask, group="side").totals["cost_nusd"]
        many = len(asked)
        assert spend(**ask, group="lob").totals["cost_nusd"] == before
    assert not [q for q in asked.captured_queries[many:] if "costs_spend" in q["sql"]]
    SpendHour.objects.filter(pk=SpendHour.objects.filter(organisation_id=1).first().pk).update(
        cost_nusd=10**6
    )
    refresh_days(FIRST, FIRST + timedelta(days=5))
    with one_reading():
        assert spend(**ask, group="side").totals["cost_nusd"] > before


def test_outside_of_a_reading_nothing_is_kept():
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    assert (once("a", make), once("a", make)) == (1, 2)
    with one_reading():
        assert (once("a", make), once("a", make), once("b", make)) == (3, 3, 4)
    assert once("a", make) == 5


def test_every_name_of_the_roll_up_is_a_cells():
    assert {*NAMES} == {*Spend.NAMES} - {"organisation_id", "start", "origin"}
