"""What a model's manifest says of its experts: cards and look-alikes, measured once on rows with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelhub.ml.activation.cards import SPECIAL_LIFT, Rows, Served, expert_cards, weakest_busy
from modelhub.ml.activation.redundancy import ALIKE, coactivation, pairs

TAB = "\t"


def describe(
    counts: np.ndarray,
    heads: Sequence[str],
    labels: Sequence[str],
    tokens: np.ndarray,
    *,
    correct: np.ndarray | None = None,
    alike: Sequence[np.ndarray] | None = None,
    threshold: float = ALIKE,
) -> dict[str, Any]:
    """The manifest's `experts` section, plain values only; a card names what its expert serves beyond its part in all.

    Shapes: counts (N, L, E) for N texts; heads, labels, tokens, correct (N,); alike one (E, E) a layer, from
    `redundancy.output_similarity`. Without `alike` no look-alikes are named.
    """
    names = [f"{head}{TAB}{label}" for head, label in zip(heads, labels, strict=True)]
    rows = Rows(counts, names, np.asarray(tokens), correct)
    found: dict[str, Any] = {
        "texts": len(names),
        "cards": [
            {
                "layer": card.layer,
                "expert": card.expert,
                "load": round(card.load, 5),
                "labels": [_label(served) for served in card.labels if served.lift >= SPECIAL_LIFT],
                "lengths": [
                    {"name": s.name, "share": round(s.share, 4), "lift": round(s.lift, 3)}
                    for s in card.lengths
                    if s.lift >= SPECIAL_LIFT
                ],
            }
            for card in expert_cards(rows)
        ],
        "similar": _similar(counts, alike, threshold),
    }
    if correct is not None:
        found["weakest"] = [
            {
                "layer": weak.layer,
                "expert": weak.expert,
                "load": round(weak.load, 5),
                "accuracy": round(weak.accuracy, 4),
                "low": round(weak.low, 4),
                "high": round(weak.high, 4),
                "rows": weak.rows,
                "slices": [_slice(*one) for one in weak.slices],
            }
            for weak in weakest_busy(rows)
        ]
    return found


def _label(served: Served) -> dict[str, Any]:
    head, _, label = served.name.partition(TAB)
    return {"head": head, "label": label, "share": round(served.share, 4), "lift": round(served.lift, 3)}


def _slice(name: str, accuracy: float, rows: int) -> dict[str, Any]:
    head, _, label = name.partition(TAB)
    return {"head": head, "label": label, "accuracy": round(accuracy, 4), "rows": rows}


def _similar(
    counts: np.ndarray, alike: Sequence[np.ndarray] | None, threshold: float
) -> list[dict[str, Any]]:
    found = []
    for layer, matrix in enumerate(alike or []):
        together = coactivation(counts[:, layer, :])
        found += [
            {
                "layer": layer,
                "first": pair.first,
                "second": pair.second,
                "together": round(pair.together, 3),
                "alike": round(pair.alike, 4),
            }
            for pair in pairs(layer, together, matrix)
            if pair.alike >= threshold
        ]
    return found
