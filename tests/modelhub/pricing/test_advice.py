"""Advice finds the best price of a known curve, and stays put when it should."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from modelhub.ml.pricing import measure
from modelhub.ml.pricing.advice import advise


def curve(slope: float, base: float = 100.0):
    return lambda prices: base * np.exp(-slope * np.asarray(prices))


def test_the_advised_price_is_the_best_of_the_curve_within_a_grid_step():
    found = advise(2.0, (1.0, 4.0), 1.5, curve(1.0))  # best: cost + 1/slope = 2.50
    assert found["price"] == pytest.approx(2.5, abs=0.04)
    before, after = 0.5 * 100 * math.exp(-2.0), (found["price"] - 1.5) * 100 * math.exp(-found["price"])
    assert found["profit_change"] == pytest.approx(after - before, abs=0.01)
    assert found["units"] == round(100 * math.exp(-found["price"]))


def test_advice_stays_within_the_prices_seen_and_above_cost():
    assert advise(2.0, (1.0, 2.2), 1.5, curve(0.1))["price"] == 2.2
    assert advise(2.0, (1.0, 3.0), 1.9, curve(50.0))["price"] > 1.9


def test_a_price_that_is_already_best_is_kept():
    assert advise(2.5, (1.0, 4.0), 1.5, curve(1.0)) == {
        "price": 2.5,
        "units": round(100 * math.exp(-2.5)),
        "profit_change": 0.0,
    }


def test_no_advice_is_built_on_a_number_that_is_none():
    def broken(prices: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(prices) == 2.0, 10.0, np.nan)

    assert advise(2.0, (1.0, 4.0), 1.5, broken) == {"price": 2.0, "units": 10, "profit_change": 0.0}


def test_limits_that_do_not_cover_the_cost_leave_the_price_alone():
    assert advise(2.0, (1.0, 1.4), 1.5, curve(1.0))["price"] == 2.0


def test_the_benchmark_recovers_the_elasticity_of_made_up_juice(tmp_path: Path):
    rng = np.random.default_rng(0)
    (tmp_path / "pricing").mkdir()
    for split, count in (("train", 400), ("val", 100)):
        path = tmp_path / "pricing" / f"orange_juice_{split}.csv.gz"
        with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["units", "price", "brand", "feature_ad"])
            for _ in range(count):
                price = rng.uniform(1.5, 2.5)
                units = 1000 * math.exp(-1.2 * price + rng.normal(0, 0.05))
                writer.writerow([f"{units:.1f}", f"{price:.3f}", "acme", int(rng.random() < 0.2)])
    figures = measure.measure_all(tmp_path)
    assert list(figures) == ["orange juice"]
    found = figures["orange juice"]
    assert float(found["elasticities"].split()[1]) == pytest.approx(-2.4, abs=0.1)
    assert found["mape"]["value"] < 0.06 < found["control_mape"]["value"]
    assert found["correct"]["value"] > 0.98


def test_the_benchmark_reads_nothing_without_its_setting(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.delenv("SWITCHYARD_DATA", raising=False)
    assert measure.main() == 2
    assert "SWITCHYARD_DATA" in capsys.readouterr().err
