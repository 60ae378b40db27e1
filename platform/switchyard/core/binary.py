"""Rows in PostgreSQL's binary COPY format, made from bytes that are ready: for tens of thousands of rows a second.

A row is its columns in the order of `Layout.columns`; what many rows have in common is encoded once. Times are microseconds
since 2000. Source: PostgreSQL's documentation of COPY, "Binary
Format", and of its types' send functions. Lengths and constraints stay the database's to check.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from switchyard.core.layouts import Columns

SIGNATURE, END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
SENT_TOGETHER = 60  # rows: tens of kilobytes
EPOCH_US = 946_684_800_000_000  # 2000-01-01 in microseconds of Unix time
_CODES = {
    "BigIntegerField": "q", "PositiveIntegerField": "i", "PositiveSmallIntegerField": "h", "FloatField": "d",
    "DateTimeField": "q", "BooleanField": "?", "ForeignKey": "q",
}  # fmt: skip
_JSONB_VERSION = b"\x01"
_length = struct.Struct(">i").pack
_big = struct.Struct(">iq").pack


def text(value: str) -> bytes:
    raw = value.encode()
    return _length(len(raw)) + raw


def json_document(raw: bytes) -> bytes:
    """A document for a column of type jsonb."""
    return _length(len(raw) + 1) + _JSONB_VERSION + raw


def big(value: int | None) -> bytes:
    """A bigint that may be missing."""
    return NULL if value is None else _big(8, value)


def moment(at_ns: int) -> int:
    """A time as a figure: nanoseconds of Unix time → microseconds since 2000."""
    return at_ns // 1000 - EPOCH_US


_ENCODERS: dict[str, Callable[[Any], bytes]] = {"BigIntegerField": big, "JSONField": json_document}


@dataclass(slots=True)
class Layout(Columns):
    """Figures can't be null; own columns are text, JSON or whole numbers that may be missing."""

    head: bytes = field(init=False)  # with which every row begins
    _encoders: tuple[Callable[[Any], bytes], ...] = field(init=False)
    _pack: Any = field(init=False)
    _blank: list[int] = field(init=False)

    def __post_init__(self) -> None:
        super(Layout, self).__post_init__()
        codes = [_CODES[self.fields[name].get_internal_type()] for name in self.figures]
        packed = struct.Struct(">" + "".join(f"i{code}" for code in codes))
        self._pack = packed.pack
        self._blank = [part for code in codes for part in (struct.calcsize(">" + code), 0)]
        self._encoders = tuple(
            _ENCODERS.get(self.fields[name].get_internal_type(), text) for name in self.own
        )
        self.head = struct.pack(">h", len(self.columns))

    def row(self, own: Iterable[Any], figures: Sequence[Any], shared: bytes) -> bytes:
        """JSON comes as bytes. struct.error for what a column can't hold."""
        encoded = [encode(value) for encode, value in zip(self._encoders, own, strict=True)]
        return b"".join((self.head, *encoded, self.pack(figures), shared))

    def pack(self, figures: Sequence[Any]) -> bytes:
        """The figures of a row. struct.error for what its column can't hold."""
        values = self._blank[:]
        values[1::2] = figures
        return self._pack(*values)

    def share(self, values: Mapping[str, Any]) -> bytes:
        """The shared columns of many rows: text, whole numbers, booleans, or None. struct.error as in `pack`."""
        return b"".join(self._value(name, values[name]) for name in self.shared)

    def _value(self, name: str, value: Any) -> bytes:
        if value is None:
            return NULL
        code = _CODES.get(self.fields[name].get_internal_type())
        if code is None:
            return text(value)
        return struct.pack(f">i{code}", struct.calcsize(">" + code), value)

    def insert(self, rows: Iterable[bytes]) -> None:
        """Write rows into the table; nothing, when there are none. IntegrityError or DataError as any insert: then none of them
        is written. A generator makes rows while the database, on another core, takes those before."""
        source = iter(rows)
        some = list(itertools.islice(source, SENT_TOGETHER))
        if not some:
            return
        statement = f"COPY {self.model._meta.db_table} ({self.list}) FROM STDIN (FORMAT BINARY)"
        with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(statement) as copy:  # type: ignore[attr-defined]
            copy.write(SIGNATURE)
            while some:
                copy.write(b"".join(some))
                some = list(itertools.islice(source, SENT_TOGETHER))
            copy.write(END)
