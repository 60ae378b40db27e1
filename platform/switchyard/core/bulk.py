"""Many rows into a table at once, without building a model for each: COPY in PostgreSQL, executemany in SQLite.

A row is a tuple in the order of `Table.columns`; its times are text in UTC (`stored`), as both engines take it; JSON is
text, too. Integrity is the database's: a known row raises IntegrityError, or is passed over by `insert_unknown`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, models, transaction

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: tuple[str, ...]
    dates: tuple[int, ...]  # places of the times

    @property
    def list(self) -> str:
        return ", ".join(f'"{name}"' for name in self.columns)

    def row_of(self, instance: models.Model) -> Row:
        """A model's values, as they are written."""
        values = [getattr(instance, name) for name in self.columns]
        for place in self.dates:
            values[place] = None if values[place] is None else stored(values[place])
        return tuple(values)


def table_of(model: type[models.Model]) -> Table:
    """Every column but an id that the database gives."""
    fields: list[Any] = [f for f in model._meta.concrete_fields if not isinstance(f, models.AutoField)]
    dates = [i for i, f in enumerate(fields) if isinstance(f, models.DateTimeField)]
    return Table(model._meta.db_table, tuple(f.column for f in fields), tuple(dates))


def stored(at: datetime) -> str:
    """A time as both engines take it. Sessions are in UTC."""
    return str(at if at.tzinfo is UTC else at.astimezone(UTC))[:-6]


@contextmanager
def collector_paused() -> Iterator[None]:
    """While a batch's rows are being made: they are all alive, and the collector would walk them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def grouped_by_hash() -> Iterator[None]:
    """Sums over many rows in few groups. PostgreSQL takes names that go together (a deployment and its
    model, a LOB and its application) for independent ones, expects as many groups as rows, and sorts them on disk: four
    times as long. Statistics over several columns would tell it, but nothing refreshes those of a partitioned table. For the
    same reason it expects so much work that it would compile the query first, which takes longer than it saves."""
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_sort = off; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off")
        yield
        cursor.execute(
            "SET LOCAL enable_sort TO DEFAULT; SET LOCAL work_mem TO DEFAULT; SET LOCAL jit TO DEFAULT"
        )


def insert(table: Table, rows: Iterable[Row]) -> None:
    """Raises IntegrityError when one of them is known; then none of the statement's is written. Rows are taken one by one,
    so a generator makes them while the database is at work."""
    if isinstance(rows, Sized) and not len(rows):
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _copy(cursor, table.name, table.list, rows)
        else:
            streamed: Any = rows  # SQLite takes any iterable, whatever Django's hints say
            cursor.executemany(_insert_statement(table, "INSERT"), streamed)


def insert_unknown(table: Table, rows: Sequence[Row]) -> int:
    """Those that no unique constraint knows; the others are passed over. Gives how many were written. PostgreSQL takes
    them by way of a temporary table.
    In SQLite a row that breaks a check would be passed over as well: check before."""
    if not rows:
        return 0
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.executemany(_insert_statement(table, "INSERT OR IGNORE"), rows)
            return int(cursor.rowcount)
        staged = f"{table.name}_staged"
        cursor.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS {staged} AS SELECT {table.list} FROM {table.name} LIMIT 0"
        )
        cursor.execute(f"TRUNCATE {staged}")
        _copy(cursor, staged, table.list, rows)
        cursor.execute(
            f"INSERT INTO {table.name} ({table.list}) SELECT {table.list} FROM {staged} ON CONFLICT DO NOTHING"
        )
        return int(cursor.rowcount)


def _insert_statement(table: Table, verb: str) -> str:
    marks = ", ".join(["%s"] * len(table.columns))
    return f"{verb} INTO {table.name} ({table.list}) VALUES ({marks})"


def _copy(cursor: Any, name: str, columns: str, rows: Iterable[Row]) -> None:
    with connection.wrap_database_errors, cursor.copy(f"COPY {name} ({columns}) FROM STDIN") as copy:
        write_row = copy.write_row
        for row in rows:
            write_row(row)
