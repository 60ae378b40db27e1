"""How the learning rate moves over a run."""

from __future__ import annotations

import math


def one_cycle(step: int, steps: int, peak: float, warm: float = 0.1) -> float:
    """Learning rate at a step: up in a line over the first tenth, then down a cosine to a hundredth."""
    rise = max(1, round(steps * warm))
    if step < rise:
        return peak * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
