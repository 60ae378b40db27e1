"""Bills as they come: the stand-in's JSON, usage and cost CSV in OpenAI's and other columns, machines' invoices. Pure.

Amounts are integer nano-units of the bill's own currency, times are UTC. What can't be read is refused with its line.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from switchyard.core.errors import ValidationFailed

MAX_BYTES = 64 * 1024 * 1024
MAX_ROWS = 1_000_000
MAX_NANO = 10**18  # a billion of any currency in one row
MAX_TOKENS = 10**15
NANO = 10**9
FORMATS = ("auto", "json", "csv", "invoice")

# Column → how vendors and people call it; the first one present is read.
USAGE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "at": ("at", "start_time_iso", "start_time", "timestamp", "time", "usage_start", "date", "day", "usage_date"),
    "model": ("model", "model_name", "line_item", "sku"),
    "request_id": ("request_id", "x_request_id", "generation_id", "response_id", "id"),
    "tokens_in": ("tokens_in", "input_tokens", "n_context_tokens_total", "prompt_tokens", "context_tokens"),
    "tokens_out": ("tokens_out", "output_tokens", "n_generated_tokens_total", "completion_tokens", "generated_tokens"),
    "cached_in": ("cached_tokens_in", "input_cached_tokens", "n_cached_context_tokens_total", "cached_tokens"),
    "requests": ("requests", "num_model_requests", "n_requests", "num_requests"),
    "amount": ("cost_usd", "amount_usd", "amount_value", "amount", "cost", "total_cost", "charge"),
    "currency": ("currency", "amount_currency", "cost_currency"),
    "account": ("project_id", "project_name", "project", "api_key_id", "api_key_name", "api_key"),
}  # fmt: skip
INVOICE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "resource": ("resource", "resource_id", "resource_name", "node", "instance", "instance_id", "name"),
    "start": ("start", "usage_start", "start_time", "from"),
    "end": ("end", "usage_end", "end_time", "to"),
    "hours": ("hours", "quantity", "usage_quantity"),
    "amount": ("amount_usd", "cost_usd", "amount", "cost", "total"),
    "currency": ("currency", "amount_currency"),
}


class BillRefused(ValidationFailed):
    """A bill that can't be read, or not be held against these books. `errors` name the line."""

    code = "bill_refused"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line of a usage bill. Tokens are None where the bill doesn't tell them; `requests` where it sums up several."""

    at: datetime
    model: str
    amount_nano: int
    request_id: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached_in: int | None = None
    requests: int | None = None
    whole_day: bool = False
    account: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """One line of a machine's invoice; `end` is exclusive."""

    resource: str
    start: datetime
    end: datetime
    hours: Decimal
    amount_nano: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill that was read: its rows, one currency, and the SHA-256 of its bytes."""

    rows: tuple[Any, ...]
    currency: str
    digest: str

    @property
    def by_request(self) -> bool:
        """Whether every line names the request it is for."""
        return bool(self.rows) and all(getattr(row, "request_id", "") for row in self.rows)


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_usage(text: str, *, format: str = "auto", currency: str = "") -> Bill:
    """A vendor's usage or cost. `currency` is of bills that don't say theirs. Raises BillRefused."""
    _check_size(text)
    is_json = format == "json" or (format == "auto" and text.lstrip()[:1] in "{[")
    raw = _json_rows(text) if is_json else _csv_rows(text, USAGE_COLUMNS, ("at", "model", "amount"))
    return _bill(text, raw, currency, _usage_row)


def read_invoice(text: str, *, currency: str = "") -> Bill:
    """A machine's invoice as CSV: resource, start, end, hours, amount, currency. Raises BillRefused."""
    _check_size(text)
    needed = ("resource", "start", "end", "amount")
    return _bill(text, _csv_rows(text, INVOICE_COLUMNS, needed), currency, _invoice_row)


def to_nano(amount: Decimal) -> int:
    return int((amount * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


# ------------------------------------------------------------------------------------------------- shapes
def _check_size(text: str) -> None:
    if len(text) > MAX_BYTES:
        raise BillRefused(f"The bill is larger than {MAX_BYTES // 2**20} MiB; split it by day.")
    if not text.strip():
        raise BillRefused("The bill is empty.")


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The stand-in's {"rows": [{"request_id", "at", "model", "tokens_in", "tokens_out", "cost_usd"}], "total_usd"}."""
    try:
        body = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise BillRefused(f"The bill is not JSON: {error}.") from None
    rows = body.get("rows") if isinstance(body, dict) else body
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BillRefused(
            'A JSON bill is {"rows": [{…}], "total_usd"}; `rows` is missing or no list of objects.'
        )
    if isinstance(body, dict) and body.get("total_usd") is not None:
        _check_total(rows, body["total_usd"])
    for number, row in enumerate(rows, start=1):
        yield number, _named({str(k): v for k, v in row.items()}, USAGE_COLUMNS)


def _check_total(rows: list[dict[str, Any]], told: Any) -> None:
    amounts = [row.get("cost_usd") for row in rows]
    if any(a is None for a in amounts):
        return
    total = sum((_decimal(a, i, "cost_usd") for i, a in enumerate(amounts, start=1)), Decimal(0))
    if total != _decimal(told, 0, "total_usd"):
        raise BillRefused(f"The bill contradicts itself: its rows sum to {total}, its total says {told}.")


def _csv_rows(
    text: str, columns: Mapping[str, tuple[str, ...]], needed: Iterable[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), strict=True)
    try:
        names = [(name or "").strip().lower().replace(" ", "_") for name in reader.fieldnames or ()]
        reader.fieldnames = names
        for wanted in needed:
            if not set(columns[wanted]) & set(names):
                said = ", ".join(columns[wanted])
                raise BillRefused(
                    f"The bill has no column for {wanted}: expected one of {said}. It has {', '.join(names)}."
                )
        for row in reader:
            if None in row or None in row.values():
                raise _refused(reader.line_num, "the line has another number of cells than the header", "")
            yield reader.line_num, _named(row, columns)
    except csv.Error as error:
        raise BillRefused(f"The bill is not CSV: line {reader.line_num}: {error}.") from None


def _named(row: Mapping[str, Any], columns: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Our names → the cells. `amount_usd` and the like say the currency in their name."""
    found: dict[str, Any] = {}
    for ours, theirs in columns.items():
        name = next((n for n in theirs if row.get(n) not in (None, "")), None)
        found[ours] = row[name] if name else None
        if ours == "amount" and name and name.endswith("_usd"):
            found["implied"] = "USD"
    return found


def _bill(
    text: str,
    raw: Iterable[tuple[int, dict[str, Any]]],
    currency: str,
    read: Callable[[int, dict[str, Any]], Any],
) -> Bill:
    rows: list[Any] = []
    currencies: dict[str, int] = {}
    for line, cells in raw:
        said = str(cells.get("currency") or cells.get("implied") or currency or "").strip().upper()
        if len(said) != 3 or not said.isalpha():
            raise _refused(
                line,
                f"{said!r} is no currency: the bill must say it in a column, or you with `currency`",
                "currency",
            )
        currencies.setdefault(said, line)
        rows.append(read(line, cells))
        if len(rows) > MAX_ROWS:
            raise BillRefused(f"The bill has more than {MAX_ROWS:,} rows; split it by day.")
    if len(currencies) > 1:
        both = " and ".join(f"{c} (line {n})" for c, n in currencies.items())
        raise BillRefused(
            f"The bill mixes currencies: {both}. Hold each currency's lines against the books by themselves."
        )
    return Bill(tuple(rows), next(iter(currencies), currency.upper() or "USD"), digest_of(text))


# ------------------------------------------------------------------------------------------------- cells
def _usage_row(line: int, cells: dict[str, Any]) -> UsageRow:
    at, whole_day = _time(cells["at"], line, "at")
    model = str(cells["model"] or "").partition(",")[0].strip()  # cost exports write "model, input"
    if not model:
        raise _refused(line, "the line names no model", "model")
    return UsageRow(
        at=at, model=model[:120], amount_nano=_amount(cells["amount"], line),
        request_id=str(cells["request_id"] or "").strip()[:80], tokens_in=_count(cells["tokens_in"], line, "tokens_in"),
        tokens_out=_count(cells["tokens_out"], line, "tokens_out"), cached_in=_count(cells["cached_in"], line, "cached_in"),
        requests=_count(cells["requests"], line, "requests"), whole_day=whole_day, account=str(cells["account"] or "")[:80],
        line=line,
    )  # fmt: skip


def _invoice_row(line: int, cells: dict[str, Any]) -> InvoiceRow:
    start, _ = _time(cells["start"], line, "start")
    end, _ = _time(cells["end"], line, "end")
    if end <= start or end - start > timedelta(days=400):
        raise _refused(line, "the span must end after it starts, within 400 days", "end")
    span = Decimal((end - start) // timedelta(seconds=1)) / 3600
    hours = span if cells["hours"] is None else _decimal(cells["hours"], line, "hours")
    if not 0 <= hours <= span + Decimal("0.01"):
        raise _refused(line, f"{hours} hours don't fit into a span of {span:.2f}", "hours")
    resource = str(cells["resource"] or "").strip()
    return InvoiceRow(resource[:120], start, end, hours, _amount(cells["amount"], line), line)


def _amount(raw: Any, line: int) -> int:
    amount = to_nano(_decimal(str(raw).strip().lstrip("$€£¥") if raw is not None else None, line, "amount"))
    if abs(amount) > MAX_NANO:
        raise _refused(line, f"an amount of {raw} can't be true", "amount")
    return amount


def _decimal(raw: Any, line: int, name: str) -> Decimal:
    try:
        value = Decimal(str(raw).strip())
        if raw is not None and value.is_finite() and abs(value) < MAX_NANO:
            return value
    except InvalidOperation:
        pass
    raise _refused(
        line, f"{raw!r} is no decimal number (expected 1234.56, without thousands separators)", name
    )


def _count(raw: Any, line: int, name: str) -> int | None:
    if raw is None:
        return None
    value = _decimal(raw, line, name)
    if value != value.to_integral_value() or not 0 <= value <= MAX_TOKENS:
        raise _refused(line, f"{raw} is no count: expected a whole number of 0 to {MAX_TOKENS}", name)
    return int(value)


def _time(raw: Any, line: int, name: str) -> tuple[datetime, bool]:
    """A date (the whole day), an ISO time, or seconds since the epoch."""
    text = str(raw if raw is not None else "").strip()
    try:
        if text.isdecimal() and len(text) >= 9:
            return datetime.fromtimestamp(int(text), UTC), False
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC), len(text) <= 10
    except (ValueError, OverflowError, OSError):
        raise _refused(line, f"{text!r} is no date, ISO time or number of seconds since 1970", name) from None


def _refused(line: int, why: str, path: str) -> BillRefused:
    where = {"path": path, "line": line or None, "column": None, "message": f"{why}."}
    return BillRefused(f"Line {line} of the bill: {why}." if line else f"The bill: {why}.", errors=[where])
