"""What fresh attempts add to the roll-ups: summed by their names once a batch, written in the transaction that books them. So
a roll-up costs as much as what came, however full its hour is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.db import connection

from costs import rollups
from costs.models import Attempt, Spend, SpendDay, SpendHour
from switchyard.core.bulk import Row, table_of

HOURS_A_DAY = 24
NAMES = rollups.SPEND_NAMES
FIELDS = tuple(rollups.SPEND_FIELDS)  # the six that depend on the answer, then SUMMED
_COST = rollups.SUMMED.index("cost_nusd")
_ATTEMPTS = table_of(Attempt)
_place = _ATTEMPTS.columns.index
_AT = _place("at")
_names = itemgetter(*map(_place, NAMES))
_figures = itemgetter(*map(_place, rollups.SUMMED))
_said = itemgetter(*map(_place, ("at", "superseded", "answered", "status", "other_side_cost_nusd")))


class Sums:
    """Take attempts as they are made into rows, write what they come to at the end."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)

    def take(
        self, names: tuple[Any, ...], hour: int, answered: bool, ok: bool, other: int | None, figures: Sequence[Any]
    ) -> None:  # fmt: skip
        """`names` as NAMES, `hour` since the epoch, `other`: what the other side would have cost, in nano-dollars, of an
        attempt that answered; `figures` as rollups.SUMMED."""
        self._cells[names, hour, answered, ok, other is not None].append((other or 0, *figures))

    def write(self) -> None:
        """In the caller's transaction, after its attempts."""
        if not self._cells:
            return
        hours: dict[tuple[Any, ...], list[Any]] = {}
        days: dict[tuple[Any, ...], list[Any]] = {}
        for (names, hour, answered, ok, known), taken in self._cells.items():
            other, *sums = map(sum, zip(*taken, strict=True))
            n, cost = len(taken) * answered, sums[_COST] * answered
            came = (n, 0 if ok else len(taken), cost, n * known, other * answered, cost * known, *sums)
            for cells, start in ((hours, hour), (days, hour - hour % HOURS_A_DAY)):
                before = cells.get((start, *names))
                cells[(start, *names)] = (
                    list(came) if before is None else [a + b for a, b in zip(before, came, strict=True)]
                )
        rollups.lock(rollups.HOUR_LOCKS, (start for start, *_ in hours), alone=False)
        _add(SpendHour, hours)
        rollups.lock(rollups.DAY_LOCKS, (start // HOURS_A_DAY for start, *_ in days), alone=False)
        _add(SpendDay, days)


def add_rows(attempts: Iterable[Row]) -> None:
    """Rows of attempts, in the order of their columns, that the caller's transaction has written."""
    sums = Sums()
    for row in attempts:
        at, superseded, answered, status, other = _said(row)
        if not superseded:
            sums.take(_names(row), _hour(at), answered, status == "ok", other, _figures(row))
    sums.write()


def refresh_rows(attempts: Iterable[Row]) -> None:
    """The hours of such rows from all their attempts, where nobody can tell which of the rows were ours."""
    hours = {_hour(row[_AT]) for row in attempts}
    rollups.refresh_hours(datetime.fromtimestamp(hour * 3600, UTC) for hour in hours)


def _hour(at: str) -> int:
    """A time as the database keeps it → hours since the epoch."""
    return _hour_of(at[:13])


@lru_cache(maxsize=1024)
def _hour_of(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H").replace(tzinfo=UTC).timestamp()) // 3600


def _add(model: type[Spend], cells: dict[tuple[Any, ...], list[Any]]) -> None:
    """In a fixed order: writers side by side take their row locks in the same one."""
    moment = connection.ops.adapt_datetimefield_value
    rows = [
        (moment(datetime.fromtimestamp(start * 3600, UTC)), *names, *values)
        for (start, *names), values in sorted(cells.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_statement(model), rows)


@lru_cache(maxsize=4)
def _statement(model: type[Spend]) -> str:
    table = model._meta.db_table
    left_out = [*rollups.LATER_FIELDS]  # written by others; they begin with nothing
    columns = ["start", *NAMES, *FIELDS]
    marks = ", ".join(["%s"] * len(columns) + ["0"] * len(left_out))
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in FIELDS)
    return (
        f"INSERT INTO {table} ({', '.join(columns + left_out)}) VALUES ({marks}) "
        f"ON CONFLICT ({', '.join(Spend.NAMES)}) DO UPDATE SET {added}"
    )
