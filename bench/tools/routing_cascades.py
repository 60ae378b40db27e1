"""Cascades on the six text workloads: the edge student first, the private model where its confidence is under a threshold.

The threshold is chosen on four fifths of the validation rows by the service's own rule and judged on the fifth; three splits.
Cost is CPU time of an answer asked alone, student and private model in turns on this machine, so both at one machine's rate.
"""

from __future__ import annotations

import contextlib
import statistics
import time

import numpy as np

from bench.common import Results, Row
from modelhub import artifacts
from modelhub.ml import answer_sheets as sheets
from modelhub.ml import datasets
from modelhub.serving.runners.text import TextClassifier
from routing.learned import calibrate, cascade, measures

SEEDS = (0, 1, 2)
LEAST_ACCURACY, MOST_COST, MOST_ERROR = 0.99, 0.40, 0.03
TIMED, ROUNDS = 20, 3
ENOUGH = 150  # rows; under it an interval is wider than anybody decides by


def rows(results: Results) -> None:
    """Per workload: accuracy and cost shares, what lot would get, calibration; then calibration over all of them."""
    small, big = (TextClassifier(artifacts.find(name)) for name in ("txt-edge", "txt-base"))
    chances, rights = [], []
    for workload in datasets.TEXT_WORKLOADS:
        held = datasets.load(workload, "val")
        first, second = (_answers(model, workload, held) for model in (small, big))
        seconds = _seconds(small, big, workload, held.texts)
        first = cascade.Answers(first.right, _calibrated(first), seconds[0], first.withheld)
        second = cascade.Answers(second.right, second.confidence, seconds[1])
        given = _given(first)
        chances.append(first.confidence[given])
        rights.append(first.right[given].astype(float))
        _workload(results, workload, first, second)
    _pooled(results, np.concatenate(chances), np.concatenate(rights))


def _answers(model: TextClassifier, workload: str, held: datasets.Rows) -> cascade.Answers:
    """As packed and read back: the service chooses from the same bytes."""
    rows = model.classify_mixed([workload] * len(held), held.texts)
    right = np.array([row.label == label for row, label in zip(rows, held.labels, strict=True)])
    sure = np.array([float(row.scores.max()) for row in rows])
    stopped = np.array([row.blocked for row in rows])
    sheet = sheets.unpack(sheets.Sheet(right, sure, sheets.digest_of(held.texts), stopped).pack())
    assert sheet is not None
    return cascade.Answers(sheet.right, sheet.confidence, 0.0, sheet.withheld)


def _given(answers: cascade.Answers) -> np.ndarray:
    """Rows that got an answer: what the student's operator stopped has no confidence to calibrate."""
    return np.ones(len(answers.right), bool) if answers.withheld is None else ~answers.withheld


def _calibrated(answers: cascade.Answers) -> np.ndarray:
    """Each row by the map that the service would choose, fitted without the row's fold."""
    given, found = _given(answers), answers.confidence.copy()
    with contextlib.suppress(ValueError):  # too few rows: the model's own temperature stands
        found[given] = calibrate.fit(answers.confidence[given], answers.right[given]).unseen
    return found


def _seconds(
    small: TextClassifier, big: TextClassifier, workload: str, texts: list[str]
) -> tuple[float, float]:
    """CPU seconds of one answer of each, in turns; the median of texts and rounds."""
    step = max(1, len(texts) // TIMED)
    taken: dict[str, list[float]] = {"small": [], "big": []}
    for _ in range(ROUNDS):
        for text in texts[::step][:TIMED]:
            for name, model in (("small", small), ("big", big)):
                began = time.process_time()
                model.classify_mixed([workload], [text])
                taken[name].append(time.process_time() - began)
    return statistics.median(taken["small"]), statistics.median(taken["big"])


def _workload(results: Results, workload: str, small: cascade.Answers, big: cascade.Answers) -> None:
    n = len(small.right)
    found = [cascade.across_folds(small, big, "accuracy", LEAST_ACCURACY, seed=seed) for seed in SEEDS]
    first = found[0]
    shares, costs = [f.accuracy_share.value for f in found], [f.cost_share for f in found]
    own = f"student {small.right.mean():.1%}, private {big.right.mean():.1%}"
    alone = (
        ""
        if first.cost_share != 1.0
        else "; no threshold surely keeps it, so the private model answers alone"
    )
    few = "" if n >= ENOUGH else f"; {n} rows are not enough for a verdict"
    how = (
        f"{n:,} validation rows, {own}; threshold for {LEAST_ACCURACY:.0%} chosen on the other folds, "
        f"{first.escalated:.1%} escalated; by seed {', '.join(f'{v:.4f}' for v in shares)}; "
        f"low and high: 95 % interval{alone}{few}"
    )
    value = statistics.median(shares)
    interval = first.accuracy_share
    results.put(
        Row(
            f"cascade_accuracy_share_{workload}",
            round(value, 4),
            "x",
            round(interval.low, 4),
            round(interval.high, 4),
            n,
            how,
            f">= {LEAST_ACCURACY:g}",
            value >= LEAST_ACCURACY if n >= ENOUGH else None,
        )  # fmt: skip
    )
    results.add(
        f"cascade_cost_share_{workload}", costs, "x",
        f"CPU time of both attempts over the private model's; the student's answer costs {small.cost / big.cost:.1%} of it",
        at_most=MOST_COST, judged=n >= ENOUGH,
    )  # fmt: skip
    above = first.above_random
    differ = big.right.mean() > small.right.mean()
    results.put(
        Row(
            f"cascade_above_random_{workload}",
            round(statistics.median(f.above_random.value for f in found), 3),
            "pt",
            round(above.low, 3),
            round(above.high, 3),
            n,
            "accuracy above as many escalations by lot, paired bootstrap"
            + ("" if differ else "; the student is no worse here")
            + alone,
            "> 0 with its interval",
            above.low > 0 if n >= ENOUGH and differ and not alone else None,
        ),
        control=True,
    )  # fmt: skip
    given = _given(small)
    error = measures.calibration_error(small.confidence[given], small.right[given].astype(float))
    noise = measures.calibration_noise(small.confidence[given])
    results.add(
        f"calibration_error_{workload}", [error], "", f"student's confidence, {n:,} rows, ten bins of equal count, out of fold; "
        f"perfectly calibrated chances show {noise:.3f} on as many rows", control=True,
    )  # fmt: skip


def _pooled(results: Results, chance: np.ndarray, right: np.ndarray) -> None:
    interval = measures.bootstrap(
        lambda i: measures.calibration_error(chance[i], right[i]), len(chance), draws=200
    )
    noise = measures.calibration_noise(chance)
    results.put(
        Row(
            "calibration_error",
            round(interval.value, 4),
            "",
            round(interval.low, 4),
            round(interval.high, 4),
            len(chance),
            f"student's confidence over the six workloads' {len(chance):,} rows, ten bins of equal count, out of fold; "
            f"perfectly calibrated chances show {noise:.3f}; low and high: 95 % interval",
            f"<= {MOST_ERROR:g}",
            interval.value <= MOST_ERROR,
        )  # fmt: skip
    )
