"""Thirty days of metered answers of six lines of business, one transfer each, as many as asked for, quickly.

PostgreSQL makes them itself, attempts and transfers side by side in two sessions: each month's partition is filled as a table
of its own and attached then, which builds every index and checks every constraint; balances follow by the product's own
statement. `verify_books` is asked afterwards. SQLite takes rows by the product's bulk writer.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

DAYS = 30
CHUNK = 50_000
SHARE_BY_HOUR = [2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 9, 8, 9, 10, 10, 9, 7, 5, 4, 4, 3, 3, 2]
LOBS = ("customer-service", "legal", "healthcare", "manufacturing", "supply-chain", "engineering")
NAMES = (
    "lob", "application", "key_id", "workload", "side", "deployment", "model", "node", "price_version", "debit", "credit",
)  # fmt: skip
NUSD_PER_TOKEN = {"private": 40, "external": 90}
HOUR_MS = 3_600_000
Hour = tuple[int, int, int]  # (start in ms, answers, number of the first)


def combos() -> list[dict[str, Any]]:
    """What stays the same over many rows: names, side, deployment, price version, accounts."""
    found = []
    for number, lob in enumerate(LOBS):
        for workload in ("first", "second"):
            for side in ("private", "external"):
                private = side == "private"
                found.append({
                    "lob": lob, "application": f"{lob}-app", "key_id": f"key_{number}", "workload": f"{lob}-{workload}",
                    "side": side, "deployment": "private-sparse" if private else "ext-mini",
                    "model": "txt-base" if private else "txt-edge", "node": "node-1" if private else "",
                    "price_version": "node:1@x" if private else "price:1", "debit": f"expense:lob:{lob}",
                    "credit": "absorbed:node-1" if private else "payable:ext-mini",
                })  # fmt: skip
    return found


def hours(total: int, end: datetime) -> list[Hour]:
    """How many answers each hour has: a month with days and nights. They sum to `total`."""
    start = (end - timedelta(days=DAYS)).replace(minute=0, second=0, microsecond=0)
    weights = [SHARE_BY_HOUR[(start + timedelta(hours=h)).hour] for h in range(DAYS * 24)]
    whole, done, passed = sum(weights), 0, 0
    found = []
    for number, weight in enumerate(weights):
        passed += weight
        upto = total * passed // whole
        found.append((int((start + timedelta(hours=number)).timestamp()) * 1000, upto - done, done))
        done = upto
    return found


def load(total: int, end: datetime, organisation_id: int) -> float:
    """Write them; gives seconds."""
    from django.db import connection

    began = time.perf_counter()
    (_load_postgres if connection.vendor == "postgresql" else _load_sqlite)(total, end, organisation_id)
    return time.perf_counter() - began


def told(what: str) -> None:
    """A line for somebody who waits."""
    print(f"  {datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


# PostgreSQL

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME = " || ".join(f"substr('{DIGITS}', (at_ms >> {shift} & 31)::int + 1, 1)" for shift in range(45, -1, -5))
# Numbers of the series are hashed into choices, so that both sessions make the same rows without having seen each other's.
_SERIES = f"""
    SELECT *, 'req_' || {_TIME} || upper(left(md5(i::text), 16)) AS request_id, to_timestamp(at_ms / 1000.0) AS at,
           tokens * CASE side WHEN 'private' THEN {NUSD_PER_TOKEN["private"]} ELSE {NUSD_PER_TOKEN["external"]} END AS cost
    FROM (
        SELECT h.first + place AS i, h.start_ms + place * {HOUR_MS} / h.answers AS at_ms,
               20 + (hashint8extended(h.first + place, 1) & 1048575) %% 381 AS tokens,
               (hashint8extended(h.first + place, 2) & 1048575) %% %(combos)s AS combo
        FROM unnest(%(starts)s::bigint[], %(answers)s::bigint[], %(firsts)s::bigint[]) AS h(start_ms, answers, first),
             generate_series(0, h.answers - 1) AS place
    ) numbered JOIN unnest({", ".join(f"%({name})s::text[]" for name in NAMES)})
                    WITH ORDINALITY AS names({", ".join(NAMES)}, number) ON number = combo + 1"""
ATTEMPT = {
    **{name: name for name in (*NAMES[:9], "request_id", "at")}, "organisation_id": "%(organisation)s",
    "tokens_in": "tokens", "tokens_out": "1", "cost_nusd": "cost", "other_side_cost_nusd": "2 * cost", "duration_ms": "5.5",
    "accelerator_ns": "CASE side WHEN 'private' THEN tokens * 30000 ELSE 0 END",
    "compute_nusd": "CASE side WHEN 'private' THEN cost ELSE 0 END",
    "input_nusd": "CASE side WHEN 'private' THEN 0 ELSE cost END",
}  # fmt: skip
ENTRY = {
    **{name: name for name in ("lob", "application", "key_id", "workload", "price_version", "debit", "credit", "request_id",
                               "at")},
    "event_id": "request_id || '/0/0'", "organisation_id": "%(organisation)s", "recorded_at": "at", "amount_nusd": "cost",
    "purpose": "'answer'", "attempt": "0", "reverses_id": "NULL",
}  # fmt: skip


def _load_postgres(total: int, end: datetime, organisation_id: int) -> None:
    from django.db import connection

    from costs import triggers
    from costs.books.partitions import TABLES, ensure_partitions
    from costs.models import Attempt, LedgerEntry
    from switchyard.core.bulk import grouped_by_hash

    by_month: dict[datetime, list[Hour]] = {}
    for hour in hours(total, end):
        if hour[1]:
            at = datetime.fromtimestamp(hour[0] / 1000, UTC)
            by_month.setdefault(at.replace(day=1, hour=0), []).append(hour)
    ensure_partitions(by_month)
    with ThreadPoolExecutor(len(TABLES)) as sessions:
        sides = ((Attempt, ATTEMPT), (LedgerEntry, ENTRY))
        for done in [sessions.submit(_fill, model, made, by_month, organisation_id) for model, made in sides]:
            done.result()
    told("balances")
    with grouped_by_hash():
        triggers.rebuild_balances(connection)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _fill(
    model: Any, made: dict[str, str], by_month: dict[datetime, list[Hour]], organisation_id: int
) -> None:
    """Each month's partition of a table: filled apart, then attached."""
    import psycopg
    from django.db import connection

    from costs.books.fiscal import month_end
    from costs.books.partitions import border, partition_name
    from switchyard.core.bulk import table_of

    table = table_of(model)
    values = [made.get(name) or _default(model, name) for name in table.columns]
    with psycopg.connect(**_parameters(connection)) as session, session.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for month, some in by_month.items():
            name = partition_name(table.name, month)
            told(f"{sum(hour[1] for hour in some):,} rows of {name}")
            cursor.execute(f"SELECT count(*) FROM {name}")
            if cursor.fetchone() != (0,):
                raise RuntimeError(f"{name} isn't empty: load into a fresh database.")
            cursor.execute(f"DROP TABLE {name}")
            cursor.execute(
                f"CREATE TABLE {name} (LIKE {table.name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            )
            cursor.execute(
                f"INSERT INTO {name} ({table.list}) SELECT {', '.join(values)} FROM ({_SERIES}) series",
                _arrays(some, organisation_id),
            )
            bounds = f"FROM ('{border(month)}') TO ('{border(month_end(month))}')"
            cursor.execute(f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES {bounds}")
            session.commit()
        told(f"{table.name} is attached, its indexes are built")


def _parameters(connection: Any) -> dict[str, Any]:
    """Where the database is, for a session of our own."""
    kept = ("dbname", "user", "password", "host", "port")
    return {name: value for name, value in connection.get_connection_params().items() if name in kept}


def _default(model: Any, column: str) -> str:
    """What Django would write for a column that isn't given."""
    value = next(f for f in model._meta.concrete_fields if f.column == column).get_default()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _arrays(some: list[Hour], organisation_id: int) -> dict[str, Any]:
    names = combos()
    starts, answers, firsts = (list(column) for column in zip(*some, strict=True))
    return {
        "starts": starts, "answers": answers, "firsts": firsts, "combos": len(names), "organisation": organisation_id,
        **{name: [combo[name] for combo in names] for name in NAMES},
    }  # fmt: skip


# SQLite


def _load_sqlite(total: int, end: datetime, organisation_id: int) -> None:
    from costs.books.writing import ATTEMPTS, ENTRIES, write
    from costs.models import Attempt, LedgerEntry

    blank = ATTEMPTS.row_of(Attempt()), ENTRIES.row_of(LedgerEntry())
    attempts: list[Any] = []
    entries: list[Any] = []
    for attempt, entry in _rows(total, end, organisation_id):
        attempts.append(tuple(attempt.get(n, v) for n, v in zip(ATTEMPTS.columns, blank[0], strict=True)))
        entries.append(tuple(entry.get(n, v) for n, v in zip(ENTRIES.columns, blank[1], strict=True)))
        if len(attempts) >= CHUNK:
            write(attempts, entries)
            told(f"{CHUNK:,} rows more")
            attempts, entries = [], []
    write(attempts, entries)


def _rows(total: int, end: datetime, organisation_id: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(attempt, transfer) by column, oldest first."""
    from switchyard.core.bulk import stored
    from switchyard.core.ids import new_id

    dice, names = random.Random(20_260), combos()
    for start_ms, answers, _ in hours(total, end):
        for place in range(answers):
            at_ms = start_ms + place * HOUR_MS // answers
            combo = dice.choice(names)
            tokens, private = dice.randint(20, 400), combo["side"] == "private"
            cost, request_id = tokens * NUSD_PER_TOKEN[combo["side"]], new_id("req", at_ms)
            own = combo | {
                "organisation_id": organisation_id, "at": stored(datetime.fromtimestamp(at_ms / 1000, UTC)),
                "request_id": request_id, "attempt": 0,
            }  # fmt: skip
            attempt = own | {
                "tokens_in": tokens, "tokens_out": 1, "cost_nusd": cost, "other_side_cost_nusd": cost * 2,
                "accelerator_ns": tokens * 30_000 if private else 0, "duration_ms": 5.5,
                "compute_nusd" if private else "input_nusd": cost,
            }  # fmt: skip
            entry = own | {
                "event_id": f"{request_id}/0/0", "recorded_at": own["at"], "amount_nusd": cost, "purpose": "answer",
            }  # fmt: skip
            yield attempt, entry
