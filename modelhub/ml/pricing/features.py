"""What the demand model reads. The checked columns are product, price, feature_ad, week, store, as numbers."""

from __future__ import annotations

import numpy as np

from modelhub.ml.pricing.catalogue import PRODUCTS, STORES, WEEKS_PER_YEAR


def _one_hot(places: np.ndarray, size: int) -> np.ndarray:
    return (places[:, None].astype(int) == np.arange(size)).astype(np.float64)


def demand(rows: np.ndarray) -> np.ndarray:
    """For each product its level, price, advertisement, both together and season; each store's level.

    (N, 5) -> (N, 8·products + stores) float32. Prices are relative to the reference price.
    """
    product, price, ad, week, store = rows.T
    relative = price / np.array([item.reference_price for item in PRODUCTS.values()])[product.astype(int)] - 1
    angle = 2 * np.pi * week / WEEKS_PER_YEAR
    per_product = np.column_stack(
        [np.ones(len(rows)), relative, ad, relative * ad]
        + [wave(turns * angle) for turns in (1, 2) for wave in (np.sin, np.cos)]
    )
    crossed = _one_hot(product, len(PRODUCTS))[:, :, None] * per_product[:, None, :]
    return np.hstack([crossed.reshape(len(rows), -1), _one_hot(store, len(STORES))]).astype(np.float32)


def demand_small(rows: np.ndarray) -> np.ndarray:
    """Level and price per product, one advertisement effect, store levels; no season. (N, 5) -> (N, 25)."""
    product, price, ad, _week, store = rows.T
    relative = price / np.array([item.reference_price for item in PRODUCTS.values()])[product.astype(int)] - 1
    products = _one_hot(product, len(PRODUCTS))
    stores = _one_hot(store, len(STORES))
    return np.hstack([products, products * relative[:, None], ad[:, None], stores]).astype(np.float32)
