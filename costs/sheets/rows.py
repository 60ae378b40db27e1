"""Pure: price files as rows. Our own CSV, which public books come in, and the per-token JSON of LiteLLM's shape.

Amounts are read as exact decimals and kept in nano-units of the currency per million units, half-even; never a float. What
can't be read is refused with its line and the reason, and holds up nothing else until somebody applies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from switchyard.core.errors import ValidationFailed

MOST_BYTES = 4 * 1024 * 1024
MOST_ROWS = 20_000
LONGEST_NUMBER = 40  # characters
MOST = Decimal(10) ** 12  # beyond it, no amount is looked at any further
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(slots=True)
class Row:
    """One model's sheet as a file says it. `terms`: only what the file can say; the rest stays as it is in force."""

    line: int
    model: str  # the vendor's name
    deployment: str = ""  # where the file names one itself
    vendor: str = ""
    terms: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()  # prices the file has and a sheet can't hold


@dataclass(frozen=True, slots=True)
class Refusal:
    line: int
    model: str
    reason: str


@dataclass(slots=True)
class Book:
    rows: list[Row] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    others: int = 0  # models that nobody here uses
    not_in_force: int = 0  # rows of other dates


Wanted = Callable[[str, str, str], bool]  # (vendor, model, deployment) → somebody uses it


class Bad(ValueError):
    """One row can't be taken; the message says why."""


def faulty(message: str, line: int, column: int | None = None) -> ValidationFailed:
    """A file that is none, told with the place."""
    message = f"Line {line}: {message}."
    return ValidationFailed(message, [{"path": "text", "line": line, "column": column, "message": message}])


def decimal_of(text: str, name: str) -> Decimal:
    """An exact, finite decimal of at least zero. Raises Bad."""
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise Bad(f"{name} {text[:LONGEST_NUMBER]!r} is no decimal number")
    amount = Decimal(text)
    if amount < 0:
        raise Bad(f"{name} is negative")
    if amount > MOST:
        raise Bad(f"{name} is beyond any price: check the unit")
    return amount
