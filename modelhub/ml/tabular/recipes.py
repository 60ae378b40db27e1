"""How each head is fitted: what it reads, which estimator, and what cross-validation on training rows decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_predict

from modelhub.ml.pricing import features as pricing_features
from modelhub.ml.pricing.catalogue import PRODUCTS
from modelhub.ml.pricing.generator import price_limits
from modelhub.ml.tabular import data, export, features, metrics
from modelhub.ml.tabular.schema import COLUMNS, check_row

LEAST_PRECISION = 0.6
BAND = (0.05, 0.95)  # low and high hold nine answers in ten


@dataclass(frozen=True)
class Size:
    """How large the models are, and how many rows a smoke run looks at."""

    name: str
    rows: int | None = None
    folds: int = 5
    seed: int = 0

    @property
    def small(self) -> bool:
        """The external stand-in's models, and those of a smoke run."""
        return self.name != "base"

    def trees(self, base: int, edge: int) -> int:
        """Trees for this size; a smoke run plants five."""
        return 5 if self.name == "smoke" else edge if self.small else base


@dataclass
class Fitted:
    """A fitted head: its part of the manifest, facts for the card, and how many numbers it stores."""

    head: dict[str, Any]
    facts: dict[str, Any]
    parameters: int


def table(workload: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Checked rows (N, C) float64 and targets (N,)."""
    records, targets = data.load(workload, split)
    rows = [check_row(record, COLUMNS[workload], index) for index, record in enumerate(records)]
    return np.array(rows), np.array(targets)


def some(size: Size, *arrays: np.ndarray) -> list[np.ndarray]:
    """The first rows of each, spread over the whole, for a smoke run; all of them otherwise."""
    if size.rows is None or size.rows >= len(arrays[0]):
        return list(arrays)
    places = np.linspace(0, len(arrays[0]) - 1, size.rows).astype(int)
    return [array[places] for array in arrays]


def head_of(workload: str, task: str, model: Any, encoding: str) -> dict[str, Any]:
    """The part of a manifest's head that all share."""
    return {
        "task": task,
        "file": workload,
        "output": export.output_name(model),
        "columns": [column.to_dict() for column in COLUMNS[workload]],
        "features": encoding,
        "labels": [],
    }


def equipment_fault(out: Path, size: Size) -> Fitted:
    """Boosting over readings and physics; the alarm threshold is set for precision 0.6 on held-out folds."""
    return fit_equipment(out, size, *some(size, *table("equipment-fault", "train")))


def fit_equipment(out: Path, size: Size, rows: np.ndarray, truth: np.ndarray) -> Fitted:
    """The same on any rows (N, C) and alarms (N,) of 0 and 1. Raises ValueError where no threshold is precise enough."""
    encoding = "raw" if size.small else "equipment"
    inputs = features.FEATURES[encoding](rows)
    model: Any = GradientBoostingClassifier(
        n_estimators=size.trees(60, 60), max_depth=3, learning_rate=0.1, random_state=size.seed
    )
    if not size.small:
        forest = RandomForestClassifier(120, min_samples_leaf=3, max_features=4, random_state=size.seed)
        model = VotingClassifier(
            [("boosting", model), ("forest", forest)], voting="soft", flatten_transform=False
        )
    folds = StratifiedKFold(size.folds, shuffle=True, random_state=size.seed)
    held_out = cross_val_predict(clone(model), inputs, truth, cv=folds, method="predict_proba")[:, 1]
    threshold = metrics.threshold_for_precision(truth, held_out, LEAST_PRECISION)
    precision, recall = metrics.precision_recall(truth, (held_out >= threshold).astype(int))
    model.fit(inputs, truth)
    difference = export.export(model, out / "equipment-fault.onnx", inputs[:500])
    head = head_of("equipment-fault", "binary", model, encoding)
    facts = {
        "cross_validated": metrics.rounded(
            {
                "pr_auc": metrics.average_precision(truth, held_out),
                "precision": precision,
                "recall": recall,
                "n": len(truth),
            }
        ),
        "onnx_difference": difference,
    }
    return Fitted(
        {**head, "labels": [0, 1], "threshold": round(threshold, 6)}, facts, export.stored_numbers(model)
    )


def plate_fault(out: Path, size: Size) -> Fitted:
    """Boosting over the 27 measures, seven kinds of fault."""
    return fit_plates(out, size, *some(size, *table("plate-fault", "train")))


def fit_plates(out: Path, size: Size, rows: np.ndarray, truth: np.ndarray) -> Fitted:
    """The same on any rows (N, C) and names of faults (N,)."""
    inputs = features.raw(rows)
    model = GradientBoostingClassifier(
        n_estimators=size.trees(150, 40),
        max_depth=3 if size.small else 4,
        learning_rate=0.15 if size.small else 0.08,
        subsample=0.6,
        max_features=0.3,
        random_state=size.seed,
    )
    folds = StratifiedKFold(size.folds, shuffle=True, random_state=size.seed)
    guesses = cross_val_predict(clone(model), inputs, truth, cv=folds)
    model.fit(inputs, truth)
    difference = export.export(model, out / "plate-fault.onnx", inputs[:500])
    facts = {
        "cross_validated": metrics.rounded({"macro_f1": metrics.macro_f1(truth, guesses), "n": len(truth)}),
        "onnx_difference": difference,
    }
    head = head_of("plate-fault", "multiclass", model, "raw")
    return Fitted({**head, "labels": [str(c) for c in model.classes_]}, facts, export.stored_numbers(model))


def life_samples(size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every other cycle of each engine, once with its history and once with a part of it cut away at random.

    Gives features (N, F), cycles left capped at 125 (N,), engine (N,).
    """
    rng = np.random.default_rng(size.seed)
    names = [column.name for column in COLUMNS["remaining-life"]]
    inputs, left, engine = [], [], []
    by_engine = data.engines(data.read("remaining-life", "train"))
    for unit, cycles in list(by_engine.items())[: None if size.rows is None else 8]:
        values = np.array([[row[name] for name in names] for row in cycles], np.float64)
        for place in range(unit % 2, len(cycles), 2):
            longest = min(place + 1, features.WINDOW)
            for length in (longest, int(rng.integers(1, longest + 1))):
                inputs.append(features.trend_of(values[place + 1 - length : place + 1]))
                left.append(min(cycles[place]["rul"], data.LIFE_CAP))
                engine.append(unit)
    return np.array(inputs), np.array(left, np.float64), np.array(engine)


def remaining_life(out: Path, size: Size) -> Fitted:
    """Boosting over levels and drifts of the sensors; the interval comes from held-out engines' errors."""
    inputs, left, engine = life_samples(size)
    model = GradientBoostingRegressor(
        n_estimators=size.trees(220, 60),
        max_depth=3 if size.small else 5,
        learning_rate=0.12 if size.small else 0.05,
        subsample=0.5,
        max_features=0.3,
        min_samples_leaf=20,
        random_state=size.seed,
    )
    held_out = cross_val_predict(clone(model), inputs, left, cv=GroupKFold(size.folds), groups=engine)
    model.fit(inputs, left)
    difference = export.export(model, out / "remaining-life.onnx", inputs[:500])
    head = head_of("remaining-life", "remaining-life", model, "trend")
    head |= {
        "window": features.WINDOW,
        "cap": data.LIFE_CAP,
        "interval": error_band(held_out, left),
        "optional": ["history"],
    }
    facts = {
        "cross_validated": metrics.rounded({"rmse": metrics.rmse(left, held_out), "n": len(left)}),
        "onnx_difference": difference,
    }
    return Fitted(head, facts, export.stored_numbers(model))


def error_band(held_out: np.ndarray, truth: np.ndarray, bands: int = 6) -> dict[str, list[float]]:
    """How far the truth lay from a held-out prediction, nine times in ten, by size of the prediction."""
    edges = np.unique(np.quantile(held_out, np.linspace(0, 1, bands + 1)[1:-1]))
    places = np.searchsorted(edges, held_out)
    errors = truth - held_out
    groups = [errors[places == i] if (places == i).any() else errors for i in range(len(edges) + 1)]
    return {
        "edges": [round(float(edge), 3) for edge in edges],
        "low": [round(float(np.quantile(group, BAND[0])), 3) for group in groups],
        "high": [round(float(np.quantile(group, BAND[1])), 3) for group in groups],
    }


def price_advice(out: Path, size: Size) -> Fitted:
    """Log demand, linear in price with a slope per product; the advice searches it."""
    rows, units = some(size, *table("price-advice", "train"))
    encoding = "demand_small" if size.small else "demand"
    encode = pricing_features.demand_small if size.small else pricing_features.demand
    inputs, logs = encode(rows), np.log(np.maximum(units, 0.5))
    model = Ridge(alpha=1e-2)
    held_out = cross_val_predict(
        clone(model), inputs, logs, cv=KFold(size.folds, shuffle=True, random_state=size.seed)
    )
    model.fit(inputs, logs)
    ratios = np.exp(logs - held_out)
    difference = export.export(model, out / "price-advice.onnx", inputs[:500])
    head = head_of("price-advice", "demand", model, encoding)
    catalogue = {
        name: {"unit_cost": item.unit_cost, "low": price_limits(name)[0], "high": price_limits(name)[1]}
        for name, item in PRODUCTS.items()
    }
    low, high = (round(float(np.quantile(ratios, share)), 4) for share in BAND)
    head |= {"labels": list(PRODUCTS), "catalogue": catalogue, "interval": {"low": low, "high": high}}
    facts = {
        "cross_validated": metrics.rounded({"mape": metrics.mape(units, np.exp(held_out)), "n": len(units)}),
        "elasticities": elasticities(model, size),
        "onnx_difference": difference,
    }
    return Fitted(head, facts, export.stored_numbers(model))


def elasticities(model: Ridge, size: Size) -> dict[str, dict[str, float]]:
    """Own-price elasticity of each product at its reference price: found, and the generator's own."""
    count = len(PRODUCTS)
    slopes = (
        model.coef_[count : 2 * count] if size.small else model.coef_[: 8 * count].reshape(count, 8)[:, 1]
    )
    return {
        name: {"found": round(float(slope), 3), "generator": item.elasticity}
        for (name, item), slope in zip(PRODUCTS.items(), slopes, strict=True)
    }


RECIPES = {
    "equipment-fault": equipment_fault,
    "plate-fault": plate_fault,
    "remaining-life": remaining_life,
    "price-advice": price_advice,
}
