"""Train the Dynamic Gating network over rows and write it as the artifact `tabular-dgn`, in its three forms.

`python -m modelhub.ml.tabular.gating_publish`: three seeds, a minute on one core; the median one ships. It is a candidate
beside boosting, which reads the same columns: the card says by how much it is behind.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml.features import open_session
from modelhub.ml.moe.flops import expert_parameters
from modelhub.ml.tabular import data, features, metrics
from modelhub.ml.tabular.gating import TypedConfig, TypedModel, train_typed
from modelhub.ml.tabular.gating_graph import write_typed
from modelhub.ml.tabular.recipes import LEAST_PRECISION, head_of, table
from modelhub.serving.runners.tabular import TabularModel

WORKLOAD, SEEDS = "equipment-fault", (1, 2, 3)
ROLES = {"moe": WORKLOAD, "unrolled": "unrolled", "qmoe": "qmoe"}  # the first is what the runner opens
AGREEMENT = 1e-4
FOLDS = 5


def publish(out: Path, config: TypedConfig | None = None) -> dict[str, Any]:
    """Train, export, compare the forms and write manifest and card. Raises RuntimeError where float forms disagree."""
    config, began = config or TypedConfig(), time.monotonic()
    rows, truth = table(WORKLOAD, "train")
    held, answers = table(WORKLOAD, "val")
    inputs, judged = (features.equipment(part).astype(np.float64) for part in (rows, held))
    runs = [train_typed(inputs, truth, config, seed) for seed in SEEDS]
    areas = [metrics.average_precision(answers, run.probabilities(judged)) for run in runs]
    middle = int(np.argsort(areas)[len(areas) // 2])
    out.mkdir(parents=True, exist_ok=True)
    for form, role in ROLES.items():
        write_typed(runs[middle], out / f"{role}.onnx", form=form)
    threshold = alarm_threshold(inputs, truth, config, SEEDS[middle])
    about = head_of(WORKLOAD, "binary", None, "equipment")
    about |= {"output": "probabilities", "labels": [0, 1], "threshold": round(threshold, 6)}
    manifest = {
        "id": out.name, "kind": "tabular", "version": "1", "sparse": True, "precision": "fp32", "requires": {},
        "heads": {WORKLOAD: about}, "max_tokens": 0,
        "parameters": parameters(runs[middle]), "seeds": dict(zip(map(str, SEEDS), np.round(areas, 4).tolist(), strict=True)),
        "forms": compare_forms(out, runs[middle], judged, answers, threshold),
        "train": {
            "command": "python -m modelhub.ml.tabular.gating_publish", "seed": SEEDS[middle],
            "seconds": round(time.monotonic() - began), "machine": "1 CPU core",
        },
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(), "metrics": {},
    }  # fmt: skip
    artifacts.write_manifest(out, manifest, {role: f"{role}.onnx" for role in ROLES.values()})
    return judge(out)


def alarm_threshold(inputs: np.ndarray, truth: np.ndarray, config: TypedConfig, seed: int) -> float:
    """The lowest chance that is surely precise enough on folds held back from training."""
    held = np.empty(len(truth))
    place = np.random.default_rng(seed).integers(0, FOLDS, len(truth))
    for fold in range(FOLDS):
        own = train_typed(inputs[place != fold], truth[place != fold], config, seed)
        held[place == fold] = own.probabilities(inputs[place == fold])
    return metrics.threshold_for_precision(truth, held, LEAST_PRECISION)


def parameters(model: TypedModel) -> dict[str, Any]:
    """All of them, and those that one row touches."""
    config = model.network.config
    total = sum(p.numel() for p in model.network.parameters())
    expert = config.layers * expert_parameters(config.width, config.hidden, "silu")
    active = total - (config.experts - config.k_max) * expert
    return {
        "total": total,
        "active": active,
        "non_embedding": total,
        "active_share": round(active / total, 4),
    }


def compare_forms(
    out: Path, model: TypedModel, judged: np.ndarray, truth: np.ndarray, threshold: float
) -> dict[str, dict[str, float]]:
    """Each form on the validation rows against torch: largest difference, area, and how often the alarm is the same."""
    wanted, found = model.probabilities(judged), {}
    for form, role in ROLES.items():
        session = open_session(out / f"{role}.onnx")
        own = session.run(["probabilities"], {"features": judged.astype(np.float32)})[0][:, 1]
        largest = float(np.abs(own - wanted).max())
        if form != "qmoe" and largest > AGREEMENT:
            raise RuntimeError(f"form {form} differs from torch by {largest:.1e}, allowed {AGREEMENT:.0e}")
        found[form] = {
            "largest_difference": float(f"{largest:.2e}"),
            "pr_auc": round(metrics.average_precision(truth, own), 4),
            "same_alarm": round(float(((own >= threshold) == (wanted >= threshold)).mean()), 4),
        }
    return found


def judge(out: Path) -> dict[str, Any]:
    """Figures through the runner that serves, beside the shipped boosting on the same rows, and the card."""
    facts = artifacts.load_manifest(out)
    records, targets = data.load(WORKLOAD, "val")
    truth = np.array(targets)
    items = TabularModel(out).predict(WORKLOAD, records)
    score, alarm = (np.array([item[part] for item in items]) for part in ("probability", "prediction"))
    shipped = TabularModel(artifacts.SHIPPED / "tabular-base").predict(WORKLOAD, records)
    other = np.array([item["probability"] for item in shipped])
    area = metrics.average_precision
    difference = metrics.bootstrap(lambda i: area(truth[i], score[i]) - area(truth[i], other[i]), len(truth))
    control = {
        **metrics.bootstrap(lambda i: area(truth[i], other[i]), len(truth)),
        "name": "tabular-base (boosting)",
    }
    facts["metrics"] = {
        WORKLOAD: {
            "metric": "pr_auc", **metrics.bootstrap(lambda i: area(truth[i], score[i]), len(truth)), "method": "validation",
            "control": control, "paired_difference": difference, "verdict": metrics.verdict(difference),
            "recall": metrics.bootstrap(lambda i: metrics.precision_recall(truth[i], alarm[i])[1], len(truth)),
            "precision": metrics.bootstrap(lambda i: metrics.precision_recall(truth[i], alarm[i])[0], len(truth)),
            "correct": metrics.wilson(int((alarm == truth).sum()), len(truth)),
            "correct_when": "the alarm at the threshold equals machine_failure",
        }
    }  # fmt: skip
    (out / "card.md").write_text(card(facts), encoding="utf-8")
    return artifacts.rewrite_manifest(out, facts, card="card.md")


def card(facts: dict[str, Any]) -> str:
    """Markdown, from the manifest's figures alone."""
    own, head = facts["metrics"][WORKLOAD], facts["heads"][WORKLOAD]
    other, size = own["control"], facts["parameters"]
    forms = "\n".join(
        f"| {form} | {row['largest_difference']:.1e} | {row['pr_auc']:.3f} | {row['same_alarm']:.1%} |"
        for form, row in facts["forms"].items()
    )
    seeds = ", ".join(f"{area:.3f}" for area in facts["seeds"].values())
    return f"""# {facts["id"]}

Fault prediction (AI4I 2020, a simulation) by a Dynamic Gating network: every type of equipment has three experts of its own,
a row uses two of them and a shared one. {size["total"]:,} parameters, {size["active"]:,} touched by a row
({size["active_share"]:.0%}). Trained by `{facts["train"]["command"]}`: three seeds, area under precision and recall on
validation rows {seeds}; the median one ships (seed {facts["train"]["seed"]}).

PR-AUC on {own["n"]:,} validation rows: {own["value"]:.3f} ({own["low"]:.3f} to {own["high"]:.3f}); {other["name"]} on the
same rows: {other["value"]:.3f} ({other["low"]:.3f} to {other["high"]:.3f}). Verdict: *{own["verdict"]}*. It is a candidate
that shows the network on rows of numbers; boosting answers live. Alarm at {head["threshold"]:.3f}: recall
{own["recall"]["value"]:.2f}, precision {own["precision"]["value"]:.2f}.

One set of weights, three files. Differences are to torch, in chances, on the validation rows:

| form | largest difference | PR-AUC | same alarm |
|---|---|---|---|
{forms}

The runner opens `moe`; `unrolled` needs the standard's operators alone; `qmoe` holds its experts in 8 bits, each widened by
units that answer zero until blocks of 16 divide it.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the artifact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED / "tabular-dgn")
    parser.add_argument("--epochs", type=int, default=TypedConfig().epochs)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(card(publish(given.out, replace(TypedConfig(), epochs=given.epochs))))


if __name__ == "__main__":
    main()
