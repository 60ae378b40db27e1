"""`python -m modelhub.ml.risk.train`: fit `risk-guard`, step by step, and say what each step changed.

Offensive rows come from COLD (Chinese) and the crowd-labelled tweets (English) alone. Two things are tried
against its false alarms: ordinary business texts as harmless rows, and sentences of our own that name every
group equally often in harmless and in hateful company. HateCheck is only ever measured on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import card, measure, ngrams, templates
from modelhub.ml.risk.model import RiskWeights, load

BUSINESS = ("support-intent", "assistant-intent", "support-sentiment", "terms-review")
FALSE_ALARMS = 0.05  # the threshold is the lowest that keeps false alarms on validation rows under this
STRENGTH, BUSINESS_WEIGHT, TEMPLATE_WEIGHT = 10.0, 0.3, 5.0

Rows = tuple[list[str], np.ndarray, np.ndarray]


def matrix(texts: list[str]) -> sparse.csr_matrix:
    """Distinct n-grams of each text, a row scaled to length one. Gives (N, BUCKETS) float32."""
    buckets = [ngrams.buckets_of(text) for text in texts]
    sizes = np.array([len(found) for found in buckets])
    values = np.repeat(1 / np.sqrt(sizes), sizes).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return sparse.csr_matrix((values, np.concatenate(buckets), starts), shape=(len(texts), ngrams.BUCKETS))


def offensive_rows(limit: int | None) -> Rows:
    """Both languages' training rows; in each, both classes weigh alike."""
    texts, labels, weights = [], [], []
    for language in ("en", "zh"):
        rows = datasets.load_offensive(language, "train")
        y = np.array(rows.labels[:limit])
        share = np.where(y == 1, (y == 1).mean(), (y == 0).mean())
        texts += rows.texts[:limit]
        labels.append(y)
        weights.append(0.5 / share)
    return texts, np.concatenate(labels), np.concatenate(weights)


def business_rows(limit: int | None) -> Rows:
    """Ordinary texts of the workloads' training parts, all harmless."""
    texts = [text for name in BUSINESS for text in datasets.load(name, "train").texts[:limit]]
    return texts, np.zeros(len(texts), int), np.full(len(texts), BUSINESS_WEIGHT)


def template_rows(limit: int | None) -> Rows:
    """Our own sentences that name groups, harmless and hateful alike."""
    made = list(templates.rows())
    made = made if limit is None else made[:: max(1, len(made) // limit)]
    return [text for text, _ in made], np.array([y for _, y in made]), np.full(len(made), TEMPLATE_WEIGHT)


def fit(parts: list[Rows]) -> RiskWeights:
    """Weighted logistic regression on all parts together."""
    from sklearn.linear_model import LogisticRegression

    features = matrix([text for texts, _, _ in parts for text in texts])
    y, weights = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
    model = LogisticRegression(C=STRENGTH, max_iter=500, tol=1e-5).fit(features, y, sample_weight=weights)
    return RiskWeights(
        model.coef_[0].astype(np.float16).astype(np.float32), float(np.float32(model.intercept_[0]))
    )


def choose_threshold(model: RiskWeights, limit: int | None = None) -> float:
    """The lowest threshold (to two places) with at most 5 % false alarms in each language, and 1 % (upper
    bound) on business texts."""
    harmless = []
    for language in ("en", "zh"):
        rows = datasets.load_offensive(language, "val")
        rows = rows.take(range(len(rows))[:limit])
        harmless.append(model.score([t for t, y in zip(rows.texts, rows.labels, strict=True) if y == 0]))
    business = model.score(measure.business_texts(limit))
    for hundredths in range(50, 100):
        threshold = hundredths / 100
        quiet = all((scores >= threshold).mean() <= FALSE_ALARMS for scores in harmless)
        if quiet and measure.rate(business >= threshold)["high"] <= 0.01:
            return threshold
    return 0.99


def figures(model: RiskWeights, threshold: float, limit: int | None = None) -> dict[str, Any]:
    """All that is measured of one model at one threshold."""
    return {
        "en": measure.on_validation(model, "en", threshold, limit),
        "zh": measure.on_validation(model, "zh", threshold, limit),
        "business_texts_blocked": measure.on_business_texts(model, threshold, limit),
        "hatecheck": measure.on_hatecheck(model, threshold),
    }


def make_guard(out: Path, *, limit: int | None = None) -> dict[str, Any]:
    """Fit the guard, measure it before and after each mitigation, and write the artifact. Gives its manifest."""
    started = time.monotonic()
    parts = [("offensive sets alone", offensive_rows), ("with business texts", business_rows)]
    parts.append(("with our own sentences about groups", template_rows))
    fitted: list[Rows] = []
    steps = []
    for name, rows_of in parts:
        fitted.append(rows_of(limit))
        model = fit(fitted)
        threshold = choose_threshold(model, limit)
        steps.append({"step": name, "threshold": threshold, **_short(figures(model, threshold, limit))})
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "weights.npz")
    model = load(out / "weights.npz")
    found = figures(model, threshold, limit)
    blocked = found["hatecheck"]["harmless_naming_a_group_blocked"]["value"]
    manifest = {
        "id": "risk-guard",
        "kind": "risk",
        "version": "1",
        "sparse": False,
        "precision": "fp16",
        "requires": {},
        "heads": {},
        "thresholds": {"default": threshold},
        "may_enforce": bool(blocked <= measure.MAY_ENFORCE),
        "metrics": found,
        "mitigation": steps,
        "parameters": {"total": ngrams.BUCKETS + 1, "active": ngrams.BUCKETS + 1},
        "train": {
            "command": "python -m modelhub.ml.risk.train",
            "seed": 0,
            "seconds": round(time.monotonic() - started),
            "machine": "2 CPU cores",
        },
        "created": date.today().isoformat(),
    }
    manifest = artifacts.write_manifest(out, manifest, {"weights": "weights.npz"})
    card.write(out, manifest)
    return manifest


def _short(found: dict[str, Any]) -> dict[str, float]:
    check = found["hatecheck"]
    return {
        "recall_en": found["en"]["recall"]["value"],
        "recall_zh": found["zh"]["recall"]["value"],
        "business_texts_blocked": found["business_texts_blocked"]["value"],
        "hatecheck_missed_hate": check["missed_hate"]["value"],
        "hatecheck_harmless_naming_a_group_blocked": check["harmless_naming_a_group_blocked"]["value"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the guard and print its steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--smoke", action="store_true", help="a few hundred rows: proves the pipeline")
    chosen = parser.parse_args(arguments)
    manifest = make_guard(chosen.out / "risk-guard", limit=100 if chosen.smoke else None)
    for step in manifest["mitigation"]:
        print(step)
    print("may enforce:", manifest["may_enforce"])


if __name__ == "__main__":
    main()
