"""The stand-in vendor's own bill: what it charges, kept apart from everything Switchyard writes."""

from __future__ import annotations

import json
import sqlite3
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from switchyard.core.money import format_usd, leg_nusd, usd_to_nusd

FLUSH_ROWS = 200
_TABLE = """CREATE TABLE IF NOT EXISTS bill (
    request_id TEXT NOT NULL, at TEXT NOT NULL, model TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost_nusd INTEGER NOT NULL)"""


class Bill:
    """Prices each call by the vendor's sheet and answers what was charged between two times.

    `prices`: JSON file {model id: {"input_usd_per_mtok", "output_usd_per_mtok"}} (decimal strings).
    """

    def __init__(self, database: Path, prices: Path) -> None:
        sheet = json.loads(prices.read_text("utf-8"))
        self._prices = {
            model: (
                usd_to_nusd(Decimal(str(p["input_usd_per_mtok"]))),
                usd_to_nusd(Decimal(str(p["output_usd_per_mtok"]))),
            )
            for model, p in sheet.items()
        }
        database.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(database, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(_TABLE)
        self._db.execute("CREATE INDEX IF NOT EXISTS bill_at ON bill (at)")
        self._db.commit()
        self._lock = threading.Lock()
        self._pending: list[tuple[Any, ...]] = []

    def charge(self, *, request_id: str, model: str, tokens_in: int, tokens_out: int) -> None:
        price_in, price_out = self._prices[model.partition("/")[0]]
        cost = leg_nusd(tokens_in, price_in) + leg_nusd(tokens_out, price_out)
        row = (request_id, datetime.now(UTC).isoformat(), model, tokens_in, tokens_out, cost)
        with self._lock:
            self._pending.append(row)
            full = len(self._pending) >= FLUSH_ROWS
        if full:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            rows, self._pending = self._pending, []
            if rows:
                self._db.executemany("INSERT INTO bill VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._db.commit()

    def between(self, start: str, end: str) -> dict[str, Any]:
        """Rows with start ≤ at < end (ISO times; empty = open) and their total."""
        self.flush()
        with self._lock:
            rows = self._db.execute(
                "SELECT request_id, at, model, tokens_in, tokens_out, cost_nusd FROM bill"
                " WHERE (? = '' OR at >= ?) AND (? = '' OR at < ?) ORDER BY at",
                (start, start, end, end),
            ).fetchall()
        names = ("request_id", "at", "model", "tokens_in", "tokens_out")
        return {
            "rows": [
                dict(zip(names, row[:5], strict=True)) | {"cost_usd": format_usd(row[5])} for row in rows
            ],
            "total_usd": format_usd(sum(row[5] for row in rows)),
        }

    def close(self) -> None:
        self.flush()
        self._db.close()
