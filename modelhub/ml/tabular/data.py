"""Rows of the prediction workloads as records and targets, exactly as `/v1/predictions` takes and gives them."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path
from typing import Any

from modelhub.ml.tabular.features import WINDOW
from modelhub.ml.tabular.schema import COLUMNS, HISTORY

DATA = Path(__file__).resolve().parents[3] / "data"
SOURCES = {
    "equipment-fault": ("ai4i2020", "machine_failure"),
    "plate-fault": ("steel_plates", "fault"),
    "remaining-life": ("cmapss_fd001", "rul"),
}
WORKLOADS = (*SOURCES, "price-advice")
LIFE_CAP = 125  # cycles; before that an engine shows no wear, so the target is cut there, as is usual
JUDGED_CYCLES = 12  # per engine and split, the last one among them
SAMPLE_SEED = 11

Records = list[dict[str, Any]]


def load(workload: str, split: str) -> tuple[Records, list[Any]]:
    """Records and targets of a workload; `split` is `train` or `val`.

    Targets have the data set's own type: 0 or 1, a fault's name, cycles left (not capped), units sold. An
    engine is judged at sampled cycles, with up to 29 earlier ones as `history`. Raises KeyError or ValueError
    on an unknown workload or split.
    """
    if split not in ("train", "val"):
        raise ValueError(f"split {split!r} is unknown: expected train or val")
    if workload == "price-advice":
        from modelhub.ml.pricing.generator import rows

        return rows(split)
    if workload not in SOURCES:
        raise KeyError(f"{workload!r} is no prediction workload; known: {', '.join(WORKLOADS)}")
    table, target = read(workload, split), SOURCES[workload][1]
    if workload == "remaining-life":
        return sampled_cycles(engines(table))
    records = [{column.name: row[column.name] for column in COLUMNS[workload]} for row in table]
    return records, [row[target] for row in table]


def read(workload: str, split: str) -> Records:
    """Every column of a data set's split, numbers as int or float, the rest as strings."""
    path = DATA / SOURCES[workload][0] / f"{split}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(stream)]


def engines(table: Records) -> dict[int, Records]:
    """C-MAPSS rows by engine, cycles rising."""
    grouped: dict[int, Records] = {}
    for row in table:
        grouped.setdefault(row["unit"], []).append(row)
    return {unit: sorted(rows, key=lambda row: row["cycle"]) for unit, rows in grouped.items()}


def sampled_cycles(by_engine: dict[int, Records]) -> tuple[Records, list[int]]:
    """Some cycles of each engine with their history, and the cycles left. The same sample every time."""
    chooser = random.Random(SAMPLE_SEED)
    names = [column.name for column in COLUMNS["remaining-life"]]
    records, targets = [], []
    for rows in by_engine.values():
        last = len(rows) - 1
        places = [*sorted(chooser.sample(range(last), min(JUDGED_CYCLES - 1, last))), last]
        for place in places:
            window = [
                {name: row[name] for name in names} for row in rows[max(0, place - WINDOW + 1) : place + 1]
            ]
            records.append({**window[-1], HISTORY: window[:-1]})
            targets.append(rows[place]["rul"])
    return records, targets


def engine_of_samples(by_engine: dict[int, Records]) -> list[int]:
    """The engine of each row that `sampled_cycles` gives, in its order (intervals are drawn by engine)."""
    return [unit for unit, rows in by_engine.items() for _ in range(min(JUDGED_CYCLES, len(rows)))]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
