"""Model quality and speed, measured again through the runners that serve: no figure is copied unless its row says so.

`python -m bench.models text training` measures these parts again and leaves every other row as it stands on record.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench import common
from bench.common import Results, Row
from modelhub import artifacts
from modelhub.ml import datasets, trunk
from modelhub.ml.fairness.intervals import paired_difference, wilson
from modelhub.ml.tabular import data as tabular_data
from modelhub.ml.text import baseline
from modelhub.ml.text.evaluate import ENOUGH_ROWS, verdict
from modelhub.recipes import measures
from modelhub.sandbox import humaneval
from modelhub.serving.runners.lm import CausalLM
from modelhub.serving.runners.risk import RiskModel
from modelhub.serving.runners.tabular import TabularModel
from modelhub.serving.runners.text import TextClassifier

# The gates of gating, operators and devices, a module each; `sparse` comes last because it stays on one core from then on.
GATES = (
    "training",
    "data_loop",
    "specialisation",
    "verticals",
    "operators",
    "serving",
    "fleet",
    "model_forms",
    "model_flops",
    "sparse",
)
REPEATS, SINGLE_INPUTS = 5, 40
TOKENS = 128  # generated in one timed run of the language model
HUMANEVAL_TOKENS = 200
BATCH = 64
INT8_BOUND = 1.0  # points
MET = {"pass": True, "fail": False, "not_enough_data": None}
VERDICTS = "target: the paired difference to TF-IDF lies above -2 points at its lower 95 % bound"


def main() -> None:
    results = Results("models")
    trunk_dir = trunk.ensure_trunk(artifacts.home())
    base = TextClassifier(artifacts.find("txt-base"), trunk_dir=trunk_dir, threads=1)
    edge = TextClassifier(artifacts.find("txt-edge"), trunk_dir=None, threads=1)
    for workload in datasets.TEXT_WORKLOADS:
        text_rows(results, workload, base, edge)
    for workload in measures.MEASURES:
        prediction_rows(results, workload)
    code_row(results)
    speed_rows(results, base, edge)
    int8_row(results)
    for name in GATES:
        importlib.import_module(f"bench.tools.{name}").rows(results)
    results.write()


# --- quality --------------------------------------------------------------------------------------------------------


def text_rows(results: Results, workload: str, base: TextClassifier, edge: TextClassifier) -> None:
    """Both models and TF-IDF on the same validation rows; the base is the one that must not lose."""
    train, val = datasets.load(workload, "train"), datasets.load(workload, "val")
    truth = np.array(val.labels)
    shipped = artifacts.load_manifest(artifacts.find("txt-base"))["metrics"][workload]
    strength = float(
        shipped.get("validation", shipped)["tfidf"]["strength"]
    )  # the one that is best on these rows
    labels = np.array(train.labels)
    plain = baseline.fit_predict(train.texts, labels, val.texts, strength) == truth
    right = answers(base, workload, val.texts) == truth
    how = "share right on all validation rows, through the runner that serves; 95 % Wilson interval"
    rate_row(
        results, f"accuracy_{workload}", right, f"txt-base: {how}; {VERDICTS}", against=plain, shipped=shipped
    )
    edge_row(results, workload, edge)
    fitted = f"TF-IDF (words and pairs) and logistic regression, C = {strength:g}, fitted again on the training rows"
    rate_row(results, f"tfidf_{workload}", plain, f"{fitted}; the same validation rows; 95 % Wilson interval")


def edge_row(results: Results, workload: str, edge: TextClassifier) -> None:
    """The student alone; what its operator stops has no label and counts as wrong."""
    val = datasets.load(workload, "val")
    right = answers(edge, workload, val.texts) == np.array(val.labels)
    how = "txt-edge: share right on all validation rows, through the runner that serves; 95 % Wilson interval"
    rate_row(results, f"accuracy_edge_{workload}", right, how)


def answers(model: TextClassifier, workload: str, texts: list[str]) -> np.ndarray:
    found: list[str] = []
    for start in range(0, len(texts), BATCH):
        found += model.classify(workload, texts[start : start + BATCH]).labels
    return np.array(found)


def rate_row(
    results: Results,
    metric: str,
    right: np.ndarray,
    how: str,
    *,
    against: np.ndarray | None = None,
    shipped: dict[str, Any] | None = None,
) -> None:
    rate = wilson(int(right.sum()), len(right)).as_dict()
    row = Row(metric, rate["value"], "share", rate["low"], rate["high"], len(right), how)
    if against is not None:
        row = replace(row, **not_losing(right, against, shipped or {}, how))
    add(results, row)


def not_losing(right: np.ndarray, plain: np.ndarray, shipped: dict[str, Any], how: str) -> dict[str, Any]:
    """The verdict; where these rows are too few, that of the manifest's cross-validation, and the row says so."""
    found = paired_difference(right, plain)
    said = f"here {100 * found.value:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    word = verdict(found.low, found.high, len(right), "validation")
    if word == "not_enough_data" and len(right) < ENOUGH_ROWS and shipped.get("method") == "cross-validated":
        folds = shipped["paired_difference"]
        word = shipped["verdict"]
        said += (
            f"; verdict of the manifest, cross-validated on {shipped['n']:,} rows: {100 * folds['value']:+.1f} points "
            f"({100 * folds['low']:+.1f} to {100 * folds['high']:+.1f})"
        )
    elif MET[word] is None:
        said += f"; {len(right):,} rows cannot tell"
    return {
        "target": "lower bound of the difference to TF-IDF > -2 points",
        "met": MET[word],
        "how": f"{how}; {said}",
    }


def prediction_rows(results: Results, workload: str) -> None:
    """The share of right answers, and the workload's own metric with the plain model's beside it."""
    records, truth = tabular_data.load(workload, "val")
    for model_id, prefix in (("tabular-base", ""), ("tabular-edge", "edge_")):
        model = TabularModel(artifacts.find(model_id), threads=1)
        found = measures.measure(workload, "prediction", model.predict(workload, records), truth, records)
        how = f"{model_id}: share of answers that are right by the workload's rule, on all validation rows; 95 % Wilson interval"
        rate_row(results, f"accuracy_{prefix}{workload}", found.right, how)
        how = f"{model_id}: {found.metric} on the same rows; 95 % bootstrap interval"
        results.controls.append(
            Row(
                f"{found.metric}_{prefix}{workload}",
                found.value,
                found.metric,
                found.low,
                found.high,
                len(truth),
                how,
            )
        )
        for name, beside in found.detail.items():
            if isinstance(beside, dict) and "value" in beside:
                row = Row(f"{name}_{prefix}{workload}", beside["value"], "share", beside.get("low"), beside.get("high"),
                          len(truth), f"{model_id}: {name} on the same rows; 95 % interval")  # fmt: skip
                results.controls.append(row)


def code_row(results: Results) -> None:
    """pass@1 of HumanEval, greedy, each answer run in the sandbox."""
    model = CausalLM(artifacts.find("lm-tiny"), threads=1)

    def complete(prompt: str) -> str:
        ids = model.text_prompt(prompt)
        pieces = model.stream(ids, max_tokens=HUMANEVAL_TOKENS, temperature=0.0)
        return "".join(piece for piece, _ in pieces)

    found = humaneval.measure(complete, humaneval.load_problems())
    how = f"lm-tiny (demonstration model: connect your own): HumanEval pass@1, greedy, {HUMANEVAL_TOKENS} tokens; 95 % interval"
    add(results, Row("accuracy_code-assist", found.rate, "pass@1", found.low, found.high, found.n, how))


# --- speed ----------------------------------------------------------------------------------------------------------


def speed_rows(results: Results, base: TextClassifier, edge: TextClassifier) -> None:
    """One input at a time, one thread: the median over inputs, repeated; teacher and student side by side."""
    texts = datasets.load("support-intent", "val").texts[:SINGLE_INPUTS]
    inputs = f"{SINGLE_INPUTS} inputs one at a time, one thread"
    both: dict[str, list[float]] = {"txt-base": [], "txt-edge": []}
    runs = {"txt-base": base, "txt-edge": edge}
    for model in runs.values():
        p50_ms(lambda text, m=model: m.classify("support-intent", [text]), texts)  # warm
    for _ in range(REPEATS):
        for name, model in runs.items():
            both[name].append(p50_ms(lambda text, m=model: m.classify("support-intent", [text]), texts))
    for name, found in both.items():
        results.add(
            f"p50_ms_{name}",
            found,
            "ms",
            f"{name}, support-intent, {inputs}, median of each of {REPEATS} repeats",
        )
    ratios = [slow / fast for slow, fast in zip(both["txt-base"], both["txt-edge"], strict=True)]
    results.add(
        "student_speedup", ratios, "×", "p50 of txt-base over p50 of txt-edge, taken in turns in one run"
    )
    for name in ("tabular-base", "tabular-edge"):
        tabular_speed(results, name, inputs)
    risk = RiskModel(artifacts.find("risk-guard"))
    results.add(
        "p50_ms_risk-guard", repeats(lambda text: risk.score([text]), texts), "ms", f"risk-guard, {inputs}"
    )
    language_speed(results)


def tabular_speed(results: Results, name: str, inputs: str) -> None:
    model = TabularModel(artifacts.find(name), threads=1)
    for workload in measures.MEASURES:
        records = tabular_data.load(workload, "val")[0][:SINGLE_INPUTS]
        found = repeats(lambda record, w=workload: model.predict(w, [record]), records)
        main_head = workload == "equipment-fault"
        metric = f"p50_ms_{name}" if main_head else f"p50_ms_{name}_{workload}"
        results.add(metric, found, "ms", f"{name}, {workload}, {inputs}", control=not main_head)


def language_speed(results: Results) -> None:
    model = CausalLM(artifacts.find("lm-tiny"), threads=1)
    prompt = model.text_prompt("def mean(values):\n    ")

    def run() -> float:
        began, count = time.perf_counter(), 0
        for _, token in model.stream(prompt, max_tokens=TOKENS, temperature=1.0, seed=1):
            count += token is not None
        return 1000 * (time.perf_counter() - began) / max(1, count)

    run()
    how = f"lm-tiny, milliseconds a token over up to {TOKENS} sampled tokens, prompt included, one thread"
    results.add("p50_ms_lm-tiny", [run() for _ in range(REPEATS)], "ms/token", how)


def repeats(call: Callable[[Any], Any], inputs: list[Any]) -> list[float]:
    p50_ms(call, inputs)  # warm
    return [p50_ms(call, inputs) for _ in range(REPEATS)]


def p50_ms(call: Callable[[Any], Any], inputs: list[Any]) -> float:
    took = []
    for item in inputs:
        began = time.perf_counter()
        call(item)
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took))


# --- INT8 -----------------------------------------------------------------------------------------------------------


def int8_row(results: Results) -> None:
    """What txt-edge lost by INT8. Its float32 weights are not shipped, so this is the figure taken as it was made."""
    made = artifacts.load_manifest(artifacts.find("txt-edge"))["quantisation"]
    lost = made["int8_loss_points"]
    how = (
        "read from the manifest, not measured again here (the float32 weights are not shipped; `make models` measures it): "
        "accuracy of the float32 student less that of its dynamic INT8 graph, on the same validation rows of all text "
        "workloads; paired 95 % interval"
    )
    target = f"upper 95 % bound < {INT8_BOUND:g} point"
    met = lost["high"] < INT8_BOUND
    add(
        results,
        Row(
            "int8_loss_points",
            lost["value"],
            "points",
            lost["low"],
            lost["high"],
            made["n"],
            how,
            target,
            met,
        ),
    )


def add(results: Results, row: Row) -> None:
    results.rows.append(row)
    print(
        f"  {row.metric:32} {row.value!s:>10} {row.unit:6} [{row.low} … {row.high}] n={row.n} met={row.met}",
        flush=True,
    )


def refresh(names: Sequence[str]) -> None:
    """Measure parts again (`text`, `edge`, or a gate's module) and replace their rows on record, the rest kept."""
    results = Results("models")
    if "text" in names:
        base = TextClassifier(
            artifacts.find("txt-base"), trunk_dir=trunk.ensure_trunk(artifacts.home()), threads=1
        )
        edge = TextClassifier(artifacts.find("txt-edge"), trunk_dir=None, threads=1)
        for workload in datasets.TEXT_WORKLOADS:
            text_rows(results, workload, base, edge)
        int8_row(results)
    if "edge" in names:
        edge = TextClassifier(artifacts.find("txt-edge"), trunk_dir=None, threads=1)
        for workload in datasets.TEXT_WORKLOADS:
            edge_row(results, workload, edge)
    for name in names:
        if name in GATES:
            importlib.import_module(f"bench.tools.{name}").rows(results)
    common.refresh(results, names)


if __name__ == "__main__":
    refresh(sys.argv[1:]) if sys.argv[1:] else main()
