"""Judges a finished artifact on validation rows through the runner that serves it, beside plain models."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelhub.ml.pricing import generator
from modelhub.ml.tabular import data, metrics
from modelhub.ml.tabular.recipes import table
from modelhub.ml.tabular.vertical import Scores, gain, plain_scores
from modelhub.serving.runners.tabular import TabularModel

LIFE_TOLERANCE = 20  # cycles
DEMAND_TOLERANCE = 0.15


def compared(
    figure: Any, own: np.ndarray, plain: np.ndarray, truth: np.ndarray, groups: np.ndarray | None = None,
    lower_is_better: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Own figure, the plain model's, and their paired difference (above 0 is better), with a verdict."""
    n, sign = len(truth), -1 if lower_is_better else 1
    difference = metrics.bootstrap(
        lambda i: sign * (figure(truth[i], own[i]) - figure(truth[i], plain[i])), n, groups
    )
    return {
        **metrics.bootstrap(lambda i: figure(truth[i], own[i]), n, groups),
        "method": "validation",
        "lower_is_better": lower_is_better,
        "control": metrics.bootstrap(lambda i: figure(truth[i], plain[i]), n, groups),
        "paired_difference": difference,
        "verdict": metrics.verdict(difference),
    }


def equipment_fault(model: TabularModel) -> dict[str, Any]:
    """PR-AUC, recall and precision at the threshold, and the row that never raises an alarm."""
    records, targets = data.load("equipment-fault", "val")
    truth = np.array(targets)
    items = model.predict("equipment-fault", records)
    score = np.array([item["probability"] for item in items])
    alarm = np.array([item["prediction"] for item in items])
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
        *table("equipment-fault", "train")
    )
    other = plain.predict_proba(table("equipment-fault", "val")[0])[:, 1]
    result = compared(metrics.average_precision, score, other, truth)
    result["control"]["name"] = "logistic regression on the raw columns"
    beside = plain_scores(seed=0)
    scores = Scores(truth, beside | {"private": score})
    return {
        "metric": "pr_auc",
        **result,
        "gain_pct": gain(scores, "private", ("plain_boosting", "logistic_regression")),
        "beside": {
            name: metrics.bootstrap(
                lambda i, own=own: metrics.average_precision(truth[i], own[i]), len(truth)
            )
            for name, own in beside.items()
        },
        "recall": metrics.bootstrap(lambda i: metrics.precision_recall(truth[i], alarm[i])[1], len(truth)),
        "precision": metrics.bootstrap(lambda i: metrics.precision_recall(truth[i], alarm[i])[0], len(truth)),
        "correct": metrics.wilson(int((alarm == truth).sum()), len(truth)),
        "correct_when": "the alarm at the threshold equals machine_failure",
        "always_no": {**metrics.wilson(int((truth == 0).sum()), len(truth)), "recall": 0.0},
        "positives": int(truth.sum()),
    }


def plate_fault(model: TabularModel) -> dict[str, Any]:
    """Macro-F1 over the seven faults."""
    records, targets = data.load("plate-fault", "val")
    truth = np.array(targets)
    guess = np.array([item["prediction"] for item in model.predict("plate-fault", records)])
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(
        *table("plate-fault", "train")
    )
    result = compared(metrics.macro_f1, guess, plain.predict(table("plate-fault", "val")[0]), truth)
    result["control"]["name"] = "logistic regression"
    return {
        "metric": "macro_f1",
        **result,
        "correct": metrics.wilson(int((guess == truth).sum()), len(truth)),
        "correct_when": "the fault equals the data set's",
    }


def remaining_life(model: TabularModel) -> dict[str, Any]:
    """RMSE with the cycles left capped at 125, at sampled cycles; intervals are drawn by engine."""
    by_engine = data.engines(data.read("remaining-life", "val"))
    records, targets = data.sampled_cycles(by_engine)
    engines = np.array(data.engine_of_samples(by_engine))
    truth = np.minimum(np.array(targets, float), data.LIFE_CAP)
    items = model.predict("remaining-life", records)
    guess = np.array([item["prediction"] for item in items], float)
    other = plain_life(records)
    result = compared(metrics.rmse, guess, other, truth, engines, lower_is_better=True)
    result["control"]["name"] = "ridge regression on the current cycle"
    inside = sum(item["low"] <= left <= item["high"] for item, left in zip(items, truth, strict=True))
    last = np.flatnonzero(np.append(engines[1:] != engines[:-1], True))
    return {
        "metric": "rmse",
        **result,
        "correct": metrics.wilson(int((np.abs(guess - truth) <= LIFE_TOLERANCE).sum()), len(truth)),
        "correct_when": f"within {LIFE_TOLERANCE} cycles of the cycles left, capped at {data.LIFE_CAP}",
        "inside_interval": metrics.wilson(int(inside), len(truth)),
        "rmse_at_last_cycle": {"value": round(metrics.rmse(truth[last], guess[last]), 4), "n": len(last)},
        "engines": len(by_engine),
    }


def plain_life(records: list[dict[str, Any]]) -> np.ndarray:
    """Cycles left as a ridge regression reads them off the current row alone."""
    names = [name for name in records[0] if name != "history"]
    train = data.read("remaining-life", "train")
    rows = np.array([[row[name] for name in names] for row in train], float)
    left = np.minimum([row["rul"] for row in train], data.LIFE_CAP)
    plain = make_pipeline(StandardScaler(), Ridge()).fit(rows, left)
    return np.clip(
        plain.predict(np.array([[r[name] for name in names] for r in records], float)), 0, data.LIFE_CAP
    )


def price_advice(model: TabularModel) -> dict[str, Any]:
    """MAPE of demand, and the profit that following the advice leaves on the table."""
    records, targets = data.load("price-advice", "val")
    truth = np.array(targets, float)
    items = model.predict("price-advice", records)
    guess = np.array([item["prediction"] for item in items], float)
    result = compared(metrics.mape, guess, usual_sales(records), truth, lower_is_better=True)
    result["control"]["name"] = "median of the product's past sales in the store"
    within = np.abs(guess / np.maximum(truth, 1) - 1) <= DEMAND_TOLERANCE
    return {
        "metric": "mape",
        **result,
        "correct": metrics.wilson(int(within.sum()), len(truth)),
        "correct_when": f"units within {DEMAND_TOLERANCE:.0%}",
        "profit_regret": regret(records, [item["advice"]["price"] for item in items]),
        "profit_regret_without_advice": regret(records, [record["price"] for record in records]),
    }


def usual_sales(records: list[dict[str, Any]]) -> np.ndarray:
    """What a product usually sold in a store, whatever its price."""
    sold: dict[tuple[str, str], list[int]] = {}
    for record, units in zip(*data.load("price-advice", "train"), strict=True):
        sold.setdefault((record["product"], record["store"]), []).append(units)
    return np.array([float(np.median(sold[record["product"], record["store"]])) for record in records])


def regret(records: list[dict[str, Any]], prices: list[float]) -> dict[str, Any]:
    """Share of the best possible expected profit that these prices miss, over all records together."""
    missed, best = [], []
    for record, price in zip(records, prices, strict=True):
        where = {name: record[name] for name in ("product", "feature_ad", "week", "store")}
        optimum = generator.best_price(**where)[1]
        best.append(optimum)
        missed.append(optimum - generator.expected_profit(price=price, **where))
    lost, possible = np.array(missed), np.array(best)
    return metrics.bootstrap(lambda i: float(lost[i].sum() / possible[i].sum()), len(records))


JUDGES = {
    "equipment-fault": equipment_fault,
    "plate-fault": plate_fault,
    "remaining-life": remaining_life,
    "price-advice": price_advice,
}
