"""The ledger is append-only in the database itself: UPDATE is refused, DELETE too but for demonstration rows."""

from __future__ import annotations

from typing import Any

TABLE = "costs_ledgerentry"
REFUSED = "The ledger is append-only: correct an entry by reversing it."

SQLITE = [
    f"""CREATE TRIGGER IF NOT EXISTS ledger_no_update BEFORE UPDATE ON {TABLE}
        BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
    f"""CREATE TRIGGER IF NOT EXISTS ledger_no_delete BEFORE DELETE ON {TABLE} WHEN OLD.origin <> 'demonstration'
        BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
]
POSTGRES = [
    f"""CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND OLD.origin = 'demonstration' THEN RETURN OLD; END IF;
            RAISE EXCEPTION '{REFUSED}' USING ERRCODE = 'integrity_constraint_violation';
        END $$""",
    f"DROP TRIGGER IF EXISTS ledger_no_update ON {TABLE}",
    f"DROP TRIGGER IF EXISTS ledger_no_delete ON {TABLE}",
    f"CREATE TRIGGER ledger_no_update BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION ledger_refuse()",
    f"CREATE TRIGGER ledger_no_delete BEFORE DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION ledger_refuse()",
]
NAMES = ("ledger_no_update", "ledger_no_delete")


def install(connection: Any) -> None:
    """Idempotent. `connection` is a Django connection or schema editor's."""
    statements = POSTGRES if connection.vendor == "postgresql" else SQLITE
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def remove(connection: Any) -> None:
    on_table = f" ON {TABLE}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for name in NAMES:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")


def installed(connection: Any) -> bool:
    """Whether both are there: SQLite drops a table's triggers when a migration rebuilds it."""
    query = (
        "SELECT count(*) FROM pg_trigger WHERE tgname IN (%s, %s) AND NOT tgisinternal"
        if connection.vendor == "postgresql"
        else "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name IN (%s, %s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, NAMES)
        return cursor.fetchone()[0] == len(NAMES)
