"""The retail generator does what its card says: seeded, with the elasticities it names and a known best price."""

from __future__ import annotations

import pytest

from modelhub.ml.pricing import generator
from modelhub.ml.pricing.catalogue import PRODUCTS, SOURCES, STORES

RANGES = {"orange-juice": (-3.5, -1.8), "avocado": (-0.9, -0.4)}


@pytest.mark.parametrize("name", PRODUCTS)
def test_elasticity_at_the_reference_price_is_the_one_named_and_lies_in_the_published_range(name: str):
    item = PRODUCTS[name]
    low, high = RANGES[item.family]
    assert low <= item.elasticity <= high
    assert item.family in SOURCES
    store = STORES[0]
    step = item.reference_price * 1e-4
    around = [
        generator.expected_units(name, item.reference_price + sign * step, 0, 10, store) for sign in (-1, 1)
    ]
    slope = (around[1] - around[0]) / (around[0] + around[1]) / 1e-4
    assert slope == pytest.approx(item.elasticity * generator.store_traits()[store][1], rel=1e-4)


def test_the_best_price_beats_its_neighbours_and_is_cost_plus_one_over_slope_inside_the_limits():
    name, store = "orange-juice-brand", STORES[2]
    item = PRODUCTS[name]
    price, profit = generator.best_price(name, 0, 10, store)
    for other in (price - 0.01, price + 0.01):
        assert generator.expected_profit(name, other, 0, 10, store) <= profit
    slope = item.slope * generator.store_traits()[store][1]
    assert price == pytest.approx(item.unit_cost + 1 / slope, abs=0.006)


def test_inelastic_goods_are_best_at_the_upper_limit():
    assert generator.best_price("avocado-conventional", 0, 1, STORES[0])[0] == 1.5


def test_rows_are_the_same_every_time_and_cannot_be_changed_by_a_caller():
    generator._history.cache_clear()
    first = generator.rows("val")
    generator._history.cache_clear()
    assert generator.rows("val") == first
    first[0][0]["price"] = -1
    assert generator.rows("val")[0][0]["price"] > 0


def test_validation_is_the_last_half_year():
    train, val = generator.rows("train")[0], generator.rows("val")[0]
    per_series = len(PRODUCTS) * len(STORES)
    assert len(val) == 26 * per_series
    assert len(train) == 130 * per_series
    assert {record["week"] for record in val} == set(range(27, 53))


def test_sales_scatter_around_their_expectation_as_the_noise_says():
    records, units = generator.rows("train")
    ratios = [sold / generator.expected_units(**record) for record, sold in zip(records, units, strict=True)]
    mean = sum(ratios) / len(ratios)
    spread = (sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios)) ** 0.5
    assert mean == pytest.approx(1, abs=0.01)
    assert spread == pytest.approx(generator.NOISE, rel=0.05)
