"""Rows about verticals: fault prediction beside plain models, and what a vertical's own expert costs to train.

`python -m bench.tools.verticals [--rows N]` prints them; with N rows of each workload it is a trial of the pipeline.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import FULL, Results, Row
from modelhub import artifacts
from modelhub.ml import datasets, features
from modelhub.ml.text.corpus import Part, spread

SEEDS = (1, 2, 3)
PLAIN = ("plain_boosting", "logistic_regression")
MOST_COST_SHARE = 0.40
SENTIMENT_AT_LEAST, LEAST_COVERAGE = 0.92, 0.85
VERTICAL = "contract-clauses"
ROWS_EACH = 1500  # training rows of each workload; BENCH=full takes all 31,634
WORDS = {
    "plain_boosting": "gradient boosting of 100 trees on the raw columns",
    "logistic_regression": "logistic regression on the raw columns",
    "boosting_with_physics": "the same boosting with the vertical's own features: what these alone give",
    "experts_by_type": "Dynamic Gating network, experts of its own for each type of equipment",
    "experts_for_all_types": "the same network, its gate free to choose among all experts",
    "experts_silenced": "the network by type, its experts silenced after training",
    "random_router": "the network by type behind a router by chance, trained as long",
}


def rows(results: Results, limit: int | None = None) -> None:
    """The gates with their controls."""
    sentiment(results)
    fault_prediction(results)
    vertical_cost(results, limit)


def sentiment(results: Results) -> None:
    """Accuracy on the answers kept, threshold and blend fitted on other rows than those judged."""
    from modelhub.ml.text.crossval import kept_across_folds
    from modelhub.ml.text.served import FrozenBody

    name = "support-sentiment"
    rows, body = datasets.load(name, "val"), FrozenBody(artifacts.find("txt-base"))
    order = body.manifest["heads"][name]["labels"]
    y = np.array([order.index(label) for label in rows.labels])
    found, ids = body.features(rows.texts)
    head = body.head(name)
    deep, side = found @ head.weight.T + head.bias, head.table.logits(ids)
    kept = [kept_across_folds(deep, side, y, seed=seed) for seed in SEEDS]
    middle = sorted(kept, key=lambda one: one["value"])[len(kept) // 2]
    how = (
        f"support-sentiment: accuracy on the answers kept, {middle['coverage']:.3f} of {len(y)} validation rows, which the "
        "network never learnt from (the best of its three seeds was chosen by them); blend and threshold fitted in five folds on "
        f"the rows not judged; median of {len(SEEDS)} foldings, 95 % Wilson interval"
    )
    met = middle["value"] >= SENTIMENT_AT_LEAST and middle["coverage"] >= LEAST_COVERAGE
    target = f">= {SENTIMENT_AT_LEAST:g} at coverage >= {LEAST_COVERAGE:g}"
    results.rows.append(
        Row(
            "sentiment_accuracy_kept",
            middle["value"],
            "share",
            middle["low"],
            middle["high"],
            middle["n"],
            how,
            target,
            met,
        )
    )
    print(f"  sentiment_accuracy_kept {middle}", flush=True)
    results.add(
        "sentiment_coverage",
        [one["coverage"] for one in kept],
        "share",
        "share of answers kept by that threshold",
    )
    how = "support-sentiment: accuracy over all answers, nothing kept back; the same foldings"
    results.add("sentiment_accuracy_overall", [one["overall"] for one in kept], "share", how)


def fault_prediction(results: Results) -> None:
    """PR-AUC on AI4I: the private model's gain over the better of two plain ones, and what it is made of."""
    from modelhub.ml.tabular import vertical
    from modelhub.serving.runners.tabular import TabularModel

    model = TabularModel(artifacts.find("tabular-base"), threads=1)
    areas: dict[str, list[float]] = {}
    gains, shown = [], {}
    for seed in SEEDS:
        scores = vertical.served_scores(model)
        scores.by_model.update(vertical.plain_scores(seed) | vertical.typed_scores(seed))
        for name in scores.by_model:
            areas.setdefault(name, []).append(scores.area(name))
        gains.append(vertical.gain(scores, "private", PLAIN))
        shown = {
            name: vertical.gain(scores, name, PLAIN) for name in ("experts_by_type", "boosting_with_physics")
        }
    middle = sorted(gains, key=lambda one: one["value"])[len(gains) // 2]
    n = middle["n"]
    how = (
        f"PR-AUC of tabular-base on {n} validation rows of AI4I (a simulation) over the better of plain boosting and logistic "
        f"regression on raw columns, per cent; 95 % bootstrap interval over rows, median of {len(SEEDS)} seeds of the boosting"
    )
    target = f">= {vertical.GAIN_TARGET_PCT:g}"
    met = middle["value"] >= vertical.GAIN_TARGET_PCT
    row = Row(
        "fault_prediction_gain_pct", middle["value"], "%", middle["low"], middle["high"], n, how, target, met
    )
    results.rows.append(row)
    print(f"  {row.metric} {row.value} [{row.low} … {row.high}] met={met}", flush=True)
    results.add(
        "fault_prediction_pr_auc", areas.pop("private"), "", "tabular-base, as shipped, the same rows"
    )
    for name, values in areas.items():
        results.add(
            f"fault_prediction_{name}", values, "", f"PR-AUC on the same rows: {WORDS[name]}", control=True
        )
    for name, one in shown.items():
        how = f"per cent over the better plain model: {WORDS[name]}; 95 % bootstrap interval, last seed"
        results.controls.append(
            Row(
                f"fault_prediction_gain_pct_{name}", one["value"], "%", one["low"], one["high"], one["n"], how
            )
        )


def vertical_cost(results: Results, limit: int | None) -> None:
    """Training seconds until a vertical is as good: its own sparse expert on the shared trunk, against the general model."""
    from modelhub.ml import trunk

    trunk_dir = trunk.ensure_trunk(artifacts.home())
    rows_each = limit or (None if FULL else ROWS_EACH)
    train = {name: part_of(name, "train", trunk_dir, rows_each) for name in datasets.TEXT_WORKLOADS}
    val = {VERTICAL: part_of(VERTICAL, "val", trunk_dir, None)}
    shares, found = [], []
    for seed in SEEDS:
        one = cost_of_vertical(train, val, seed, epochs=2 if limit else 12)
        found.append(one)
        shares.append(one["own_s"] / one["general_s"] if one["reached"] else 1.0)
    n = len(val[VERTICAL])
    how = (
        f"{VERTICAL}: CPU seconds of training until {n} validation rows are answered as well as the general model answers them "
        "at its best (half a standard error short of it at most); own: one sparse network on this workload's rows; general: the "
        "same network over all six; both on the frozen pretrained trunk's states, judged once an epoch"
        + (f"; at most {rows_each:,} training rows of each workload" if rows_each else "")
    )
    if not all(one["reached"] for one in found):
        how += "; a seed that never got there counts as 1"
    results.add(
        "vertical_expert_cost_share", shares, "share", how, at_most=MOST_COST_SHARE, judged=limit is None
    )
    for name, words in (
        ("own_s", "seconds of the vertical's own expert until then"),
        ("general_s", "seconds of the general model until then"),
        ("own_best", "best accuracy of the vertical's own expert"),
        ("general_best", "best accuracy of the general model on this workload"),
    ):
        unit = "s" if name.endswith("_s") else ""
        results.add(
            f"vertical_expert_{name}",
            [one[name] for one in found],
            unit,
            f"{VERTICAL}: {words}",
            control=True,
        )


def part_of(name: str, split: str, trunk_dir: Path, limit: int | None) -> Part:
    """Rows of one workload with the frozen trunk's states; `limit` keeps so many, spread over the labels."""
    rows, labels = datasets.load(name, split), datasets.label_names(name)
    if limit is not None and limit < len(rows):
        rows = rows.take(spread(rows.labels, limit))
    print(f"    states of {len(rows):,} texts of {name}, {split}", flush=True)
    made = features.cached(rows.texts, trunk_dir)
    return Part(rows.texts, made, np.array([labels.index(label) for label in rows.labels]), labels)


def cost_of_vertical(train: Any, val: Any, seed: int, epochs: int) -> dict[str, Any]:
    """One seed: both networks trained in full, and when each first was good enough."""
    own = curve_of({VERTICAL: train[VERTICAL]}, val, seed, 3 * epochs)
    general = curve_of(train, val, seed, epochs)
    best = max(accuracy for _, accuracy in general)
    wanted = best - 0.5 * float(np.sqrt(best * (1 - best) / len(val[VERTICAL])))
    reached = [seconds for seconds, accuracy in own if accuracy >= wanted]
    return {
        "reached": bool(reached),
        "own_s": reached[0] if reached else own[-1][0],
        "general_s": next(seconds for seconds, accuracy in general if accuracy >= wanted),
        "own_best": max(accuracy for _, accuracy in own),
        "general_best": best,
    }


def curve_of(train: Any, val: Any, seed: int, epochs: int) -> list[tuple[float, float]]:
    """(CPU seconds of training so far, accuracy on the vertical) after every epoch; judging isn't counted."""
    from modelhub.ml.moe.model import GatingConfig
    from modelhub.ml.train.loop import TrainConfig, deep_logits, train_gating

    curve: list[tuple[float, float]] = []
    part, spent = val[VERTICAL], [0.0, time.process_time()]

    def judged(model: Any) -> float:
        return float((deep_logits(model, part.features.pooled, VERTICAL).argmax(axis=1) == part.y).mean())

    def told(model: Any) -> None:
        spent[0] += time.process_time() - spent[1]
        curve.append((spent[0], judged(model)))
        spent[1] = time.process_time()

    config = replace(TrainConfig(seed=seed), epochs=epochs)
    train_gating(train, config, GatingConfig(), each_epoch=told)
    return curve


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, help="so many rows of each text workload: a trial of the pipeline"
    )
    parser.add_argument("--only", choices=("fault", "cost", "sentiment"))
    given = parser.parse_args(arguments)
    results = Results("verticals")
    if given.only in (None, "sentiment"):
        sentiment(results)
    if given.only in (None, "fault"):
        fault_prediction(results)
    if given.only in (None, "cost"):
        vertical_cost(results, given.rows)


if __name__ == "__main__":
    main()
