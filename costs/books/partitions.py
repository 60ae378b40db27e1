"""Monthly partitions of attempts and transfers in PostgreSQL; SQLite keeps plain tables, and nothing here does anything.

A row's month is read from its id, since request ids sort by time: so UNIQUE (request_id, attempt, revision) and UNIQUE
(event_id) hold over all partitions. Ids of other kinds (jobs, node hours, labels, reversals: a few rows an hour) have a
partition below and one above the requests'; DEFAULT takes requests of months that nobody prepared, and is empty otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from costs.books.fiscal import month_end, month_start
from switchyard.core.clock import now
from switchyard.core.ids import id_time_ms, new_id

AHEAD = 3  # months that are prepared
TABLES = {"costs_attempt": "request_id", "costs_ledgerentry": "event_id"}
PREFIX = "req_"
AFTER_REQUESTS = "req`"  # the first text behind every `req_…`
_prepared: set[datetime] = set()  # months whose partitions this process has seen to
INDEXES = {
    "costs_attempt": [
        "ALTER TABLE costs_attempt ADD CONSTRAINT attempt_metered_once UNIQUE (request_id, attempt, revision)",
        "CREATE INDEX attempt_id ON costs_attempt (id)",
        "CREATE INDEX attempt_at ON costs_attempt (at)",
    ],
    "costs_ledgerentry": [
        "ALTER TABLE costs_ledgerentry ADD CONSTRAINT costs_ledgerentry_event_id_key UNIQUE (event_id)",
        "CREATE INDEX ledger_id ON costs_ledgerentry (id)",
        "CREATE INDEX ledger_at ON costs_ledgerentry (at)",
        "CREATE INDEX ledger_lob_at ON costs_ledgerentry (lob, at)",
        "CREATE INDEX ledger_request ON costs_ledgerentry (request_id)",
        "CREATE INDEX ledger_reverses ON costs_ledgerentry (reverses_id) WHERE reverses_id IS NOT NULL",
    ],
}


def border(month: datetime) -> str:
    """The smallest request id of a month: the prefix and ten characters of milliseconds."""
    return new_id("req", int(month.timestamp() * 1000))[: len(PREFIX) + 10]


def partition_name(table: str, month: datetime) -> str:
    return f"{table}_{month:%Y_%m}"


def ensure_partitions(months: Iterable[datetime] = (), *, using: Any = None) -> list[str]:
    """The present month's partitions, the next ones', and those of other months that are asked for; gives the new ones."""
    database = using or connection
    if database.vendor != "postgresql":
        return []
    wanted = {month_start(month) for month in months}
    month = month_start(now())
    for _ in range(AHEAD + 1):
        wanted.add(month)
        month = month_end(month)
    made = []
    with transaction.atomic(using=database.alias), database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('costs partitions'))")
        known = _attached(cursor) | set(detached(cursor))
        for month in sorted(wanted):
            for table, key in TABLES.items():
                if (name := partition_name(table, month)) not in known:
                    _create(cursor, table, key, name, month)
                    made.append(name)
    return made


def prepare(first: datetime, last: datetime) -> None:
    """Partitions of the months from one time to another; once a month and process."""
    month, months = month_start(first), []
    while month <= last:
        months.append(month)
        month = month_end(month)
    if not _prepared.issuperset(months):
        ensure_partitions(months)
        _prepared.update(months)


def prepared_since(at: datetime) -> datetime | None:
    """The start of the months up to this time's that `prepare` has seen to without a gap; None when it hasn't to the last."""
    month, first = month_start(at), None
    while month in _prepared:
        first, month = month, month_start(month - timedelta(days=1))
    return first


def _create(cursor: Any, table: str, key: str, name: str, month: datetime) -> None:
    """A month's partition. Rows that DEFAULT took meanwhile move into it, unseen by triggers: nothing of them changes."""
    low, high = border(month), border(month_end(month))
    cursor.execute(
        f"SELECT EXISTS (SELECT 1 FROM {table}_default WHERE {key} >= %s AND {key} < %s)", [low, high]
    )
    bounds = f"FOR VALUES FROM ('{low}') TO ('{high}')"
    if not cursor.fetchone()[0]:
        cursor.execute(f"CREATE TABLE {name} PARTITION OF {table} {bounds}")
        return
    cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    cursor.execute(f"ALTER TABLE {table}_default DISABLE TRIGGER USER")
    cursor.execute(
        f"""WITH moved AS (DELETE FROM {table}_default WHERE {key} >= %s AND {key} < %s RETURNING *)
            INSERT INTO {name} SELECT * FROM moved""",
        [low, high],
    )
    cursor.execute(f"ALTER TABLE {table}_default ENABLE TRIGGER USER")
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")


def _attached(cursor: Any) -> set[str]:
    cursor.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = ANY(%s::regclass[])",
        [list(TABLES)],
    )
    return {row[0] for row in cursor.fetchall()}


def detach(month: datetime) -> list[str]:
    """Take a month's partitions out of the tables, to be archived; gives their names. They stay as tables of their own, so
    that `verify_books` still reads them, until somebody drops them."""
    if connection.vendor != "postgresql":
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        attached = _attached(cursor)
        names = [(t, n) for t in TABLES if (n := partition_name(t, month_start(month))) in attached]
        for table, name in names:
            cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
    return [name for _, name in names]


def detached(cursor: Any) -> list[str]:
    """Tables that were partitions once and are still there."""
    cursor.execute(
        """SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition
           AND relname ~ '^costs_(attempt|ledgerentry)_[0-9]{4}_[0-9]{2}$' ORDER BY 1"""
    )
    return [row[0] for row in cursor.fetchall()]


def convert(database: Any) -> None:
    """Plain tables → partitioned ones, keeping every row; what is partitioned already stays."""
    if database.vendor != "postgresql":
        return
    with database.cursor() as cursor:
        for table, key in TABLES.items():
            cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass", [table])
            if not cursor.fetchone()[0]:
                _convert(cursor, table, key)
    ensure_partitions(using=database)


def _convert(cursor: Any, table: str, key: str) -> None:
    """The id column keeps its values; its sequence goes on behind them. Text is compared byte by byte, as ids sort."""
    old, length = f"{table}_plain", {"request_id": 40, "event_id": 80}[key]
    cursor.execute(f'ALTER TABLE {table} ALTER COLUMN {key} TYPE varchar({length}) COLLATE "C"')
    cursor.execute(f"ALTER TABLE {table} RENAME TO {old}")
    cursor.execute(f"CREATE TABLE {table} (LIKE {old} INCLUDING CONSTRAINTS) PARTITION BY RANGE ({key})")
    for name, bounds in (
        ("earlier", f"FOR VALUES FROM (MINVALUE) TO ('{PREFIX}')"),
        ("later", f"FOR VALUES FROM ('{AFTER_REQUESTS}') TO (MAXVALUE)"),
        ("default", "DEFAULT"),
    ):
        cursor.execute(f"CREATE TABLE {table}_{name} PARTITION OF {table} {bounds}")
    cursor.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {old}")
    following = cursor.fetchone()[0]
    for month in _months(cursor, old, key):
        _create(cursor, table, key, partition_name(table, month), month)
    cursor.execute(f"INSERT INTO {table} SELECT * FROM {old}")
    cursor.execute(f"DROP TABLE {old}")
    cursor.execute(f"CREATE SEQUENCE {table}_id_seq START {following} OWNED BY {table}.id")
    cursor.execute(f"ALTER TABLE {table} ALTER COLUMN id SET DEFAULT nextval('{table}_id_seq')")
    for statement in INDEXES[table]:
        cursor.execute(statement)


def _months(cursor: Any, table: str, key: str) -> list[datetime]:
    """Months that requests of a table were made in, told by their ids."""
    cursor.execute(
        f"SELECT DISTINCT left({key}, 14) FROM {table} WHERE {key} ~ '^req_[0-9A-HJKMNP-TV-Z]{{26}}'"
    )
    stems = [row[0] for row in cursor.fetchall()]
    times = (datetime.fromtimestamp(id_time_ms(stem + "0" * 16) / 1000, UTC) for stem in stems)
    return sorted({month_start(at) for at in times})
