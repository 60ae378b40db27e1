"""Every word the trunk knows with the meaning it gives it, narrowed; and words like those of our lists, found by meaning."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np

from modelhub.ml import datasets, features
from modelhub.ml.risk import groups, lexicon

WIDTH = 128
LEAST_SEEN = 3  # tweets in which a word that the trunk's own list lacks must stand
DARK, PLAIN = 0.9, 0.15
MOST_PLAIN = 600


def listed(trunk: Path) -> list[str]:
    """Whole words of the trunk's word pieces, and frequent words of the tweets' training part."""
    pieces = json.loads((trunk / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    own = sorted(word for word in pieces if re.fullmatch(r"[a-z]{2,}", word))
    texts = datasets.load_offensive("en", "train").texts
    seen = Counter(word for text in texts for word in re.findall(r"[a-z]{2,}", text.lower()))
    return own + sorted(word for word, n in seen.items() if n >= LEAST_SEEN and word not in pieces)


def vectors_of(words: list[str], trunk: Path) -> np.ndarray:
    """(W, WIDTH) float32: the trunk's pooled state of each word alone, on the directions that differ most."""
    pooled = features.compute(words, trunk).pooled.astype(np.float32)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True) + 1e-9
    pooled -= pooled.mean(axis=0)
    _, _, directions = np.linalg.svd(pooled, full_matrices=False)
    narrowed = pooled @ directions[:WIDTH].T
    return (narrowed / narrowed.std()).astype(np.float32)


def more_words(words: list[str], vectors: np.ndarray, seed: int = 0) -> dict[str, list[str]]:
    """`vile_adj`: words as dark as those of our lists; `matter`: words that surely are not. None is of the held part."""
    from sklearn.linear_model import LogisticRegression

    rows = {word: i for i, word in enumerate(words)}
    lists, held = lexicon.words_of(lexicon.ENGLISH, "fit"), lexicon.words_of(lexicon.ENGLISH, "held")
    dark = [w for name in ("vile_many", "vile_one", "vile_adj") for w in lists[name] if w in rows]
    plain = [w for name in ("good_adj", "good_many", "thing", "other_many") for w in lists[name] if w in rows]
    drawn = np.random.default_rng(seed).choice(words, 600, replace=False).tolist()
    others = plain + [word for word in drawn if word not in dark]
    X = vectors[[rows[word] for word in dark + others]]
    y = [1] * len(dark) + [0] * len(others)
    model = LogisticRegression(C=0.05, max_iter=500, class_weight="balanced").fit(X, y)
    chance = model.predict_proba(vectors)[:, 1]
    taboo = (
        {word for name in held for entry in held[name] for word in entry.split()}
        | groups.TERMS
        | groups.ADJECTIVES
    )
    free = [i for i, word in enumerate(words) if word not in taboo and len(word) > 3]
    harmless = [words[i] for i in free if chance[i] < PLAIN]
    picked = np.random.default_rng(seed + 1).permutation(len(harmless))[:MOST_PLAIN]
    return {
        "vile_adj": [words[i] for i in free if chance[i] > DARK],
        "matter": [harmless[i] for i in sorted(picked)],
    }
