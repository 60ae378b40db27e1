"""What the database itself sees to in the ledger, on both engines: rows are never changed, nor removed but for demonstration
rows; nothing moves in a closed fiscal period; AccountHour follows every row in the same transaction."""

from __future__ import annotations

from typing import Any

TABLE, BALANCES, PERIODS = "costs_ledgerentry", "costs_accounthour", "costs_fiscalperiod"
REFUSED = "The ledger is append-only: correct an entry by reversing it."
CLOSED = "The fiscal period is closed: book it into an open one, or reopen the period."
LOCK = 1_230_301_261  # advisory: writers share it, closing a period takes it alone
NAMES = ("ledger_no_update", "ledger_no_delete", "ledger_booked", "ledger_unbooked")
OLDER_NAMES = ("ledger_no_truncate", "ledger_closed_insert", "ledger_closed_delete")


def _sqlite_closed(name: str, event: str, row: str) -> str:
    return f"""CREATE TRIGGER IF NOT EXISTS {name} BEFORE {event} ON {TABLE}
        WHEN EXISTS (SELECT 1 FROM {PERIODS} p WHERE p.organisation_id = {row}.organisation_id AND p.state = 'closed'
                     AND {row}.at >= p.start AND {row}.at < p."end")
        BEGIN SELECT RAISE(ABORT, '{CLOSED}'); END"""


def _sqlite_balance(name: str, event: str, row: str, sign: str) -> str:
    """An upsert won't do: INSERT OR IGNORE of the ledger's row would override its conflict clause."""
    hour = f"substr({row}.at, 1, 13) || ':00:00'"
    sides = "".join(
        f"""INSERT OR IGNORE INTO {BALANCES} (organisation_id, start, account, lob, debit_nusd, credit_nusd)
            VALUES ({row}.organisation_id, {hour}, {row}.{side}, {row}.lob, 0, 0);
            UPDATE {BALANCES} SET {side}_nusd = {side}_nusd {sign} {row}.amount_nusd
            WHERE organisation_id = {row}.organisation_id AND start = {hour} AND account = {row}.{side} AND lob = {row}.lob;
        """
        for side in ("debit", "credit")
    )
    return f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON {TABLE} BEGIN {sides} END"


SQLITE = [
    f"""CREATE TRIGGER IF NOT EXISTS ledger_no_update BEFORE UPDATE ON {TABLE}
        BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
    f"""CREATE TRIGGER IF NOT EXISTS ledger_no_delete BEFORE DELETE ON {TABLE} WHEN OLD.origin <> 'demonstration'
        BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
    _sqlite_closed("ledger_closed_insert", "INSERT", "NEW"),
    _sqlite_closed("ledger_closed_delete", "DELETE", "OLD"),
    _sqlite_balance("ledger_booked", "INSERT", "NEW", "+"),
    _sqlite_balance("ledger_unbooked", "DELETE", "OLD", "-"),
]
# One statement's rows are summed before they meet AccountHour, so a batch of thousands touches a handful of rows. They are
# taken in one order, so that writers side by side don't wait for each other in a circle.
_POSTGRES_BOOKED = f"""CREATE OR REPLACE FUNCTION ledger_booked() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE direction bigint := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
    BEGIN
        PERFORM pg_advisory_xact_lock_shared({LOCK});
        IF EXISTS (
            SELECT 1 FROM {PERIODS} p WHERE p.state = 'closed' AND EXISTS (
                SELECT 1 FROM moved m WHERE m.organisation_id = p.organisation_id AND m.at >= p.start AND m.at < p."end")
        ) THEN
            RAISE EXCEPTION '{CLOSED}' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO {BALANCES} AS kept (organisation_id, start, account, lob, debit_nusd, credit_nusd)
        SELECT organisation_id, date_trunc('hour', at, 'UTC'), account, lob, sum(debit) * direction, sum(credit) * direction
        FROM (
            SELECT organisation_id, at, lob, debit AS account, amount_nusd AS debit, 0 AS credit FROM moved
            UNION ALL SELECT organisation_id, at, lob, credit, 0, amount_nusd FROM moved
        ) sides
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (organisation_id, start, account, lob) DO UPDATE
        SET debit_nusd = kept.debit_nusd + EXCLUDED.debit_nusd, credit_nusd = kept.credit_nusd + EXCLUDED.credit_nusd;
        RETURN NULL;
    END $$"""
_POSTGRES_REFUSE = f"""CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.origin = 'demonstration' THEN RETURN OLD; END IF;
        END IF;
        RAISE EXCEPTION '{REFUSED}' USING ERRCODE = 'integrity_constraint_violation';
    END $$"""


def _postgres() -> list[str]:
    drop = [f"DROP TRIGGER IF EXISTS {name} ON {TABLE}" for name in (*NAMES, *OLDER_NAMES)]
    refuse, booked = "EXECUTE FUNCTION ledger_refuse()", "FOR EACH STATEMENT EXECUTE FUNCTION ledger_booked()"
    return [
        _POSTGRES_REFUSE,
        _POSTGRES_BOOKED,
        *drop,
        f"CREATE TRIGGER ledger_no_update BEFORE UPDATE ON {TABLE} FOR EACH ROW {refuse}",
        f"CREATE TRIGGER ledger_no_delete BEFORE DELETE ON {TABLE} FOR EACH ROW {refuse}",
        f"CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT {refuse}",
        f"CREATE TRIGGER ledger_booked AFTER INSERT ON {TABLE} REFERENCING NEW TABLE AS moved {booked}",
        f"CREATE TRIGGER ledger_unbooked AFTER DELETE ON {TABLE} REFERENCING OLD TABLE AS moved {booked}",
    ]


def install(connection: Any) -> None:
    """Idempotent. `connection` is a Django connection or schema editor's."""
    statements = _postgres() if connection.vendor == "postgresql" else SQLITE
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def remove(connection: Any) -> None:
    on_table = f" ON {TABLE}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for name in (*NAMES, *OLDER_NAMES):
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")


def installed(connection: Any) -> bool:
    """Whether all are there and on: SQLite drops a table's triggers when a migration rebuilds it."""
    if connection.vendor == "postgresql":
        names = (*NAMES, "ledger_no_truncate")
        query = f"SELECT count(*) FROM pg_trigger WHERE tgrelid = '{TABLE}'::regclass AND tgenabled <> 'D' AND tgname"
    else:
        names = (*NAMES, "ledger_closed_insert", "ledger_closed_delete")
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name"
    with connection.cursor() as cursor:
        cursor.execute(f"{query} IN ({', '.join(['%s'] * len(names))})", names)
        return cursor.fetchone()[0] == len(names)


def rebuild_balances(connection: Any) -> None:
    """AccountHour from the rows that are there, where it holds nothing yet: for books older than the triggers."""
    hour = (
        "date_trunc('hour', at, 'UTC')"
        if connection.vendor == "postgresql"
        else "substr(at, 1, 13) || ':00:00'"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {BALANCES}")
        cursor.execute(
            f"""INSERT INTO {BALANCES} (organisation_id, start, account, lob, debit_nusd, credit_nusd)
            SELECT organisation_id, start, account, lob, sum(debit), sum(credit) FROM (
                SELECT organisation_id, {hour} AS start, debit AS account, lob, amount_nusd AS debit, 0 AS credit FROM {TABLE}
                UNION ALL SELECT organisation_id, {hour}, credit, lob, 0, amount_nusd FROM {TABLE}
            ) sides GROUP BY organisation_id, start, account, lob"""
        )
