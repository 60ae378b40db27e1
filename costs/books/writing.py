"""Rows of the books in bulk, each exactly once.

Nearly every batch is new, so it goes straight into the tables inside a savepoint. When the database says that something is
known already, the batch is compared with what is there: the same again is passed over, another content is refused by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connection, transaction

from costs import sums
from costs.books import fiscal
from costs.models import Alert, Attempt, LedgerEntry
from switchyard.core.bulk import Row, Table, insert, insert_unknown, table_of
from switchyard.core.clock import now

LOOK_UP = 500
ATTEMPTS, ENTRIES = table_of(Attempt), table_of(LedgerEntry)
BOOLEANS = frozenset({"superseded", "batch", "answered"})


def _places(table: Table, *names: str) -> tuple[int, ...]:
    return tuple(table.columns.index(name) for name in names)


def _content(table: Table, *apart: str) -> tuple[int, ...]:
    """What must be the same when a row comes again. Not the times: a late or skewed row is dated when it is booked."""
    return tuple(i for i, name in enumerate(table.columns) if name not in apart and i not in table.dates)


KEYS = {
    ATTEMPTS: _places(ATTEMPTS, "request_id", "attempt", "revision"),
    ENTRIES: _places(ENTRIES, "event_id"),
}
CONTENTS = {
    ATTEMPTS: _content(ATTEMPTS, "superseded", "duration_ms"),
    ENTRIES: _content(ENTRIES, "memo", "reverses_id"),
}


@dataclass(slots=True)
class Written:
    """Pairs of (row that is there, row that came) whose contents differ: `conflicts` of ATTEMPTS, `refused` of ENTRIES."""

    attempts: int = 0
    entries: int = 0
    conflicts: list[tuple[Row, Row]] = field(default_factory=list)
    refused: list[tuple[Row, Row]] = field(default_factory=list)


def write_rows(attempts: Iterable[Attempt], entries: Iterable[LedgerEntry]) -> Written:
    """Instances that weren't saved yet, each once; they aren't given their ids."""
    return write([ATTEMPTS.row_of(a) for a in attempts], [ENTRIES.row_of(e) for e in entries])


def append_many(entries: Iterable[LedgerEntry]) -> Written:
    """Transfers of one batch; those whose event id is known are left as they are. Those dated into a closed period are
    booked now, with a memo and an alert. ValueError for one without a positive amount or with one account only."""
    rows = list(entries)
    closed = fiscal.closed_spans({row.organisation_id for row in rows}) if rows else {}
    alerts: dict[str, Alert] = {}
    for row in rows if closed else ():
        if late := fiscal.lateness(closed.get(row.organisation_id, []), row.at):
            row.at, row.memo = now(), (f"{late}: {row.memo}" if row.memo else late)[:200]
            alert = fiscal.late_alert(row.organisation_id, late, row.event_id)
            alerts.setdefault(alert.unique_key, alert)
    with transaction.atomic():
        written = write_rows([], rows)
        if alerts:
            Alert.objects.bulk_create(alerts.values(), ignore_conflicts=True)
    return written


_EVENT, _DEBIT, _CREDIT, _AMOUNT = _places(ENTRIES, "event_id", "debit", "credit", "amount_nusd")
(_COST,) = _places(ATTEMPTS, "cost_nusd")


def write(attempts: Sequence[Row], entries: Iterable[Row]) -> Written:
    """Rows of ATTEMPTS and ENTRIES, and what they add to the roll-ups, in one transaction. IntegrityError when one is dated
    into a closed period.

    `entries` may be a generator that fills `attempts` as it goes: the rows of one are made while the database, on another
    core, takes those before it. Transfers go first for that: they cost the database more, and their makers less.
    """
    told: list[Row] = []
    source = iter(entries)
    with transaction.atomic():
        try:
            with transaction.atomic():
                insert(ENTRIES, _checked(source, told))
                insert(ATTEMPTS, attempts)
                sums.add_rows(attempts)
            return Written(len(attempts), len(told))
        except IntegrityError:
            for _ in _checked(source, told):
                pass  # what the database didn't want to hear of any more
            return _write_unknown(attempts, told)


def _checked(entries: Iterable[Row], told: list[Row]) -> Iterator[Row]:
    """Each of them, kept in `told`."""
    for row in entries:
        if row[_AMOUNT] <= 0 or row[_DEBIT] == row[_CREDIT]:
            raise ValueError(f"{row[_EVENT]}: a transfer takes a positive amount and two accounts.")
        told.append(row)
        yield row


def _write_unknown(attempts: Sequence[Row], entries: Sequence[Row]) -> Written:
    """The slow way: only what isn't there yet."""
    fresh, clashes = _sorted_out(ATTEMPTS, attempts)
    at_odds = {_name(came) for _, came in clashes}
    allowed = {_name(row): row[_COST] for row in fresh if _name(row) in at_odds}
    booked, odd = _sorted_out(ENTRIES, list(_without_refused(entries, at_odds, allowed)))
    # Another writer may have been faster with the same rows since we looked: PostgreSQL passes those over. SQLite has one
    # writer at a time, so there nothing is left that OR IGNORE could hide.
    written = insert_unknown(ATTEMPTS, fresh)
    insert_unknown(ENTRIES, booked)
    if written == len(fresh):
        sums.add_rows(fresh)
    else:
        sums.refresh_rows(fresh)
    return Written(len(fresh), len(booked), clashes, odd)


def _without_refused(entries: Sequence[Row], at_odds: set[str], allowed: dict[str, int]) -> Iterator[Row]:
    """The transfer of an attempt that is refused is refused with it; where two contents came in one batch, the first one's
    stays."""
    for row in entries:
        name = row[_EVENT]
        if name not in at_odds:
            yield row
        elif allowed.get(name) == row[_AMOUNT]:
            del allowed[name]
            yield row


def _name(attempt: Row) -> str:
    """What the attempt's transfer is called."""
    return "/".join(str(attempt[i]) for i in KEYS[ATTEMPTS])


def _sorted_out(table: Table, rows: Sequence[Row]) -> tuple[list[Row], list[tuple[Row, Row]]]:
    """(rows that are new, (known, new) whose contents differ); what comes again is in neither."""
    key, content = KEYS[table], CONTENTS[table]
    known = {_at(row, key): row for row in _known(table, rows)}
    fresh: list[Row] = []
    clashes: list[tuple[Row, Row]] = []
    for row in rows:
        there = known.setdefault(_at(row, key), row)
        if there is row:
            fresh.append(row)
        elif _at(there, content) != _at(row, content):
            clashes.append((there, row))
    return fresh, clashes


def _at(row: Row, places: tuple[int, ...]) -> Row:
    return tuple([row[i] for i in places])


def _known(table: Table, rows: Sequence[Row]) -> Iterator[Row]:
    """Rows that are there under the first column of the key."""
    place = KEYS[table][0]
    ids = sorted({row[place] for row in rows})
    booleans = [
        i for i, name in enumerate(table.columns) if name in BOOLEANS and connection.vendor == "sqlite"
    ]
    with connection.cursor() as cursor:
        for part in _parts(ids, LOOK_UP):
            marks = ", ".join(["%s"] * len(part))
            cursor.execute(
                f"SELECT {table.list} FROM {table.name} WHERE {table.columns[place]} IN ({marks})", part
            )
            for row in cursor.fetchall():
                yield tuple(bool(v) if i in booleans else v for i, v in enumerate(row)) if booleans else row


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    found = iter(items)
    while part := list(itertools.islice(found, size)):
        yield part
