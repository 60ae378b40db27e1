"""How the demand method does on real sales: `SWITCHYARD_DATA=… python -m modelhub.ml.pricing.measure`.

Reads orange juice and avocado sales from `SWITCHYARD_DATA` only. They are not shipped, and nothing fitted here
is kept: only the figures are.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from modelhub.ml.tabular import metrics

TOLERANCE = 0.15
SUMS_OF_REGIONS = {
    "TotalUS", "West", "Northeast", "Southeast", "SouthCentral", "Midsouth", "GreatLakes", "Plains", "California",
}  # fmt: skip
Table = list[dict[str, str]]


def read(data: Path, name: str, split: str) -> Table:
    """Rows of a pricing set. Raises FileNotFoundError."""
    with gzip.open(data / "pricing" / f"{name}_{split}.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def one_hot(values: list[str], names: list[str]) -> np.ndarray:
    """(N, len(names)); a value that was not in training has an empty row."""
    return np.array([[value == name for name in names] for value in values], float)


class Juice:
    """Units by brand, price and advertisement; the set names neither store nor week."""

    name, title = "orange_juice", "orange juice"
    form = "brand × (level, price, advertisement, both)"

    def __init__(self, rows: Table) -> None:
        self.groups = sorted({row["brand"] for row in rows})
        self.products = self.groups

    def group(self, row: dict[str, str]) -> str:
        """What usually sells how much: the brand."""
        return row["brand"]

    product = group

    def price(self, row: dict[str, str]) -> float:
        """Dollars."""
        return float(row["price"])

    def units(self, rows: Table) -> np.ndarray:
        """Units sold in a store and week."""
        return np.array([float(row["units"]) for row in rows])

    def features(self, rows: Table) -> np.ndarray:
        """Prices first, a column per product, then the rest."""
        brand = one_hot([row["brand"] for row in rows], self.products)
        price = np.array([self.price(row) for row in rows])[:, None]
        ad = np.array([float(row["feature_ad"]) for row in rows])[:, None]
        return np.hstack([brand * price, brand, brand * ad, brand * ad * price])


class Avocado:
    """Volume by region, kind, price and season; sums of regions are left out."""

    name, title = "avocado_weekly", "avocado"
    form = "region and kind level, price by kind, season"

    def __init__(self, rows: Table) -> None:
        self.groups = sorted({self.group(row) for row in rows})
        self.products = sorted({row["type"] for row in rows})

    def group(self, row: dict[str, str]) -> str:
        """What usually sells how much: a kind in a region."""
        return f"{row['region']}/{row['type']}"

    def product(self, row: dict[str, str]) -> str:
        """The kind."""
        return row["type"]

    def price(self, row: dict[str, str]) -> float:
        """Dollars each."""
        return float(row["average_price"])

    def units(self, rows: Table) -> np.ndarray:
        """Avocados sold in a region and week."""
        return np.array([float(row["total_volume"]) for row in rows])

    def features(self, rows: Table) -> np.ndarray:
        """Prices first, a column per product, then the rest."""
        kind = one_hot([row["type"] for row in rows], self.products)
        price = np.array([self.price(row) for row in rows])[:, None]
        level = one_hot([self.group(row) for row in rows], self.groups)
        day = np.array([datetime.date.fromisoformat(row["date"]).timetuple().tm_yday for row in rows])
        season = [wave(2 * math.pi * turns * day / 365.25) for turns in (1, 2) for wave in (np.sin, np.cos)]
        return np.hstack([kind * price, level, np.column_stack(season)])


def measure(kind: type[Juice] | type[Avocado], data: Path) -> dict[str, Any]:
    """Fit on training rows, judge on validation rows: MAPE, share within 15 %, and the median's MAPE beside."""
    train, val = (
        [row for row in read(data, kind.name, split) if row.get("region") not in SUMS_OF_REGIONS]
        for split in ("train", "val")
    )
    method = kind(train)
    model = Ridge(alpha=1e-2).fit(method.features(train), np.log(method.units(train)))
    truth, guess = method.units(val), np.exp(model.predict(method.features(val)))
    sold: dict[str, list[float]] = {group: [] for group in method.groups}
    for row, units in zip(train, method.units(train), strict=True):
        sold[method.group(row)].append(units)
    overall = float(np.median(method.units(train)))
    usual = np.array([np.median(sold.get(method.group(row)) or [overall]) for row in val])
    slopes = dict(zip(method.products, model.coef_, strict=False))
    prices = {p: np.mean([method.price(r) for r in train if method.product(r) == p]) for p in method.products}
    return {
        "form": method.form,
        "mape": metrics.bootstrap(lambda i: metrics.mape(truth[i], guess[i]), len(val)),
        "control_mape": metrics.bootstrap(lambda i: metrics.mape(truth[i], usual[i]), len(val)),
        "correct": metrics.wilson(int((np.abs(guess / truth - 1) <= TOLERANCE).sum()), len(val)),
        "n": len(val),
        "elasticities": ", ".join(f"{p} {slopes[p] * prices[p]:.2f}" for p in method.products),
    }


def measure_all(data: Path) -> dict[str, Any]:
    """Both sets, by title; a set that is not there is left out."""
    return {
        kind.title: measure(kind, data)
        for kind in (Juice, Avocado)
        if (data / "pricing" / f"{kind.name}_train.csv.gz").exists()
    }


def main() -> int:
    """Command line: prints the figures as JSON."""
    place = os.environ.get("SWITCHYARD_DATA")
    if not place:
        print("SWITCHYARD_DATA is not set: it must name the folder that holds pricing/", file=sys.stderr)
        return 2
    print(json.dumps(measure_all(Path(place)), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
