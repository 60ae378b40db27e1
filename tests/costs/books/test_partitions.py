"""Monthly partitions of PostgreSQL: rows lie in their month, nothing is refused for want of one, unique stays unique."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction

from costs import triggers
from costs.books import partitions
from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import AccountHour, Attempt, LedgerEntry
from switchyard.core.ids import new_id
from tests.costs.events import NOON, make_event

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps plain tables"),
]


def made_in(month: datetime) -> dict:
    return make_event(request_id=new_id("req", int(month.timestamp() * 1000)))


def where(table: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1")
        return dict(cursor.fetchall())


def test_a_row_lies_in_the_month_its_request_was_made_in():
    partitions.ensure_partitions([NOON])
    record_events(
        [
            made_in(NOON),
            made_in(datetime(2026, 10, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
            made_in(datetime(2026, 11, 1, tzinfo=UTC)),
        ]
    )
    partitions.ensure_partitions([datetime(2026, 10, 1, tzinfo=UTC)])
    assert where("costs_attempt") == {"costs_attempt_2026_10": 1, "costs_attempt_2026_11": 2}
    assert where("costs_ledgerentry") == {"costs_ledgerentry_2026_10": 1, "costs_ledgerentry_2026_11": 2}


def test_ids_of_other_kinds_and_unprepared_months_have_a_place():
    far = datetime(2031, 5, 5, tzinfo=UTC)
    record_events([made_in(far), make_event(request_id="job_01K", lob="legal"), make_event(request_id="z")])
    assert where("costs_attempt") == {
        "costs_attempt_default": 1,
        "costs_attempt_earlier": 1,
        "costs_attempt_later": 1,
    }
    assert partitions.ensure_partitions([far]) == ["costs_attempt_2031_05", "costs_ledgerentry_2031_05"]
    assert where("costs_attempt") == {
        "costs_attempt_2031_05": 1,
        "costs_attempt_earlier": 1,
        "costs_attempt_later": 1,
    }
    assert partitions.ensure_partitions([far]) == []
    assert sum(row.debit_nusd for row in AccountHour.objects.all()) == 3 * 1_400, (
        "moving a row moves no money"
    )
    assert verify_books(1) == [] and triggers.installed(connection)


def test_unique_holds_in_the_database_over_all_partitions():
    event = made_in(NOON)
    record_events([event])
    row, entry = Attempt.objects.get(), LedgerEntry.objects.get()
    row.pk = entry.pk = None
    row.at = entry.at = datetime(2020, 1, 1, tzinfo=UTC)  # another month by its time, the same by its id
    for again in (row, entry):
        with pytest.raises(IntegrityError, match="duplicate key"), transaction.atomic():
            again.save(force_insert=True)


def test_partitions_are_refused_changes_as_the_whole_table_is():
    record_events([made_in(NOON)])
    (name,) = where("costs_ledgerentry")
    for statement in (
        f"UPDATE {name} SET amount_nusd = 1",
        f"DELETE FROM {name}",
        "TRUNCATE costs_ledgerentry",
    ):
        with (
            pytest.raises(IntegrityError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


def test_a_detached_month_is_out_of_the_tables_and_still_in_the_verified_books():
    partitions.ensure_partitions([NOON])
    record_events([made_in(NOON)])
    assert partitions.detach(NOON) == ["costs_attempt_2026_11", "costs_ledgerentry_2026_11"]
    assert not Attempt.objects.exists() and not LedgerEntry.objects.exists()
    assert verify_books(1) == []
    record_events([made_in(NOON)])
    assert partitions.ensure_partitions([NOON]) == [] and where("costs_attempt") == {
        "costs_attempt_default": 1
    }
    assert verify_books(1) == []


def test_the_hour_of_a_roll_up_is_read_from_its_rows_alone():
    partitions.ensure_partitions([NOON])
    record_events([made_in(NOON)])
    same = ", ".join(
        field.column
        for field in Attempt._meta.concrete_fields
        if field.column not in ("id", "request_id", "at")
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO costs_attempt (request_id, at, {same})
                SELECT left(request_id, 14) || lpad(n::text, 16, '0'), timestamptz '2026-11-01' + n * interval '1 minute', {same}
                FROM costs_attempt, generate_series(1, 20000) n"""
        )
        cursor.execute("ANALYZE costs_attempt")
        cursor.execute(
            "EXPLAIN SELECT count(*) FROM costs_attempt WHERE at >= '2026-11-03 12:00+00' AND at < '2026-11-03 13:00+00'"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "costs_attempt_2026_11_at_idx" in plan and "Seq Scan on costs_attempt_2026_11" not in plan
