"""Invented fault-code knowledge: which component, cause, remedy and urgency a code stands for on a kind of equipment.

Every maker numbers faults in a way of its own, so the same code means something else on each kind of equipment, and
nothing can be inferred: a fact is either held in the weights or it isn't. Answers are drawn at random from a fixed
seed; no real manual is copied. The score is the share of facts recalled, over all of them: there is no unseen part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EQUIPMENT = (
    "feed pump", "cooling tower", "air compressor", "conveyor", "mixer", "press", "oven", "chiller", "centrifuge", "crane",
    "extruder", "filler", "gearbox", "generator", "grinder", "heat exchanger", "injection moulder", "labeller", "lathe",
    "milling machine", "palletiser", "robot arm", "separator", "welder",
)  # fmt: skip
LETTERS = "ABCDEFGHKLMNPRST"
ATTRIBUTES = {"component": 24, "cause": 24, "remedy": 24, "urgency": 24}
CODE_LENGTH = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """Codes and what they stand for.

    Shapes: equipment (N,) int64; code (N, 3) int64, positions in LETTERS; answers (N, attributes) int64.
    """

    equipment: np.ndarray
    code: np.ndarray
    answers: np.ndarray

    def __len__(self) -> int:
        return len(self.equipment)

    def spelt(self, row: int) -> str:
        """A fact's question in words: the kind of equipment and the code."""
        return f"{EQUIPMENT[self.equipment[row]]} {''.join(LETTERS[i] for i in self.code[row])}"


def generate(*, codes: int = 400, equipment: int = len(EQUIPMENT), seed: int = 1) -> Facts:
    """`codes` facts for each kind of equipment, codes without repetition. Raises ValueError where there are too few codes."""
    possible = len(LETTERS) ** CODE_LENGTH
    if not 1 <= codes <= possible or not 1 <= equipment <= len(EQUIPMENT):
        raise ValueError(
            f"codes={codes} must lie in 1..{possible}, equipment={equipment} in 1..{len(EQUIPMENT)}"
        )
    rng = np.random.default_rng(seed)
    numbers = np.concatenate([rng.choice(possible, codes, replace=False) for _ in range(equipment)])
    code = np.stack([numbers // len(LETTERS) ** place % len(LETTERS) for place in range(CODE_LENGTH)], axis=1)
    answers = np.stack([rng.integers(size, size=len(code)) for size in ATTRIBUTES.values()], axis=1)
    return Facts(np.repeat(np.arange(equipment), codes), code, answers)
