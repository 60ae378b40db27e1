"""Rows for SQLite, made of values that are ready: what many rows have in common is put together once. Times are text, as
Django keeps them there. Lengths and bounds are the caller's to check: SQLite doesn't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import connection, models

from switchyard.core.clock import from_ns
from switchyard.core.layouts import Columns

Row = tuple[Any, ...]


def moment(at_ns: int) -> str:
    """A time as the database keeps it: nanoseconds of Unix time → text in UTC, to the microsecond."""
    second, rest = divmod(at_ns // 1000, 1_000_000)
    return f"{_second(second)}.{rest:06d}" if rest else _second(second)


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return str(from_ns(second * 1_000_000_000))[:19]


@dataclass(slots=True)
class Layout(Columns):
    _documents: tuple[int, ...] = field(init=False)  # places of JSON among the own columns
    _statement: str = field(init=False)

    def __post_init__(self) -> None:
        super(Layout, self).__post_init__()
        self._documents = tuple(
            place for place, name in enumerate(self.own) if isinstance(self.fields[name], models.JSONField)
        )
        marks = ", ".join(["%s"] * len(self.columns))
        self._statement = f"INSERT INTO {self.model._meta.db_table} ({self.list}) VALUES ({marks})"

    def row(self, own: Iterable[Any], figures: Iterable[Any], shared: Row) -> Row:
        """JSON comes as bytes. UnicodeDecodeError for what is no text."""
        if self._documents:
            own = list(own)
            for place in self._documents:
                own[place] = own[place].decode()
        return (*own, *figures, *shared)

    def share(self, values: Mapping[str, Any]) -> Row:
        """The shared columns of many rows."""
        return tuple([values[name] for name in self.shared])

    def insert(self, rows: Iterable[Row]) -> None:
        """IntegrityError as any insert: then none of them is written."""
        some = list(rows)
        if some:
            with connection.cursor() as cursor:
                cursor.executemany(self._statement, some)
