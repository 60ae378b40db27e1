"""Five-fold figures for the workloads whose validation rows are too few to judge by.

In each fold the whole recipe runs again without the held-out rows: network, wide channel, blend, and the
TF-IDF row beside it. The large workloads only lend their training rows, as they do in the shipped model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.moe.model import GatingConfig
from modelhub.ml.text import baseline, evaluate, wide
from modelhub.ml.text.blend import fit_blend
from modelhub.ml.text.corpus import Part, Parts, folds
from modelhub.ml.train.loop import Progress, TrainConfig, deep_logits, train_gating

COUNT = 5
KEPT = 0.87  # of the answers, so that no less than 0.85 are kept of new ones


def small_workloads(val: Parts) -> list[str]:
    """Workloads with fewer validation rows than a verdict needs."""
    return [name for name, part in val.items() if len(part) < evaluate.ENOUGH_ROWS]


def cross_validate(
    train: Parts,
    val: Parts,
    config: TrainConfig,
    shape: GatingConfig,
    tables: dict[str, wide.WideConfig],
    *,
    work: Path,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Metric rows of the small workloads. Folds that `work` holds already are not run again."""
    names = small_workloads(val)
    whole = {name: train[name].join(val[name]) for name in names}
    held = {name: folds(whole[name].y, COUNT, config.seed) for name in names}
    results = []
    for fold in range(COUNT):
        out = {name: held[name][fold] for name in names}
        fitted = dict(train) | {name: without(whole[name], out[name]) for name in names}
        tested = {name: whole[name].take(out[name]) for name in names}
        flat = kept(work / f"fold-{fold}-linear.npz", partial(linear, fitted, tested, tables))
        seeded = replace(config, seed=config.seed + fold)
        deep = kept(
            work / f"fold-{fold}-deep.npz",
            partial(_deep, fitted, tested, seeded, shape, progress),
        )
        results.append(flat | deep)
    return {name: judge(name, whole[name], held[name], results) for name in names}


def kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What the file holds; made and written first where it does not stand."""
    if not path.is_file():
        temporary = path.with_name(f".{path.name}")
        np.savez(temporary, **make())  # type: ignore[arg-type]
        temporary.replace(path)
    with np.load(path) as stored:
        return dict(stored)


def without(part: Part, out: np.ndarray) -> Part:
    """The rows that are not at these positions."""
    return part.take(np.setdiff1d(np.arange(len(part)), out))


def _deep(
    fitted: Parts, tested: Parts, config: TrainConfig, shape: GatingConfig, progress: Progress | None
) -> dict[str, np.ndarray]:
    model, _ = train_gating(fitted, config, shape, progress=progress)
    return {f"{name}.deep": deep_logits(model, part.features.pooled, name) for name, part in tested.items()}


def linear(fitted: Parts, tested: Parts, tables: dict[str, wide.WideConfig]) -> dict[str, np.ndarray]:
    """The wide channel's logits and the TF-IDF row's predictions."""
    found = {}
    for name, part in tested.items():
        own = fitted[name]
        table = wide.fit(own.features.ids, own.y, len(part.labels), tables[name])
        found[f"{name}.wide"] = table.logits(part.features.ids)
        for strength in baseline.STRENGTHS:
            predicted = baseline.fit_predict(own.texts, own.y, part.texts, strength)
            found[f"{name}.tfidf.{strength:g}"] = predicted
    return found


def kept_across_folds(
    deep: np.ndarray, side: np.ndarray, y: np.ndarray, coverage: float = KEPT, seed: int = 1
) -> dict[str, Any]:
    """Accuracy on the surest answers where neither blend nor threshold saw the rows they are judged by.

    In each of five folds both are fitted on the other four, so the share that is kept is an outcome too. Rows are ones
    that the network never saw. Shapes: deep and side (N, L) logits, y (N,). Gives value, low, high (Wilson), n kept,
    coverage, and the accuracy over all.
    """
    kept, right = np.zeros(len(y), bool), np.zeros(len(y), bool)
    for out in folds(y, COUNT, seed):
        others = np.setdiff1d(np.arange(len(y)), out)
        blend = fit_blend(deep[others], side[others], y[others])
        threshold = np.quantile(_confidence(blend.logits(deep[others], side[others])), 1 - coverage)
        logits = blend.logits(deep[out], side[out])
        kept[out] = _confidence(logits) >= threshold
        right[out] = logits.argmax(axis=1) == y[out]
    return {
        **wilson(int(right[kept].sum()), int(kept.sum())).as_dict(),
        "n": int(kept.sum()),
        "coverage": round(float(kept.mean()), 4),
        "overall": round(float(right.mean()), 4),
        "rows": len(y),
    }


def _confidence(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).max(axis=1)


def judge(
    name: str, whole: Part, held: list[np.ndarray], results: list[dict[str, np.ndarray]]
) -> dict[str, Any]:
    """Blend each fold with weights fitted on the other folds, then score all rows together."""
    predicted = np.zeros(len(whole), np.int64)
    for fold, out in enumerate(held):
        others = [i for i in range(len(held)) if i != fold]
        deep = np.concatenate([results[i][f"{name}.deep"] for i in others])
        side = np.concatenate([results[i][f"{name}.wide"] for i in others])
        blend = fit_blend(deep, side, np.concatenate([whole.y[held[i]] for i in others]))
        logits = blend.logits(results[fold][f"{name}.deep"], results[fold][f"{name}.wide"])
        predicted[out] = logits.argmax(axis=1)
    candidates = []
    for strength in baseline.STRENGTHS:
        tfidf = np.zeros(len(whole), np.int64)
        for fold, out in enumerate(held):
            tfidf[out] = results[fold][f"{name}.tfidf.{strength:g}"]
        candidates.append(tfidf)
    best = max(candidates, key=lambda tfidf: float((tfidf == whole.y).mean()))
    return evaluate.metric_row(name, whole.y, predicted, best, "cross-validated")
