"""A seeded retailer: weekly sales of a few products in a few stores, with demand that is known exactly.

Demand is `base · store · season · exp(-slope · (price - reference)) · ad`, with price sensitivity that differs
by store and sharpens under an advertisement, times lognormal noise. Because it is known, so is the price that
earns most, and advice can be judged against it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from modelhub.ml.pricing.catalogue import PRODUCTS, STORES, WEEKS_PER_YEAR

SEED = 2026
YEARS = 3
VAL_WEEKS = 26  # the last half year is for validation
NOISE = 0.12  # standard deviation of log demand around its expectation
AD_SHARPENS = 1.15  # an advertisement makes buyers look at the price more
PRICE_BAND = (0.75, 1.25)  # of the reference price: what the retailer ever charges


@cache
def store_traits() -> dict[str, tuple[float, float]]:
    """Each store's size and its buyers' price sensitivity, both around 1."""
    rng = np.random.default_rng(SEED)
    return {
        store: (float(np.exp(rng.normal(0, 0.35))), float(np.exp(rng.normal(0, 0.08)))) for store in STORES
    }


def expected_units(product: str, price: float, feature_ad: int, week: int, store: str) -> float:
    """The true mean of weekly units at a price."""
    item = PRODUCTS[product]
    size, sensitivity = store_traits()[store]
    season = 1 + item.season * math.cos(2 * math.pi * (week - item.peak_week) / WEEKS_PER_YEAR)
    slope = item.slope * sensitivity * (AD_SHARPENS if feature_ad else 1.0)
    advertised = math.exp(item.ad_lift * feature_ad)
    return (
        item.units_per_week * size * season * advertised * math.exp(-slope * (price - item.reference_price))
    )


def price_limits(product: str) -> tuple[float, float]:
    """The lowest and highest price the retailer charges for a product."""
    reference = PRODUCTS[product].reference_price
    return round(reference * PRICE_BAND[0], 2), round(reference * PRICE_BAND[1], 2)


def expected_profit(product: str, price: float, feature_ad: int, week: int, store: str) -> float:
    """The true mean of weekly profit at a price, in dollars."""
    return (price - PRODUCTS[product].unit_cost) * expected_units(product, price, feature_ad, week, store)


def best_price(product: str, feature_ad: int, week: int, store: str) -> tuple[float, float]:
    """The price to the cent that truly earns most within the limits, and what it earns."""
    low, high = price_limits(product)
    prices = np.round(np.arange(round(low * 100), round(high * 100) + 1) / 100, 2)
    profits = [expected_profit(product, float(price), feature_ad, week, store) for price in prices]
    place = int(np.argmax(profits))
    return float(prices[place]), profits[place]


@cache
def _history() -> tuple[tuple[dict[str, Any], int, bool], ...]:
    """Every product, store and week: record, units sold, and whether it lies in the last half year."""
    rng = np.random.default_rng(SEED + 1)
    sold = []
    for product, item in PRODUCTS.items():
        low, high = price_limits(product)
        for store in STORES:
            regular = item.reference_price * rng.uniform(0.95, 1.1)
            for place in range(YEARS * WEEKS_PER_YEAR):
                regular = float(np.clip(regular * math.exp(rng.normal(0, 0.03)), low * 1.05, high))
                feature_ad = int(rng.random() < 0.18)
                cut = rng.uniform(0.75, 0.92) if feature_ad else 1.0
                price = round(float(np.clip(regular * cut, low, high)), 2)
                record: dict[str, Any] = {
                    "product": product,
                    "price": price,
                    "feature_ad": feature_ad,
                    "week": place % WEEKS_PER_YEAR + 1,
                    "store": store,
                }
                mean = expected_units(**record)
                units = int(round(mean * math.exp(rng.normal(-(NOISE**2) / 2, NOISE))))
                sold.append((record, units, place >= YEARS * WEEKS_PER_YEAR - VAL_WEEKS))
    return tuple(sold)


def rows(split: str) -> tuple[list[dict[str, Any]], list[int]]:
    """Records and units sold: the last half year is `val`, all before it `train`."""
    wanted = [(dict(record), units) for record, units, late in _history() if late == (split == "val")]
    return [record for record, _ in wanted], [units for _, units in wanted]
