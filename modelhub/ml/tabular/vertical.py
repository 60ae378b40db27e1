"""The private fault model beside what a plant would otherwise have: plain boosting and logistic regression on raw columns.

All on the same rows: fitted on the training rows, judged on the validation rows. Beside them what the gain is made of: the
same boosting with the vertical's own features, and the Dynamic Gating network with experts for each type of equipment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelhub.ml.tabular import data, features, metrics
from modelhub.ml.tabular.recipes import table

WORKLOAD, GAIN_TARGET_PCT = "equipment-fault", 18.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Chances of a fault on the validation rows. Shapes: truth (N,), each score (N,)."""

    truth: np.ndarray
    by_model: dict[str, np.ndarray]

    def area(self, name: str) -> float:
        """Area under precision and recall."""
        return metrics.average_precision(self.truth, self.by_model[name])


def plain_scores(seed: int) -> dict[str, np.ndarray]:
    """The two plain models on raw columns, and boosting with the vertical's features."""
    rows, truth = table(WORKLOAD, "train")
    held, _ = table(WORKLOAD, "val")
    models: dict[str, tuple[Any, Any]] = {
        "plain_boosting": (GradientBoostingClassifier(random_state=seed), features.raw),
        "logistic_regression": (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            features.raw,
        ),
        "boosting_with_physics": (GradientBoostingClassifier(random_state=seed), features.equipment),
    }
    return {
        name: model.fit(encode(rows), truth).predict_proba(encode(held))[:, 1]
        for name, (model, encode) in models.items()
    }


def served_scores(model: Any) -> Scores:
    """The shipped model's chances, through the runner that serves."""
    records, targets = data.load(WORKLOAD, "val")
    found = np.array([item["probability"] for item in model.predict(WORKLOAD, records)])
    return Scores(np.array(targets), {"private": found})


def typed_scores(seed: int) -> dict[str, np.ndarray]:
    """The network with experts by type, its experts silenced, a router by chance trained as long, and one bank for all types."""
    from modelhub.ml.tabular.gating import TypedConfig, train_typed

    rows, truth = table(WORKLOAD, "train")
    held, _ = table(WORKLOAD, "val")
    inputs, judged = (features.equipment(part).astype(np.float64) for part in (rows, held))
    config = TypedConfig()
    own = train_typed(inputs, truth, config, seed)
    found = {"experts_by_type": own.probabilities(judged)}
    own.silence(True)
    found["experts_silenced"] = own.probabilities(judged)
    for name, change in (
        ("random_router", {"random_router": True}),
        ("experts_for_all_types", {"free": True}),
    ):
        found[name] = train_typed(inputs, truth, replace(config, **change), seed).probabilities(judged)
    return found


def gain(scores: Scores, own: str, plain: Sequence[str]) -> dict[str, Any]:
    """How many per cent better `own` is than the best of the plain models, with a 95 % bootstrap interval over rows.

    The best of them is chosen anew in every draw: being better than both is the claim.
    """

    def relative(i: np.ndarray) -> float:
        best = max(metrics.average_precision(scores.truth[i], scores.by_model[name][i]) for name in plain)
        return 100.0 * (metrics.average_precision(scores.truth[i], scores.by_model[own][i]) / best - 1.0)

    return metrics.bootstrap(relative, len(scores.truth))
