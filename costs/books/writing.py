"""Rows of the books in bulk, each exactly once: COPY in PostgreSQL, executemany in SQLite.

Nearly every batch is new, so it goes straight into the tables inside a savepoint. When the database says that something is
known already, the batch is compared with what is there: the same again is passed over, another content is refused by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, models, transaction

from costs.models import Attempt, LedgerEntry

Row = tuple[Any, ...]
LOOK_UP = 500


@dataclass(frozen=True, slots=True)
class Table:
    """A table as rows are written to it: `key` names the columns that are unique together, `content` what must be the same
    when a row comes again (not the times: a late or skewed row is dated when it is booked)."""

    name: str
    columns: tuple[str, ...]
    key: tuple[int, ...]
    content: tuple[int, ...]
    dates: tuple[int, ...]

    @property
    def insert(self) -> str:
        marks = ", ".join(["%s"] * len(self.columns))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})"


def _table(model: type[models.Model], key: Sequence[str], apart: Sequence[str]) -> Table:
    fields = [f for f in model._meta.concrete_fields if not f.primary_key]
    names = [f.column for f in fields]
    dates = [i for i, f in enumerate(fields) if isinstance(f, models.DateTimeField)]
    content = [i for i, name in enumerate(names) if name not in apart and i not in dates]
    return Table(
        model._meta.db_table,
        tuple(names),
        tuple(names.index(n) for n in key),
        tuple(content),
        tuple(dates),
    )


ATTEMPTS = _table(Attempt, ("request_id", "attempt", "revision"), ("superseded", "duration_ms"))
ENTRIES = _table(LedgerEntry, ("event_id",), ("memo", "reverses_id"))


@dataclass(slots=True)
class Written:
    """`conflicts`: (row that is there, row that came) of attempts whose content differs, as tuples of ATTEMPTS.columns.
    `refused`: event ids of transfers whose content differs."""

    attempts: int = 0
    entries: int = 0
    conflicts: list[tuple[Row, Row]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def row_of(instance: models.Model, table: Table) -> Row:
    return tuple(getattr(instance, name) for name in table.columns)


def write_rows(attempts: Iterable[Attempt], entries: Iterable[LedgerEntry]) -> Written:
    """Instances that weren't saved yet, each once; they aren't given their ids."""
    return write([row_of(a, ATTEMPTS) for a in attempts], [row_of(e, ENTRIES) for e in entries])


def append_many(entries: Iterable[LedgerEntry]) -> Written:
    """Transfers of one batch; those whose event id is known are left as they are. ValueError for one without a positive
    amount or with one account only."""
    return write_rows([], entries)


def write(attempts: Sequence[Row], entries: Sequence[Row]) -> Written:
    """Attempts and transfers in the order of ATTEMPTS.columns and ENTRIES.columns, in one transaction."""
    _check(entries)
    with transaction.atomic():
        try:
            with transaction.atomic():
                _insert(ATTEMPTS, attempts)
                _insert(ENTRIES, entries)
            return Written(len(attempts), len(entries))
        except IntegrityError:
            return _write_unknown(attempts, entries)


def _check(entries: Sequence[Row]) -> None:
    event, debit, credit, amount = (
        ENTRIES.columns.index(n) for n in ("event_id", "debit", "credit", "amount_nusd")
    )
    for row in entries:
        if row[amount] <= 0 or row[debit] == row[credit]:
            raise ValueError(f"{row[event]}: a transfer takes a positive amount and two accounts.")


def _write_unknown(attempts: Sequence[Row], entries: Sequence[Row]) -> Written:
    """The slow way: only what isn't there yet. An IntegrityError from here on is one of the contents (a closed period)."""
    done = Written()
    fresh, clashes = _sorted_out(ATTEMPTS, attempts)
    done.conflicts = clashes
    at_odds = {"/".join(str(new[i]) for i in ATTEMPTS.key) for _, new in clashes}
    event = ENTRIES.key[0]
    booked, odd = _sorted_out(ENTRIES, [row for row in entries if row[event] not in at_odds])
    done.refused = [new[event] for _, new in odd]
    _insert(ATTEMPTS, fresh, again=True)
    _insert(ENTRIES, booked, again=True)
    done.attempts, done.entries = len(fresh), len(booked)
    return done


def _sorted_out(table: Table, rows: Sequence[Row]) -> tuple[list[Row], list[tuple[Row, Row]]]:
    """(rows that are new, (known, new) whose contents differ); what comes again is in neither."""
    known = {_at(row, table.key): row for row in _known(table, rows)}
    fresh: list[Row] = []
    clashes: list[tuple[Row, Row]] = []
    for row in rows:
        there = known.setdefault(_at(row, table.key), row)
        if there is row:
            fresh.append(row)
        elif _at(there, table.content) != _at(row, table.content):
            clashes.append((there, row))
    return fresh, clashes


def _at(row: Row, places: tuple[int, ...]) -> Row:
    return tuple([row[i] for i in places])


def _known(table: Table, rows: Sequence[Row]) -> Iterator[Row]:
    """Rows that are there under the first column of the key; the database's own types."""
    first = table.columns[table.key[0]]
    ids = sorted({row[table.key[0]] for row in rows})
    booleans = [i for i, name in enumerate(table.columns) if name in ("superseded", "batch", "answered")]
    with connection.cursor() as cursor:
        for part in _parts(ids, LOOK_UP):
            marks = ", ".join(["%s"] * len(part))
            cursor.execute(
                f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {first} IN ({marks})", part
            )
            for row in cursor.fetchall():
                yield _with_booleans(row, booleans) if connection.vendor == "sqlite" else row


def _with_booleans(row: Row, places: Sequence[int]) -> Row:
    values = list(row)
    for i in places if len(row) == len(ATTEMPTS.columns) else ():
        values[i] = bool(values[i])
    return tuple(values)


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    found = iter(items)
    while part := list(itertools.islice(found, size)):
        yield part


def _insert(table: Table, rows: Sequence[Row], *, again: bool = False) -> None:
    """Raises IntegrityError when one is known, unless they were sorted out before (`again`): then another writer was
    faster with the same ones, which PostgreSQL passes over; SQLite has one writer at a time."""
    if not rows:
        return
    if connection.vendor == "postgresql":
        _copy(table, rows, staged=again)
        return
    with connection.cursor() as cursor:
        cursor.executemany(table.insert, [_for_sqlite(table, row) for row in rows])


def _for_sqlite(table: Table, row: Row) -> Row:
    """Times as Django writes them: naive text in UTC."""
    values = list(row)
    for i in table.dates:
        at: datetime = values[i]
        values[i] = str(at.astimezone(UTC).replace(tzinfo=None))
    return tuple(values)


def _copy(table: Table, rows: Sequence[Row], *, staged: bool) -> None:
    """Straight into the table; or into a copy of it that ends with the transaction, and from there what isn't known."""
    columns = ", ".join(table.columns)
    target = f"{table.name}_staged" if staged else table.name
    with connection.cursor() as cursor:
        if staged:
            cursor.execute(
                f"CREATE TEMP TABLE IF NOT EXISTS {target} AS SELECT {columns} FROM {table.name} LIMIT 0"
            )
            cursor.execute(f"TRUNCATE {target}")
        with connection.wrap_database_errors, cursor.copy(f"COPY {target} ({columns}) FROM STDIN") as copy:
            write_row = copy.write_row
            for row in rows:
                write_row(row)
        if staged:
            cursor.execute(
                f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {target} ON CONFLICT DO NOTHING"
            )
