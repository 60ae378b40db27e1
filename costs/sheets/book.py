"""Pure: a price file, whichever of the formats it is in, as rows."""

from __future__ import annotations

from datetime import datetime

from costs.sheets.book_csv import read_csv
from costs.sheets.book_litellm import read_litellm
from costs.sheets.rows import MOST_BYTES, Book, Wanted, faulty
from switchyard.core.errors import ValidationFailed

FORMATS = ("csv", "litellm")


def decode(content: bytes) -> str:
    """UTF-8 or nothing. Raises ValidationFailed."""
    if len(content) > MOST_BYTES:
        raise _too_large()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise faulty("the file is not UTF-8 text", content[: error.start].count(b"\n") + 1) from None


def read_book(text: str, *, kind: str, at: datetime, wanted: Wanted) -> Book:
    """The rows in force at `at` of models that somebody uses. Raises ValidationFailed for a file that is none."""
    if kind not in FORMATS:
        raise ValidationFailed(f"{kind!r} is no format: {' or '.join(FORMATS)}.", param="format")
    try:
        if len(text.encode()) > MOST_BYTES:
            raise _too_large()
    except UnicodeEncodeError as error:
        raise faulty("the file is not UTF-8 text", text.count("\n", 0, error.start) + 1) from None
    if "\x00" in text:
        raise faulty(
            "the file is not text: it holds a zero byte", text.count("\n", 0, text.index("\x00")) + 1
        )
    text = text.removeprefix("\ufeff")
    return read_csv(text, at, wanted) if kind == "csv" else read_litellm(text, wanted)


def _too_large() -> ValidationFailed:
    return ValidationFailed(f"The file is larger than {MOST_BYTES // 1024 // 1024} MiB.", param="text")
