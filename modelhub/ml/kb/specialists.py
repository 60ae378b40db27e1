"""Whose the experts of `code-kb` are: switch off the two that a kind of equipment uses most, and see whose facts are gone.

Here experts carry everything (silenced, they leave what guessing gives), so this is where the question can be asked. A kind of
equipment stands for a line of business: its codes mean something else than the same codes elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from modelhub.ml.activation.specialised import TIMES, Pair, hottest, mutual_information, switched_off
from modelhub.ml.fairness.intervals import paired_difference
from modelhub.ml.kb.facts import ATTRIBUTES, EQUIPMENT, Facts
from modelhub.ml.kb.model import KnowledgeNet, tensors

AT_ONCE, RANDOM_PAIRS = 4096, 6


@torch.no_grad()
def recalled(model: KnowledgeNet, facts: Facts) -> tuple[np.ndarray, np.ndarray]:
    """Which answers are right (N, attributes), and the facts that each expert saw of each kind (kinds, layers, E)."""
    equipment, code, answers = tensors(facts, "cpu")
    ends = np.cumsum(list(ATTRIBUTES.values()))
    right = np.zeros(facts.answers.shape, bool)
    loads = np.zeros((len(EQUIPMENT), model.config.layers, model.config.experts), np.int64)
    for start in range(0, len(facts), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        logits, routings = model(equipment[part], code[part])
        for index, (end, size) in enumerate(zip(ends, ATTRIBUTES.values(), strict=True)):
            right[part, index] = (logits[:, end - size : end].argmax(1) == answers[part, index]).numpy()
        for layer, routing in enumerate(routings):
            fact, slot = (routing.weights > 0).nonzero(as_tuple=True)
            seen = (facts.equipment[part][fact.numpy()], layer, routing.experts[fact, slot].numpy())
            np.add.at(loads, seen, 1)
    return right, loads


def measure(model: KnowledgeNet, facts: Facts, *, seed: int = 1) -> dict[str, Any]:
    """By kind of equipment: its hottest pair, the points it costs the kind (with its lower 95 % bound) and the others."""
    right, loads = recalled(model, facts)
    gates = [block.gate for block in model.blocks]
    rng = np.random.default_rng(seed)

    def without(pair: Pair) -> np.ndarray:
        with switched_off(gates, pair):
            return recalled(model, facts)[0]

    def lost(after: np.ndarray, kind: int) -> tuple[float, float, float]:
        own = facts.equipment == kind
        mine = paired_difference(right[own].ravel(), after[own].ravel())
        each = [
            right[facts.equipment == other].mean() - after[facts.equipment == other].mean()
            for other in np.unique(facts.equipment)
            if other != kind
        ]
        return 100 * mine.value, 100 * mine.low, 100 * float(np.mean(each))

    places = [tuple(int(rng.integers(size)) for size in loads.shape[1:]) for _ in range(2 * RANDOM_PAIRS)]
    drawn = [without((places[2 * i], places[2 * i + 1])) for i in range(RANDOM_PAIRS)]  # type: ignore[arg-type]
    kinds = {}
    for kind in np.unique(facts.equipment):
        pair = hottest(loads, int(kind))
        own, low, others = lost(without(pair), int(kind))
        kinds[EQUIPMENT[kind]] = {
            "experts": [list(place) for place in pair], "own_points": own, "own_points_low": low, "others_points": others,
            "met": low > 0 and own >= TIMES * max(0.0, others),
            "random_own_points": [lost(after, int(kind))[0] for after in drawn],
        }  # fmt: skip
    return {
        "recalled": float(right.mean()), "experts": int(np.prod(loads.shape[1:])), "kinds": kinds,
        "mutual_information": mutual_information(loads), "met": sum(row["met"] for row in kinds.values()),
    }  # fmt: skip
