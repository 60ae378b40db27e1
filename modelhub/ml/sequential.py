"""Tests that may be looked at after every answer: is the new one worse than the old one, and by how much at most.

An e-process is a bet against "the new one is no worse": whoever looks as often as they like is wrong with chance at most
alpha when they act at 1/alpha (Ville 1939). The bet on two rates is that of Turner, Ly and Grünwald 2024 (Generic E-variables,
arXiv:2106.02693); the bounds that hold at all times at once are the beta mixture of Robbins 1970. Pure numpy and scipy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from scipy.optimize import brentq
from scipy.special import betaln

BLOCK = 8  # outcomes a bet is made on, at least; more bets learn sooner, fewer cost less
LEAST_EFFECT = 0.02  # a smaller difference of rates is not worth going back for


@dataclass(slots=True)
class WorseTest:
    """Evidence that the first of two rates of bad outcomes is higher than the second, kept from look to look.

    `log_e` ≥ log(1/alpha) at any time refutes "no worse" at level alpha, whatever the rates are.
    """

    log_e: float = 0.0
    highest: float = 0.0  # of log_e so far: what was refuted once stays refuted
    n_new: int = 0
    bad_new: int = 0
    n_old: int = 0
    bad_old: int = 0
    waiting: tuple[int, int, int, int] = (0, 0, 0, 0)  # n, bad of the new; n, bad of the old: not bet on yet
    least_effect: float = LEAST_EFFECT

    def see(self, outcomes: Iterable[tuple[bool, bool]]) -> None:
        """Outcomes in the order they came: (is it the new one's, was it bad)."""
        for is_new, bad in outcomes:
            n, k, m, j = self.waiting
            self.waiting = (n + 1, k + bad, m, j) if is_new else (n, k, m + 1, j + bad)
            if self.waiting[0] and self.waiting[2] and self.waiting[0] + self.waiting[2] >= BLOCK:
                self._bet(*self.waiting)
                self.waiting = (0, 0, 0, 0)

    def see_counts(self, n_new: int, bad_new: int, n_old: int, bad_old: int) -> None:
        """Sums that came together, where the order inside is not known: one bet on all of them, however many."""
        n, k, m, j = self.waiting
        self.waiting = (n + n_new, k + bad_new, m + n_old, j + bad_old)
        if self.waiting[0] and self.waiting[2]:
            self._bet(*self.waiting)
            self.waiting = (0, 0, 0, 0)

    def _bet(self, n: int, k: int, m: int, j: int) -> None:
        """The block's likelihood under what was learnt before it, over that under one common rate."""
        new, old = self._guess()
        if new > old:
            common = (n * new + m * old) / (n + m)
            self.log_e += (
                k * math.log(new / common)
                + (n - k) * math.log((1 - new) / (1 - common))
                + j * math.log(old / common)
                + (m - j) * math.log((1 - old) / (1 - common))
            )
            self.highest = max(self.highest, self.log_e)
        self.n_new, self.bad_new = self.n_new + n, self.bad_new + k
        self.n_old, self.bad_old = self.n_old + m, self.bad_old + j

    def _guess(self) -> tuple[float, float]:
        """Rates to bet on, from earlier blocks alone; at least the least effect apart, so that trifles aren't bet on."""
        old = (self.bad_old + 0.5) / (self.n_old + 1)
        new = (self.bad_new + 0.5) / (self.n_new + 1) if self.n_new else old
        new = max(new, old + self.least_effect)
        ceiling = 1 - 1e-6
        return min(new, ceiling), min(old, ceiling - 1e-6)

    @property
    def e_value(self) -> float:
        """The evidence now, cut so that JSON can hold it."""
        return math.exp(min(self.highest, 700.0))

    def refutes(self, alpha: float) -> bool:
        """Whether it was worse, surely enough, at any look so far."""
        return self.highest >= math.log(1 / alpha)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"waiting": list(self.waiting)}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> WorseTest:
        return cls(**(kept | {"waiting": tuple(kept.get("waiting", (0, 0, 0, 0)))}))


def always_bounds(hits: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """A rate's bounds that hold at every n at once with chance 1 − alpha, from a uniform mixture of alternatives.

    {p : ∫ q^k (1−q)^(n−k) dq < p^k (1−p)^(n−k) / alpha}. Raises ValueError unless 0 <= hits <= n.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"hits={hits}, n={n} must satisfy 0 <= hits <= n")
    if n == 0:
        return 0.0, 1.0
    mixed = betaln(hits + 1, n - hits + 1)

    def against(p: float) -> float:
        said = (hits * math.log(p) if hits else 0.0) + ((n - hits) * math.log1p(-p) if n > hits else 0.0)
        return mixed - said - math.log(1 / alpha)

    share, edge = hits / n, 1e-12
    low = 0.0 if hits == 0 else float(brentq(against, edge, min(share, 1 - edge)))
    high = 1.0 if hits == n else float(brentq(against, max(share, edge), 1 - edge))
    return low, high


def no_worse_by(test: WorseTest, alpha: float = 0.05) -> float:
    """How much higher the new rate may be at most, with chance 1 − alpha at all looks at once."""
    bad, total = test.bad_new + test.waiting[1], test.n_new + test.waiting[0]
    _, high = always_bounds(bad, total, alpha / 2)
    low, _ = always_bounds(test.bad_old + test.waiting[3], test.n_old + test.waiting[2], alpha / 2)
    return high - low
