"""The bootstrap: a figure over rows drawn again. Numpy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def resampled(
    figure: Callable[[np.ndarray], float], n: int, *, groups: np.ndarray | None = None, seed: int = 0, draws: int
) -> np.ndarray:  # fmt: skip
    """`figure(rows)` for rows drawn again, `draws` times: the bootstrap. With `groups` (N,) whole groups are drawn."""
    rng = np.random.default_rng(seed)
    members = None if groups is None else [np.flatnonzero(groups == group) for group in np.unique(groups)]
    found = []
    for _ in range(draws):
        if members is None:
            rows = rng.integers(0, n, n)
        else:
            rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        found.append(figure(rows))
    return np.asarray(found)
