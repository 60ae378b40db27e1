"""From checked columns to what each model reads. The same code runs in training and serving; numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelhub.ml.tabular.schema import NUMBERS

WINDOW = 30  # cycles that the remaining-life model looks at, the current one included
QUIET_SENSORS = {"sensor_01", "sensor_05", "sensor_06", "sensor_10", "sensor_16", "sensor_18", "sensor_19"}
TREND = [
    place
    for place, name in enumerate(NUMBERS["remaining-life"])
    if name.startswith("sensor") and name not in QUIET_SENSORS
]


def raw(rows: np.ndarray) -> np.ndarray:
    """The columns as they are: (N, C) -> (N, C) float32."""
    return rows.astype(np.float32)


def equipment(rows: np.ndarray) -> np.ndarray:
    """Machine columns (N, 6) and three that physics gives: heat to shed, power in watts, strain (N, 9)."""
    air, process, speed, torque, wear = rows[:, 1:].T
    power = torque * speed * (2 * np.pi / 60)
    return np.column_stack([rows, process - air, power, wear * torque]).astype(np.float32)


def trend_of(window: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """One engine's last cycles (T, 25), oldest first, as (F,): cycle, length, and each sensor's level and drift.

    Level is the last value and the means of 5 and of all; drift is the least-squares slope per cycle.
    """
    cycles = np.asarray(window[-WINDOW:], np.float64)
    sensors, count = cycles[:, TREND], len(cycles)
    time = np.arange(count) - (count - 1) / 2
    spread = float((time**2).sum())
    slope = time @ (sensors - sensors.mean(0)) / spread if spread else np.zeros(len(TREND))
    head = np.array([cycles[-1, 0], count])
    levels = [sensors[-1], sensors[-5:].mean(0), sensors.mean(0)]
    return np.concatenate([head, *levels, slope]).astype(np.float32)


FEATURES = {"raw": raw, "equipment": equipment}
