"""Pure: our own CSV. A column that is missing leaves what is in force, an empty cell takes that price away.

The columns of the public price book (data/prices) are among ours. Rows with `above_tokens_in` are tiers of the row of their
model above them; `from_date` is inclusive, `to_date` exclusive, empty is open.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from costs.sheets.amounts import OUTSIDE, TIER_AMOUNTS
from costs.sheets.rows import MOST_ROWS, Bad, Book, Refusal, Row, Wanted, decimal_of, faulty
from switchyard.core.money import PRICE_UNIT, usd_to_nusd

_NAMES = {
    "vendor",
    "model",
    "name",
    "deployment",
    "currency",
    "from_date",
    "to_date",
    "above_tokens_in",
    "batch_pct",
}
COLUMNS = _NAMES | set(OUTSIDE.values())
_COLUMN_OF = {outside: column for column, outside in OUTSIDE.items()}


def read_csv(text: str, at: datetime, wanted: Wanted) -> Book:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    book, found, seen_lines = Book(), dict[tuple[str, str, str], Row](), 0
    try:
        header = _header(next(reader, []))
        start = reader.line_num + 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            seen_lines += 1
            if seen_lines > MOST_ROWS:
                raise faulty(f"more than {MOST_ROWS} rows", line)
            _csv_row(book, found, header, [cell.strip() for cell in cells], line, at, wanted)
    except csv.Error as error:
        raise faulty(str(error), reader.line_num) from None
    _tiers_in_order(book)
    return book


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    unknown = [name for name in names if name not in COLUMNS]
    faults = []
    if unknown:
        faults.append(
            f"unknown columns {', '.join(repr(n[:40]) for n in unknown)}; known are {', '.join(sorted(COLUMNS))}"
        )
    if len(set(names)) != len(names):
        faults.append("a column is there twice")
    if not {"model", "deployment"} & set(names):
        faults.append("there is neither a column model nor a column deployment")
    if faults:
        raise faulty("; ".join(faults), 1)
    return names


def _csv_row(
    book: Book,
    found: dict[Any, Row],
    header: list[str],
    cells: list[str],
    line: int,
    at: datetime,
    wanted: Wanted,
) -> None:
    values = dict(zip(header, cells, strict=False))
    model, deployment = values.get("model", ""), values.get("deployment", "")
    shown = (deployment or model)[:120]
    try:
        if len(cells) != len(header):
            raise Bad(f"{len(cells)} cells under {len(header)} columns")
        if not shown:
            raise Bad("it names neither a model nor a deployment")
        vendor = values.get("vendor", "")
        if not wanted(vendor, model, deployment):
            book.others += 1
            return
        if not _date(values, "from_date", datetime.min) <= at < _date(values, "to_date", datetime.max):
            book.not_in_force += 1
            return
        bound = values.get("above_tokens_in", "")
        key = (vendor, model, deployment)
        if bound:
            _add_tier(found.get(key), values, _whole(bound, "above_tokens_in"))
            return
        if key in found:
            raise Bad(f"line {found[key].line} has a price of it for the same time")
        row = Row(line, model, deployment, vendor, _csv_terms(values))
    except Bad as error:
        book.refused.append(Refusal(line, shown, str(error)))
        return
    found[key] = row
    book.rows.append(row)


def _csv_terms(values: Mapping[str, str]) -> dict[str, Any]:
    """A column that is missing leaves what is in force; an empty cell takes the price away."""
    terms: dict[str, Any] = {}
    if "currency" in values:
        terms["currency"] = values["currency"] or "USD"
    for outside, column in _COLUMN_OF.items():
        if outside in values:
            terms[column] = _csv_amount(values[outside], outside)
    for column in ("input_nusd_per_munit", "output_nusd_per_munit"):
        if column in terms and terms[column] is None:
            raise Bad(f"{OUTSIDE[column]} is empty: a price that is missing is not a price of zero")
    for column in ("call_nusd_per_munit", "second_nusd_per_munit", "minimum_nusd"):
        if column in terms:
            terms[column] = terms[column] or 0
    if "batch_pct" in values:
        share = values["batch_pct"]
        terms["batch_ppm"] = int(decimal_of(share, "batch_pct") * 10_000) if share else None
    if "above_tokens_in" in values:
        terms["tiers"] = []
    return terms


def _csv_amount(text: str, outside: str) -> int | None:
    if not text:
        return None
    amount = decimal_of(text, outside)
    return usd_to_nusd(amount * PRICE_UNIT) if outside == "usd_per_second" else usd_to_nusd(amount)


def _add_tier(row: Row | None, values: Mapping[str, str], bound: int) -> None:
    if row is None:
        raise Bad("a tier comes after the row of its model, which has no above_tokens_in")
    tier: dict[str, int] = {"above_tokens_in": bound}
    for column in TIER_AMOUNTS:
        amount = _csv_amount(values.get(OUTSIDE[column], ""), OUTSIDE[column])
        if amount is not None:
            tier[column] = amount
    row.terms["tiers"].append(tier)


def _tiers_in_order(book: Book) -> None:
    for row in book.rows:
        if row.terms.get("tiers"):
            row.terms["tiers"].sort(key=lambda tier: tier["above_tokens_in"])


def _date(values: Mapping[str, str], name: str, default: datetime) -> datetime:
    text = values.get(name, "")
    try:
        found = datetime.fromisoformat(text) if text else default
    except ValueError:
        raise Bad(f"{name} {text[:40]!r} is no ISO date") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _whole(text: str, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Bad(f"{name} {text[:40]!r} is no whole number of tokens")
    return int(text)
