"""All rows of the six text workloads with their trunk features, ready for training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelhub.ml import datasets, features
from modelhub.ml.text.split import folds, spread

__all__ = ["Part", "Parts", "folds", "load_parts", "spread"]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one workload: texts, their features, and the position of each label in `labels`."""

    texts: list[str]
    features: features.Features
    y: np.ndarray
    labels: list[str]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: np.ndarray) -> Part:
        """The rows at these positions."""
        texts = [self.texts[i] for i in indices]
        return Part(texts, self.features.take(indices), self.y[indices], self.labels)

    def join(self, other: Part) -> Part:
        """These rows, then the other's."""
        pooled = np.concatenate([self.features.pooled, other.features.pooled])
        both = features.Features(pooled, self.features.ids + other.features.ids)
        return Part(self.texts + other.texts, both, np.concatenate([self.y, other.y]), self.labels)


Parts = dict[str, Part]


def load_parts(
    split: str, trunk_dir: Path, *, limit: int | None = None, progress: Callable[[str], None] | None = None
) -> Parts:
    """Every workload's rows of a split; `limit` keeps the first so many of each, for a smoke run."""
    parts: Parts = {}
    for workload in datasets.TEXT_WORKLOADS:
        rows = datasets.load(workload, split)
        labels = datasets.label_names(workload)
        if limit is not None:
            rows = rows.take(spread(rows.labels, limit))
        place = {label: index for index, label in enumerate(labels)}
        if progress is not None:
            progress(f"features of {workload}, {split}: {len(rows)} texts")
        made = features.cached(rows.texts, trunk_dir)
        parts[workload] = Part(rows.texts, made, np.array([place[label] for label in rows.labels]), labels)
    return parts
