"""Which columns each prediction takes, and how a record is checked before a model sees it. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelhub.ml.pricing.catalogue import PRODUCTS, STORES, WEEKS_PER_YEAR

HISTORY = "history"


class RecordError(ValueError):
    """A record cannot be predicted on. Carries `index` (place in the request), `column` and `message`."""

    def __init__(self, index: int, column: str, message: str) -> None:
        super().__init__(f"records[{index}].{column}: {message}")
        self.index, self.column, self.message = index, column, message


@dataclass(frozen=True)
class Column:
    """One column: `number`, `integer` (a whole number within `values` when given) or `category`."""

    name: str
    type: str = "number"
    values: tuple[Any, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As the manifest and `/v1` documentation show it."""
        shown: dict[str, Any] = {"name": self.name, "type": self.type}
        return shown | ({"values": list(self.values)} if self.values else {})

    @classmethod
    def from_dict(cls, shown: dict[str, Any]) -> Column:
        """The inverse of `to_dict`."""
        return cls(shown["name"], shown["type"], tuple(shown.get("values", ())))

    def check(self, value: Any, index: int, prefix: str = "") -> float:
        """The value as a number (a category by its place in `values`). Raises RecordError."""
        name = f"{prefix}{self.name}"
        if self.type == "category":
            if not isinstance(value, str):
                raise RecordError(index, name, f"expected a string, got {_kind(value)}")
            if value not in self.values:
                raise RecordError(
                    index, name, f"{value[:40]!r} is unknown: expected one of {list(self.values)}"
                )
            return float(self.values.index(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecordError(index, name, f"expected a number, got {_kind(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or abs(number) > 1e30:
            raise RecordError(index, name, "expected a finite number")
        if self.type == "integer":
            if number != int(number):
                raise RecordError(index, name, f"expected a whole number, got {number!r}")
            if self.values and int(number) not in self.values:
                raise RecordError(
                    index, name, f"{int(number)} is outside {self.values[0]} to {self.values[-1]}"
                )
        return number


def _kind(value: Any) -> str:
    names = {bool: "true or false", str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def check_row(record: Any, columns: Sequence[Column], index: int, prefix: str = "") -> list[float]:
    """One record's values in column order; other keys are ignored. Raises RecordError on the first fault."""
    if not isinstance(record, dict):
        raise RecordError(index, prefix.rstrip(".") or "record", f"expected an object, got {_kind(record)}")
    for column in columns:
        if column.name not in record:
            raise RecordError(index, f"{prefix}{column.name}", "is missing")
    return [column.check(record[column.name], index, prefix) for column in columns]


def check_history(
    record: dict[str, Any], columns: Sequence[Column], index: int, longest: int
) -> list[list[float]]:
    """A record's earlier cycles (the last `longest` of them) and the record itself, oldest first.

    Raises RecordError, also where the cycles do not rise.
    """
    history = record.get(HISTORY, [])
    if history is None:
        history = []
    if not isinstance(history, list):
        raise RecordError(index, HISTORY, f"expected a list of earlier cycles, got {_kind(history)}")
    if len(history) > 10_000:
        raise RecordError(index, HISTORY, f"{len(history)} cycles are too many: at most 10,000")
    first = max(0, len(history) - longest)
    rows = [
        check_row(row, columns, index, f"{HISTORY}[{first + place}].")
        for place, row in enumerate(history[first:])
    ]
    rows.append(check_row(record, columns, index))
    cycle = [column.name for column in columns].index("cycle")
    if any(later[cycle] <= earlier[cycle] for earlier, later in zip(rows, rows[1:], strict=False)):
        raise RecordError(index, HISTORY, "cycles must rise towards the record's own")
    return rows


NUMBERS = {
    "equipment-fault": (
        "air_temperature_k",
        "process_temperature_k",
        "rotational_speed_rpm",
        "torque_nm",
        "tool_wear_min",
    ),
    "plate-fault": (
        "x_minimum", "x_maximum", "y_minimum", "y_maximum", "pixels_areas", "x_perimeter", "y_perimeter",
        "sum_of_luminosity", "minimum_of_luminosity", "maximum_of_luminosity", "length_of_conveyer",
        "typeofsteel_a300", "typeofsteel_a400", "steel_plate_thickness", "edges_index", "empty_index", "square_index",
        "outside_x_index", "edges_x_index", "edges_y_index", "outside_global_index", "logofareas", "log_x_index",
        "log_y_index", "orientation_index", "luminosity_index", "sigmoidofareas",
    ),
    "remaining-life": (
        "cycle", "setting_1", "setting_2", "setting_3", *(f"sensor_{number:02d}" for number in range(1, 22)),
    ),
}  # fmt: skip

COLUMNS: dict[str, tuple[Column, ...]] = {
    "equipment-fault": (
        Column("type", "category", ("L", "M", "H")),
        *(Column(name) for name in NUMBERS["equipment-fault"]),
    ),
    "plate-fault": tuple(Column(name) for name in NUMBERS["plate-fault"]),
    "remaining-life": tuple(Column(name) for name in NUMBERS["remaining-life"]),
    "price-advice": (
        Column("product", "category", tuple(PRODUCTS)),
        Column("price"),
        Column("feature_ad", "integer", (0, 1)),
        Column("week", "integer", tuple(range(1, WEEKS_PER_YEAR + 1))),
        Column("store", "category", STORES),
    ),
}
