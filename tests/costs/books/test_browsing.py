"""What is rare is found in the hours and among the workloads that the roll-ups name, whoever else asked meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from costs.books import browsing
from costs.books.browsing import AttemptFilter, attempt_columns, newest_attempts
from costs.metering import record_events
from costs.rollups import refresh
from switchyard.tenancy.querysets import Scope
from tests import factories
from tests.costs.events import NOON, make_event

pytestmark = pytest.mark.django_db
WORKLOADS = ("support-intent", "assistant-intent", "")


@pytest.fixture
def books() -> tuple[Any, AttemptFilter]:
    """Three hours; in each, the rare application asks once of every workload, among others."""
    organisation = factories.make_organisation()
    factories.make_lob(organisation)
    events = [
        make_event(
            request_id=f"req_{hour}_{place}_{name}", at=NOON + timedelta(hours=hour, minutes=place), application=name,
            workload=workload, organisation_id=organisation.pk,
        )
        for hour in range(3) for place, workload in enumerate(WORKLOADS) for name in ("kiosk", "desk", "bot")
    ]  # fmt: skip
    record_events(events)
    refresh(NOON, NOON + timedelta(hours=3))
    return Scope(organisation.pk, None, None, frozenset({"viewer"})), AttemptFilter(
        NOON - timedelta(hours=1), NOON + timedelta(hours=4), "", {"application": "kiosk"}
    )


def test_each_of_them_is_found_once_newest_first(books: tuple[Any, AttemptFilter]) -> None:
    found, mark = newest_attempts(*books, limit=50)
    assert [row.request_id for row in found] == [f"req_{h}_{p}_kiosk" for h in (2, 1, 0) for p in (2, 1, 0)]
    assert mark is None


def test_the_file_holds_the_same_rows_however_many_hours_are_asked_at_once(
    books: tuple[Any, AttemptFilter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "MOST_AT_ONCE", 2)
    rows = attempt_columns(*books, ["request_id"], 100)
    assert [name for (name,) in rows] == [row.request_id for row in newest_attempts(*books, limit=50)[0]]


def test_no_hour_is_read_through_for_what_is_rare(books: tuple[Any, AttemptFilter]) -> None:
    with CaptureQueriesContext(connection) as asked:
        newest_attempts(*books, limit=50)
    raw = [q["sql"] for q in asked.captured_queries if 'FROM "costs_attempt"' in q["sql"]]
    assert len(raw) == 3
    with connection.cursor() as cursor:
        for sql in raw:
            cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{sql}")
            plan = str(cursor.fetchall())
            assert (
                connection.vendor != "sqlite" or "attempt_workload_at (workload=? AND at>? AND at<?)" in plan
            )
