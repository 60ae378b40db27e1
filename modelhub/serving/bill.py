"""The stand-in vendor's own bill: what it charges, kept apart from everything Switchyard writes."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from costs.pricing import PPM, half_even
from switchyard.core.money import format_usd, leg_nusd, usd_to_nusd

FLUSH_ROWS = 200
_TABLE = """CREATE TABLE IF NOT EXISTS bill (
    request_id TEXT NOT NULL, at TEXT NOT NULL, model TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost_nusd INTEGER NOT NULL)"""
_INSERT = (
    "INSERT OR IGNORE INTO bill (rowid, request_id, at, model, tokens_in, tokens_out, cost_nusd)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Bill:
    """Prices each call by the vendor's sheet and answers what was charged between two times.

    Rows go to a journal first (one write, there after kill -9) and in batches to the database; they are numbered, so a
    journal that is read again after a crash adds nothing twice.
    `prices`: JSON file {model id: {"input_usd_per_mtok", "output_usd_per_mtok", "batch_pct"?}} (decimal strings).
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
        self._share_ppm = {
            model: int(Decimal(str(p.get("batch_pct") or "100")) * 10_000) for model, p in sheet.items()
        }
        database.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(database, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(_TABLE)
        self._db.execute("CREATE INDEX IF NOT EXISTS bill_at ON bill (at)")
        self._db.commit()
        self._lock = threading.Lock()
        self._journal = os.open(
            database.with_suffix(".journal"), os.O_RDWR | os.O_CREAT | os.O_APPEND, mode=0o600
        )
        self._pending = self._left_behind()
        self.flush()
        self._number: int = self._db.execute("SELECT coalesce(max(rowid), 0) FROM bill").fetchone()[0]

    def _left_behind(self) -> list[list[Any]]:
        """Rows of a process that was killed; a line that was cut off was never charged."""
        size = os.fstat(self._journal).st_size
        lines = os.pread(self._journal, size, 0).split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def charge(
        self, *, request_id: str, model: str, tokens_in: int, tokens_out: int, waits: bool = False
    ) -> None:
        """`waits`: asked for as work that may wait, at the sheet's batch share."""
        name = model.partition("/")[0]
        price_in, price_out = self._prices[name]
        share = self._share_ppm[name] if waits else PPM
        if share == PPM:
            cost = leg_nusd(tokens_in, price_in) + leg_nusd(tokens_out, price_out)
        else:
            cost = sum(
                half_even(count * price * share, PPM * PPM)
                for count, price in ((tokens_in, price_in), (tokens_out, price_out))
            )
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        with self._lock:
            self._number += 1
            row = [self._number, request_id, at, model, tokens_in, tokens_out, cost]
            os.write(self._journal, json.dumps(row).encode() + b"\n")
            self._pending.append(row)
            full = len(self._pending) >= FLUSH_ROWS
        if full:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            rows, self._pending = self._pending, []
            if rows:
                self._db.executemany(_INSERT, rows)
                self._db.commit()
                os.ftruncate(self._journal, 0)

    def between(self, start: str, end: str) -> dict[str, Any]:
        """Rows with start ≤ at < end (ISO times; empty = open) and their total. ValueError for what is no time."""
        first, after = _moment(start), _moment(end)
        self.flush()
        with self._lock:
            rows = self._db.execute(
                "SELECT request_id, at, model, tokens_in, tokens_out, cost_nusd FROM bill"
                " WHERE (? = '' OR at >= ?) AND (? = '' OR at < ?) ORDER BY at, rowid",
                (first, first, after, after),
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
        os.close(self._journal)


def _moment(text: str) -> str:
    """As rows hold it (UTC, microseconds), so that text compares like time whatever zone was asked in."""
    if not text:
        return ""
    if "T" in text:
        text = text.replace(" ", "+")  # a plus sign that travelled unescaped
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC).isoformat(timespec="microseconds")
    except OverflowError:
        raise ValueError(f"{text!r} lies outside of the calendar") from None
