"""A statement as CSV: opening, lines, total, closing; exact decimals, text that no spreadsheet runs."""

from __future__ import annotations

import csv
import io

from costs.exports.focus import safe_text
from costs.exports.statements import Statement
from switchyard.core.money import format_usd

HEADER = (
    "section", "what", "application", "workload", "model", "side", "purpose", "quantity", "unit", "unit_price_usd",
    "amount_usd", "note",
)  # fmt: skip


def statement_csv(made: Statement) -> str:
    """The whole file. Its total row is the sum of the lines, and closing is opening and total."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    month = f"{made.start:%Y-%m}"

    def mark(section: str, nusd: int) -> None:
        writer.writerow([section, f"{made.lob} {month} {made.basis}", *[""] * 8, format_usd(nusd), ""])

    mark("opening", made.opening_nusd)
    for line in made.lines:
        texts = (
            line.section,
            line.what,
            line.application,
            line.workload,
            line.model,
            line.side,
            line.purpose,
        )
        price, quantity = line.unit_price_usd, line.quantity
        writer.writerow([
            *map(safe_text, texts), "" if quantity is None else f"{quantity.normalize():f}", line.unit,
            "" if price is None else f"{price.normalize():f}", format_usd(line.amount_nusd), safe_text(line.note),
        ])  # fmt: skip
    mark("total", made.total_nusd)
    mark("closing", made.closing_nusd)
    return buffer.getvalue()
