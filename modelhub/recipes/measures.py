"""What counts as right, by workload: the metric with its interval, plain right answers and plain models beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.tabular import data as tabular_sets
from modelhub.ml.tabular import metrics

ENOUGH_ROWS = 150  # under it a 95 % interval is wider than anybody decides by
ALLOWED_TEXT_LOSS = 0.02  # a text model may lie this far under TF-IDF and still not lose to it
LEAST_PRECISION = 0.6  # alarms with more false ones than that are switched off by the people who get them
LIFE_TOLERANCE, DEMAND_TOLERANCE = 20, 0.15
USEFUL_PASS_RATE = 0.1  # of HumanEval; under it a model is a demonstration
CODE_METRICS = ("humaneval_pass_at_1", "mbpp_pass_at_1")
LOWER_IS_BETTER = frozenset({"rmse", "mape"})
Rows = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """The workload's metric over n rows with a 95 % interval, and which answers were right."""

    metric: str
    value: float
    low: float
    high: float
    right: np.ndarray  # (N,) bool
    detail: dict[str, Any] = field(default_factory=dict)


def _measured(metric: str, found: dict[str, Any], right: np.ndarray, **detail: Any) -> Measured:
    return Measured(metric, found["value"], found["low"], found["high"], right, detail)


def labels(rows: Rows, truth: Rows, inputs: Rows = ()) -> Measured:
    """Accuracy with Wilson's interval, macro-F1 beside it."""
    answers, wanted = np.array([str(r["label"]) for r in rows]), np.array([str(t) for t in truth])
    right = answers == wanted
    rate = wilson(int(right.sum()), len(right)).as_dict()
    f1 = metrics.bootstrap(lambda i: metrics.macro_f1(wanted[i], answers[i]), len(right))
    return _measured("accuracy", rate, right, macro_f1=f1)


def alarms(rows: Rows, truth: Rows, inputs: Rows = ()) -> Measured:
    """PR-AUC; recall and precision at the model's own threshold, recall where precision is at least 0.6; "always no"."""
    wanted = np.array([int(t) for t in truth])
    said = np.array([int(r["prediction"]) for r in rows])
    scores = np.array([float(r["probability"]) for r in rows])
    n = len(wanted)

    def at_own(which: int) -> Callable[[np.ndarray], float]:
        return lambda i: metrics.precision_recall(wanted[i], said[i])[which]

    return _measured(
        "pr_auc",
        metrics.bootstrap(lambda i: metrics.average_precision(wanted[i], scores[i]), n),
        said == wanted,
        recall=metrics.bootstrap(at_own(1), n),
        precision=metrics.bootstrap(at_own(0), n),
        recall_at_precision_60=metrics.bootstrap(lambda i: recall_at_precision(wanted[i], scores[i]), n),
        always_no=metrics.wilson(int((wanted == 0).sum()), n) | {"recall": 0.0},
        faults=int(wanted.sum()),
    )


def recall_at_precision(truth: np.ndarray, score: np.ndarray, precision: float = LEAST_PRECISION) -> float:
    """The best recall of any threshold whose precision on these rows is high enough; 0 when none is.

    Shapes: (N,) each. NaN without positives.
    """
    positives = int(truth.sum())
    if positives == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    good = ends[hits[ends] / (ends + 1) >= precision]
    return float(hits[good].max() / positives) if len(good) else 0.0


def faults(rows: Rows, truth: Rows, inputs: Rows = ()) -> Measured:
    """Macro-F1 over the faults."""
    answers, wanted = np.array([str(r["prediction"]) for r in rows]), np.array([str(t) for t in truth])
    f1 = metrics.bootstrap(lambda i: metrics.macro_f1(wanted[i], answers[i]), len(wanted))
    return _measured("macro_f1", f1, answers == wanted)


def cycles(rows: Rows, truth: Rows, inputs: Rows = ()) -> Measured:
    """RMSE with the cycles left capped at 125; the interval is drawn by engine where all rows are there."""
    cap = tabular_sets.LIFE_CAP
    given = np.minimum([float(r["prediction"]) for r in rows], cap)
    wanted = np.minimum([float(t) for t in truth], cap)
    engines = np.array(tabular_sets.engine_of_samples(_engines()))
    groups = engines if len(engines) == len(wanted) else None
    found = metrics.bootstrap(lambda i: metrics.rmse(wanted[i], given[i]), len(wanted), groups)
    return _measured("rmse", found, np.abs(given - wanted) <= LIFE_TOLERANCE, capped_at=cap)


def _engines() -> dict[int, list[dict[str, Any]]]:
    return tabular_sets.engines(tabular_sets.read("remaining-life", "val"))


def units(rows: Rows, truth: Rows, inputs: Rows = ()) -> Measured:
    """MAPE of demand, and the share of the best possible profit that following the advice leaves."""
    from modelhub.ml.tabular.judge import regret

    given, wanted = np.array([float(r["prediction"]) for r in rows]), np.array([float(t) for t in truth])
    found = metrics.bootstrap(lambda i: metrics.mape(wanted[i], given[i]), len(wanted))
    right = np.abs(given / np.maximum(wanted, 1) - 1) <= DEMAND_TOLERANCE
    if not all("advice" in row for row in rows):
        return _measured("mape", found, right)
    return _measured(
        "mape", found, right,
        profit_regret=regret(list(inputs), [row["advice"]["price"] for row in rows]),
        profit_regret_without_advice=regret(list(inputs), [record["price"] for record in inputs]),
    )  # fmt: skip


MEASURES: dict[str, Callable[..., Measured]] = {
    "equipment-fault": alarms, "plate-fault": faults, "remaining-life": cycles, "price-advice": units,
}  # fmt: skip


def measure(workload: str, task: str, rows: Rows, truth: Rows, inputs: Rows = ()) -> Measured:
    """By the workload's own measure. Raises KeyError for a prediction workload that has none."""
    return labels(rows, truth) if task == "classification" else MEASURES[workload](rows, truth, inputs)


def paired(
    workload: str, task: str, new: Rows, old: Rows, truth: Rows, inputs: Rows = ()
) -> dict[str, float] | None:
    """New less old by the workload's own measure on the same rows, above zero is better; None where that is plain accuracy.

    The bootstrap draws rows for both at once (C-MAPSS: engines).
    """
    if task == "classification" or workload not in MEASURES:
        return None
    truths = np.array([float(t) if workload != "plate-fault" else 0.0 for t in truth])
    groups = None
    if workload == "plate-fault":
        wanted = np.array([str(t) for t in truth])
        a, b = (np.array([str(r["prediction"]) for r in rows]) for rows in (new, old))

        def difference(i: np.ndarray) -> float:
            return metrics.macro_f1(wanted[i], a[i]) - metrics.macro_f1(wanted[i], b[i])
    elif workload == "equipment-fault":
        a, b = (np.array([float(r["probability"]) for r in rows]) for rows in (new, old))

        def difference(i: np.ndarray) -> float:
            return metrics.average_precision(truths[i], a[i]) - metrics.average_precision(truths[i], b[i])
    else:
        figure, cap = (
            (metrics.rmse, tabular_sets.LIFE_CAP) if workload == "remaining-life" else (metrics.mape, np.inf)
        )
        a, b = (np.minimum([float(r["prediction"]) for r in rows], cap) for rows in (new, old))
        truths = np.minimum(truths, cap)
        engines = (
            np.array(tabular_sets.engine_of_samples(_engines())) if workload == "remaining-life" else None
        )
        groups = engines if engines is not None and len(engines) == len(truths) else None

        def difference(i: np.ndarray) -> float:
            return figure(truths[i], b[i]) - figure(truths[i], a[i])

    found = metrics.bootstrap(difference, len(truths), groups)
    return {name: float(found[name]) for name in ("value", "low", "high")}


def code(passed: np.ndarray, outcomes: dict[str, str], metric: str = "humaneval_pass_at_1") -> Measured:
    """pass@1 over the problems tried. Shapes: passed (N,) bool."""
    rate = wilson(int(passed.sum()), len(passed)).as_dict()
    return _measured(metric, rate, passed, outcomes=outcomes)


def plain_model(workload: str, model_ids: Sequence[str], n: int) -> dict[str, Any] | None:
    """What a plain model (TF-IDF, a linear one) reached, as manifests tell it: on these n rows where one does."""
    told = []
    for model_id in model_ids:
        try:
            row = artifacts.load_manifest(artifacts.find(model_id)).get("metrics", {}).get(workload) or {}
        except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt):
            continue
        if found := row.get("tfidf") or row.get("control"):
            told.append({"name": "TF-IDF and logistic regression"} | found)
    return next((row for row in told if row.get("n") == n), told[0] if told else None)


def verdict(measured: Measured, n: int, plain: dict[str, Any] | None, least_rows: int) -> str:
    """Whether it surely does not lose to the plain model: pass, fail, or not_enough_data to tell.

    A language model has no plain one beside it: it must be useful.
    """
    if n < max(ENOUGH_ROWS, least_rows) and measured.metric not in CODE_METRICS:
        return "not_enough_data"
    sign = -1 if measured.metric in LOWER_IS_BETTER else 1
    low, high = sorted((sign * measured.low, sign * measured.high))
    if measured.metric in CODE_METRICS:
        bound = USEFUL_PASS_RATE
    elif plain is None:
        return "not_enough_data"
    else:
        bound = sign * plain["value"] - (ALLOWED_TEXT_LOSS if measured.metric == "accuracy" else 0.0)
    if low >= bound:
        return "pass"
    return "fail" if high < bound else "not_enough_data"
