"""Live fairness by betting: evidence that may be looked at after every answer without crying wolf.

Two groups are compared pair by pair as they come; a gambler who bets on the next difference can't grow rich unless there is
one (Chugg et al. 2023, "Auditing Fairness by Betting", arXiv:2305.17570). Wealth of 1/alpha at any time refutes "no
difference" at level alpha. A one-sided bet watches one rate against its limit. CUSUM beside it says when a rate moved.
Everything here is state that goes into a row and comes back: a look costs the new answers only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ALPHA = 0.05
MOST_BET = 0.5  # of one's wealth on a difference in −1..1: wealth stays above 0 whatever comes
_NEWTON = 2 / (2 - math.log(3))  # step of the online Newton method (Cutkosky & Orabona 2018)
MOST_WAITING = 5000
LARGEST_LOG = 690.0  # e^690 still fits a float


@dataclass(slots=True)
class Bettor:
    """Wealth of a gambler on numbers in −1..1 whose mean ought to be 0 (or at most 0 when `one_sided`)."""

    one_sided: bool = False
    log_wealth: float = 0.0
    highest: float = 0.0  # what was refuted once stays refuted
    bet: float = 0.0
    squares: float = 1.0

    def see(self, gain: float) -> None:
        """One outcome. Raises ValueError outside −1..1, NaN included."""
        if not -1.0 <= gain <= 1.0:
            raise ValueError(f"gain={gain} must lie in -1..1")
        self.log_wealth += math.log1p(self.bet * gain)
        self.highest = max(self.highest, self.log_wealth)
        slope = -gain / (1 + self.bet * gain)
        self.squares += slope * slope
        lowest = 0.0 if self.one_sided else -MOST_BET
        self.bet = min(MOST_BET, max(lowest, self.bet - _NEWTON * slope / self.squares))

    @property
    def e_value(self) -> float:
        return math.exp(min(LARGEST_LOG, self.log_wealth))

    def refuted(self, alpha: float = ALPHA) -> bool:
        """Whether the evidence ever reached 1/alpha."""
        return self.highest >= math.log(1 / alpha)


@dataclass(slots=True)
class Difference:
    """Do two groups have the same rate? Outcomes are 0 or 1; the older of each group wait for a partner of the other."""

    bettor: Bettor = field(default_factory=Bettor)
    n: list[int] = field(default_factory=lambda: [0, 0])
    hits: list[int] = field(default_factory=lambda: [0, 0])
    waiting: list[list[int]] = field(default_factory=lambda: [[], []])

    def see(self, outcomes: Iterable[tuple[bool, bool]]) -> None:
        """(is it the group, outcome) in the order they came."""
        for member, outcome in outcomes:
            side = int(member)
            self.n[side] += 1
            self.hits[side] += int(outcome)
            mine, theirs = self.waiting[side], self.waiting[1 - side]
            if theirs:
                other = theirs.pop(0)
                self.bettor.see(int(outcome) - other if member else other - int(outcome))
            elif len(mine) < MOST_WAITING:
                mine.append(int(outcome))

    @property
    def difference(self) -> float | None:
        """Rate of the group less rate of the rest; None before either has an outcome."""
        return self.hits[1] / self.n[1] - self.hits[0] / self.n[0] if all(self.n) else None


@dataclass(slots=True)
class Above:
    """Is a rate above its limit? Outcomes are 0 or 1."""

    limit: float
    bettor: Bettor = field(default_factory=lambda: Bettor(one_sided=True))
    n: int = 0
    hits: int = 0

    def see(self, outcomes: Iterable[bool]) -> None:
        for outcome in outcomes:
            self.n, self.hits = self.n + 1, self.hits + int(outcome)
            self.bettor.see(int(outcome) - self.limit)

    @property
    def rate(self) -> float | None:
        return self.hits / self.n if self.n else None


@dataclass(slots=True)
class Cusum:
    """Page's cumulative sum on a stream of 0 and 1: has the rate risen from what the first `warm_up` outcomes had?

    Log-likelihood ratio of a rate `rise` higher; `threshold` 6 is an average run of thousands without a change.
    """

    warm_up: int = 400
    rise: float = 0.1
    threshold: float = 6.0
    n: int = 0
    hits: int = 0
    sum: float = 0.0
    changed_at: int | None = None  # the outcome at which it was noticed
    began_at: int = 0  # since which outcome the sum hasn't been 0: about when the change was

    def see(self, outcomes: Iterable[bool]) -> None:
        for outcome in outcomes:
            self.n += 1
            if self.n <= self.warm_up:
                self.hits += int(outcome)
                continue
            before = (self.hits + 0.5) / (self.warm_up + 1)
            after = min(0.99, before + self.rise)
            step = math.log(after / before) if outcome else math.log((1 - after) / (1 - before))
            if self.sum <= 0:
                self.began_at = self.n
            self.sum = max(0.0, self.sum + step)
            if self.sum >= self.threshold and self.changed_at is None:
                self.changed_at = self.n


Watch = Difference | Above | Cusum


def as_state(watch: Watch) -> dict[str, Any]:
    """For a row: plain JSON."""
    return {"kind": type(watch).__name__} | asdict(watch)


def from_state(state: Mapping[str, Any]) -> Watch:
    """What `as_state` wrote. Raises ValueError for a kind there isn't."""
    values = {name: value for name, value in state.items() if name != "kind"}
    if "bettor" in values:
        values["bettor"] = Bettor(**values["bettor"])
    kinds: dict[str, Any] = {"Difference": Difference, "Above": Above, "Cusum": Cusum}
    if state.get("kind") not in kinds:
        raise ValueError(f"a watch of kind {state.get('kind')!r}; expected one of {', '.join(kinds)}")
    return kinds[state["kind"]](**values)
