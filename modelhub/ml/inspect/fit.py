"""Fits the three linear models: names by word, attempts and instructions by their loudest window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from modelhub.ml.inspect.look import Look
from modelhub.ml.inspect.model import WINDOW
from modelhub.ml.inspect.reading import Lists, candidates

ROUNDS = 3
KEEP = 3  # windows of an attack that are taken for its attempt: the loudest
STEP = WINDOW // 2


def linear(
    rows: Sequence[Sequence[Any]],
    labels: Sequence[int],
    *,
    c: float,
    least: int,
    weights: Sequence[float] | None = None,
) -> tuple[dict[Any, float], float]:
    """(feature → weight, bias) of a logistic regression; features seen in fewer than `least` rows are left out."""
    seen: dict[Any, int] = {}
    for row in rows:
        for feature in set(row):
            seen[feature] = seen.get(feature, 0) + 1
    index = {f: i for i, f in enumerate(sorted(f for f, n in seen.items() if n >= least))}
    data, columns, starts = [], [], [0]
    for row in rows:
        counts: dict[int, int] = {}
        for feature in row:
            if feature in index:
                counts[index[feature]] = counts.get(index[feature], 0) + 1
        columns += counts
        data += counts.values()
        starts.append(len(columns))
    matrix = sparse.csr_matrix((np.array(data, float), columns, starts), (len(rows), len(index)))
    fitted = LogisticRegression(C=c, max_iter=400, class_weight="balanced").fit(
        matrix, labels, sample_weight=weights
    )
    values = fitted.coef_[0]
    return {f: float(values[i]) for f, i in index.items() if abs(values[i]) >= 0.02}, float(
        fitted.intercept_[0]
    )


def grams(words: Sequence[str]) -> list[str]:
    return [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))]


def windows(text: str) -> list[list[str]]:
    words = Look(text).sequence
    if len(words) <= WINDOW:
        return [words]
    return [words[i : i + WINDOW] for i in range(0, len(words) - WINDOW + STEP, STEP)]


def by_window(
    bad: Sequence[str], good: Sequence[str], *, c: float, least: int = 2
) -> tuple[dict[str, float], float]:
    """Only somewhere in a bad text is it bad: after each round its loudest windows stand for it."""
    negatives = [grams(w) for text in good for w in windows(text)]
    positives = [[grams(w) for w in windows(text)] for text in bad]
    chosen = [w for text in positives for w in text]
    model: tuple[dict[str, float], float] = ({}, 0.0)
    for _ in range(ROUNDS):
        model = linear([*chosen, *negatives], [1] * len(chosen) + [0] * len(negatives), c=c, least=least)
        weights = model[0]
        chosen = [w for text in positives for w in sorted(text, key=lambda g: -total(weights, g))[:KEEP]]
    return model


def total(weights: dict[str, float], features: Sequence[str]) -> float:
    return sum(weights.get(f, 0.0) for f in features)


def name_rows(
    texts: Sequence[tuple[str, Sequence[tuple[int, int]]]], lists: Lists, known: Callable[[str], bool]
) -> tuple[list[tuple[str, ...]], list[int]]:
    """Features and labels of every candidate word. `known(name)` says whether the lists may know it: some are withheld, so
    that the rest of a sentence is learnt too."""
    rows, labels = [], []
    for text, spans in texts:
        hidden = {word.lower() for a, b in spans for word in text[a:b].split() if not known(word.lower())}
        for candidate in candidates(Look(text), lists.without(hidden)):
            rows.append(candidate.features)
            labels.append(int(any(a < candidate.end and candidate.start < b for a, b in spans)))
    return rows, labels
