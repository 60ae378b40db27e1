"""Tables of rows as people export them: CSV, with commas, semicolons or tabs, and a label's column by any name."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from modelhub.services.row_faults import fault
from switchyard.core.errors import ValidationFailed

DELIMITERS = (",", ";", "\t")
WANTED = frozenset({"text", "label"})


def header_of(line: str) -> tuple[list[str], str]:
    """(names of the columns in small letters, what stands between them): the first delimiter that gives both columns.

    Where there are two columns and one is `text`, the other is the label, whatever it is called.
    """
    for delimiter in DELIMITERS:
        names = _cells(line, delimiter)
        if len(names) == 2 and "text" in names and "label" not in names:
            other = 1 - names.index("text")
            if names[other] not in ("", "text"):
                return _with_label(names, other), delimiter
        if WANTED.issubset(names):
            return names, delimiter
    return _cells(line, ","), ","


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _with_label(names: list[str], place: int) -> list[str]:
    return ["label" if i == place else name for i, name in enumerate(names)]


def read_table(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(last line of the row, its cells by column). Raises ValidationFailed naming the columns that are there."""
    at = [0]

    def told() -> Iterator[str]:
        for number, line in lines:
            at[0] = number
            yield line + "\n"

    text = told()
    names, delimiter = header_of(next(text, ""))
    if not WANTED.issubset(names):
        raise ValidationFailed(
            f"The first line must name the columns `text` and `label`; it names {', '.join(n for n in names if n)[:200]}.",
            [fault(1, "columns missing")],
        )
    reader = csv.DictReader(text, fieldnames=names, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield at[0], row
    except csv.Error as error:
        raise ValidationFailed(f"Line {at[0]} is not CSV: {error}.", [fault(at[0], str(error))]) from None
