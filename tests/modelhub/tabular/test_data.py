"""Records carry the data sets' own columns and types, and nothing that gives the answer away."""

from __future__ import annotations

import pytest

from modelhub.ml.tabular import data
from modelhub.ml.tabular.schema import COLUMNS


def test_equipment_rows_leave_out_ids_target_and_failure_modes():
    records, targets = data.load("equipment-fault", "val")
    assert len(records) == len(targets) == 1050
    assert set(records[0]) == {
        "type",
        "air_temperature_k",
        "process_temperature_k",
        "rotational_speed_rpm",
        "torque_nm",
        "tool_wear_min",
    }
    assert set(targets) == {0, 1}
    assert all(type(target) is int for target in targets)


def test_plate_rows_have_27_measures_and_seven_faults():
    records, targets = data.load("plate-fault", "train")
    assert len(records[0]) == 27
    assert "fault" not in records[0]
    assert len(set(targets)) == 7
    assert "k_scatch" in targets


def test_engine_samples_end_with_the_last_cycle_and_carry_what_came_before():
    records, targets = data.load("remaining-life", "val")
    by_engine = data.engines(data.read("remaining-life", "val"))
    assert len(records) == 12 * len(by_engine)
    assert targets[11] == 0
    record = records[11]
    assert "rul" not in record
    assert "unit" not in record
    assert [row["cycle"] for row in record["history"]] == list(range(record["cycle"] - 29, record["cycle"]))
    assert data.load("remaining-life", "val")[0] == records
    engines = data.engine_of_samples(by_engine)
    assert len(engines) == len(records)
    assert len(set(engines[:12])) == 1


def test_no_engine_is_in_both_parts():
    units = [{row["unit"] for row in data.read("remaining-life", split)} for split in ("train", "val")]
    assert not units[0] & units[1]


@pytest.mark.parametrize("workload", data.WORKLOADS)
def test_every_workload_gives_the_columns_it_declares(workload: str):
    records, targets = data.load(workload, "val")
    assert len(records) == len(targets) > 0
    assert [name for name in records[0] if name != "history"] == [column.name for column in COLUMNS[workload]]


def test_unknown_workloads_and_splits_are_refused():
    with pytest.raises(KeyError, match="no prediction workload"):
        data.load("weather", "val")
    with pytest.raises(ValueError, match="expected train or val"):
        data.load("plate-fault", "test")
