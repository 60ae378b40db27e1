"""The tabular runner: answers in the data sets' own types, and a clear refusal of every bad record."""

from __future__ import annotations

import copy
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelhub.artifacts import ArtifactCorrupt
from modelhub.ml.pricing.catalogue import PRODUCTS
from modelhub.ml.tabular import data
from modelhub.serving.runners.tabular import RecordError, TabularModel, UnknownHead
from tests.modelhub.tabular.smoke import smoke_artifact

MACHINE = {
    "type": "M",
    "air_temperature_k": 298.1,
    "process_temperature_k": 308.6,
    "rotational_speed_rpm": 1551,
    "torque_nm": 42.8,
    "tool_wear_min": 0,
}
OFFER = {"product": "avocado-organic", "price": 1.65, "feature_ad": 0, "week": 20, "store": "store-03"}


@pytest.fixture(scope="module")
def model() -> TabularModel:
    return TabularModel(smoke_artifact())


def engine(place: int = 7) -> dict[str, Any]:
    return copy.deepcopy(data.load("remaining-life", "val")[0][place])


def test_a_fault_is_0_or_1_with_the_probability_of_a_failure(model: TabularModel):
    worn = {**MACHINE, "torque_nm": 70.0, "tool_wear_min": 220, "type": "L"}
    calm, alarm = model.predict("equipment-fault", [MACHINE, worn])
    assert calm["prediction"] == 0
    assert type(calm["prediction"]) is int
    assert 0 <= calm["probability"] < alarm["probability"] <= 1
    threshold = model.heads["equipment-fault"]["threshold"]
    assert alarm["prediction"] == int(alarm["probability"] >= threshold)


def test_a_plate_fault_is_one_of_the_sets_own_names(model: TabularModel):
    records, _ = data.load("plate-fault", "val")
    items = model.predict("plate-fault", records[:20])
    assert len(items) == 20
    assert {item["prediction"] for item in items} <= set(model.heads["plate-fault"]["labels"])
    assert all(1 / 7 <= item["probability"] <= 1 for item in items)


def test_cycles_left_are_a_number_between_their_bounds_with_or_without_history(model: TabularModel):
    record = engine()
    bare = {name: value for name, value in record.items() if name != "history"}
    for item in model.predict("remaining-life", [record, bare]):
        assert type(item["prediction"]) is int
        assert 0 <= item["low"] <= item["prediction"] <= item["high"] <= 125


def test_only_the_last_cycles_of_a_long_history_count(model: TabularModel):
    record = engine()
    older = [{**record["history"][0], "cycle": cycle - 1000} for cycle in range(5)]
    longer = {**record, "history": [*older, *record["history"]]}
    assert len(record["history"]) == 29
    assert model.predict("remaining-life", [longer]) == model.predict("remaining-life", [record])


def test_an_offer_is_answered_with_units_and_advice_within_prices_ever_charged(model: TabularModel):
    (item,) = model.predict("price-advice", [OFFER])
    assert item["low"] <= item["prediction"] <= item["high"]
    assert set(item["advice"]) == {"price", "units", "profit_change"}
    known = model.heads["price-advice"]["catalogue"][OFFER["product"]]
    assert known["low"] <= item["advice"]["price"] <= known["high"]
    assert item["advice"]["price"] > PRODUCTS[OFFER["product"]].unit_cost
    assert item["advice"]["profit_change"] >= 0


def test_an_absurd_price_still_gets_numbers(model: TabularModel):
    for price in (0.01, 1e9):
        (item,) = model.predict("price-advice", [{**OFFER, "price": price}])
        assert all(math.isfinite(number) for number in [item["prediction"], *item["advice"].values()])


@pytest.mark.parametrize(
    ("head", "record", "column", "words"),
    [
        (
            "equipment-fault",
            {k: v for k, v in MACHINE.items() if k != "torque_nm"},
            "torque_nm",
            "is missing",
        ),
        ("equipment-fault", {**MACHINE, "torque_nm": math.nan}, "torque_nm", "finite"),
        ("equipment-fault", {**MACHINE, "torque_nm": -math.inf}, "torque_nm", "finite"),
        ("equipment-fault", {**MACHINE, "torque_nm": 10**400}, "torque_nm", "finite"),
        ("equipment-fault", {**MACHINE, "torque_nm": "42"}, "torque_nm", "expected a number, got a string"),
        ("equipment-fault", {**MACHINE, "torque_nm": True}, "torque_nm", "got true or false"),
        ("equipment-fault", {**MACHINE, "torque_nm": None}, "torque_nm", "got null"),
        ("equipment-fault", {**MACHINE, "type": "X"}, "type", "unknown: expected one of"),
        ("equipment-fault", {**MACHINE, "type": 2}, "type", "expected a string"),
        ("equipment-fault", [1, 2], "record", "expected an object"),
        ("price-advice", {**OFFER, "price": 0}, "price", "above 0"),
        ("price-advice", {**OFFER, "week": 53}, "week", "outside 1 to 52"),
        ("price-advice", {**OFFER, "week": 1.5}, "week", "whole number"),
        ("price-advice", {**OFFER, "feature_ad": 2}, "feature_ad", "outside 0 to 1"),
        ("price-advice", {**OFFER, "store": "store-99"}, "store", "unknown"),
    ],
)
def test_a_bad_record_is_refused_by_place_and_column(
    model: TabularModel, head: str, record: Any, column: str, words: str
):
    good = MACHINE if head == "equipment-fault" else OFFER
    with pytest.raises(RecordError) as caught:
        model.predict(head, [good, record])
    assert (caught.value.index, caught.value.column) == (1, column)
    assert words in caught.value.message


def test_bad_history_is_refused_with_its_cycle(model: TabularModel):
    record = engine()
    del record["history"][-2]["sensor_07"]
    with pytest.raises(RecordError, match=r"records\[0\]\.history\[27\]\.sensor_07: is missing"):
        model.predict("remaining-life", [record])
    with pytest.raises(RecordError, match="expected a list of earlier cycles, got a string"):
        model.predict("remaining-life", [{**engine(), "history": "none"}])
    with pytest.raises(RecordError, match="cycles must rise"):
        model.predict("remaining-life", [{**engine(), "history": engine()["history"][::-1]}])
    assert model.predict("remaining-life", [{**engine(), "history": None}])


def test_other_keys_are_ignored_and_order_is_kept(model: TabularModel):
    extra = {"udi": 1, **dict(reversed(MACHINE.items())), "note": "x"}
    assert model.predict("equipment-fault", [extra]) == model.predict("equipment-fault", [MACHINE])
    assert model.predict("equipment-fault", []) == []


def test_columns_are_told_and_unknown_heads_refused(model: TabularModel):
    columns = {column["name"]: column for column in model.columns("equipment-fault")}
    assert columns["type"] == {"name": "type", "type": "category", "values": ["L", "M", "H"]}
    assert columns["torque_nm"] == {"name": "torque_nm", "type": "number"}
    with pytest.raises(UnknownHead, match="weather"):
        model.predict("weather", [{}])


def test_a_changed_file_is_refused(tmp_path: Path):
    folder = tmp_path / "tabular"
    shutil.copytree(smoke_artifact(), folder)
    with (folder / "plate-fault.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactCorrupt):
        TabularModel(folder)
