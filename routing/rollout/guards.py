"""Is the version being rolled out worse than what it replaces? Five sequential tests that may be looked at after every answer.

While a version has a share of the traffic, its requests are held against the rest that ran at the same time; once it has all of
it, against what the version before did on the same workloads, with room for a season's drift. Each test is a bet that loses
money while nothing is wrong (modelhub.ml.sequential, modelhub.ml.fairness.live): all five together take a harmless version back
with chance 5 % at most, however often one looks. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from modelhub.ml.fairness.live import Bettor
from modelhub.ml.sequential import WorseTest

ALPHA = 0.05  # false rollbacks of one publishing, all tests and all looks together
METRICS = ("errors", "latency", "accuracy", "objective", "cost")
MOST_COST = 5.0  # a request counts as so many usual ones of its workload at most
BASELINE_Z = 2.33  # a baseline's own doubt, in standard errors
LEAST_BASELINE = 100  # requests of a workload from which on it has a baseline


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse each may get: shares of all requests, for cost of a usual request. While both versions run side by side
    only `cost` is used: there the other version is the limit."""

    errors: float = 0.02
    latency: float = 0.10
    accuracy: float = 0.05
    cost: float = 0.25

    def as_dict(self) -> dict[str, float]:
        return {"errors": self.errors, "latency": self.latency, "accuracy": self.accuracy, "cost": self.cost}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request that ended. None where it says nothing of a metric. `cost` in usual requests of its workload."""

    new: bool
    workload: str
    failed: bool | None = None
    slow: bool | None = None
    cost: float | None = None
    wrong: bool | None = None
    allowed_wrong: float | None = None  # share that the workload's accuracy objective allows


@dataclass(frozen=True, slots=True)
class Usual:
    """What the version before did on one workload: shares, the cost of a request in its own mean, requests behind each."""

    n: int = 0
    failed: float = 0.0
    slow: float = 0.05
    cost_sd: float = 1.0
    judged: int = 0
    wrong: float = 0.0


@dataclass
class Paired:
    """Is a mean higher, by more than a margin? Each new value is held against the mean of the old ones since the last."""

    margin: float
    bettor: Bettor = field(default_factory=lambda: Bettor(one_sided=True))
    olds: int = 0
    old_sum: float = 0.0
    waiting: list[float] = field(default_factory=list)
    n_new: int = 0
    sum_new: float = 0.0
    n_old: int = 0
    sum_old: float = 0.0

    def see(self, new: bool, value: float) -> None:
        """`value` in 0..1."""
        if new:
            self.n_new, self.sum_new = self.n_new + 1, self.sum_new + value
            if len(self.waiting) < 1_000:
                self.waiting.append(value)
        else:
            self.n_old, self.sum_old = self.n_old + 1, self.sum_old + value
            self.olds, self.old_sum = self.olds + 1, self.old_sum + value
        if self.waiting and self.olds:
            gain = self.waiting.pop(0) - self.old_sum / self.olds - self.margin
            self.bettor.see(max(-1.0, gain / (1 + self.margin)))
            self.olds, self.old_sum = 0, 0.0


@dataclass
class Guards:
    """The five tests of one publishing. `alone`: the version has all of the traffic, and `usual` is what it is held against."""

    limits: Limits = field(default_factory=Limits)
    usual: Mapping[str, Usual] = field(default_factory=dict)
    alone: bool = False
    worse: dict[str, WorseTest] = field(default_factory=dict)
    bets: dict[str, Bettor] = field(default_factory=dict)
    cost: Paired = field(default_factory=lambda: Paired(0.0))
    seen: dict[str, list[float]] = field(default_factory=dict)  # metric → [n, sum] of the new version

    def __post_init__(self) -> None:
        for name in ("errors", "latency", "accuracy"):
            self.worse.setdefault(name, WorseTest())
        for name in METRICS:
            self.bets.setdefault(name, Bettor(one_sided=True))
            self.seen.setdefault(name, [0, 0.0])
        self.cost.margin = self.limits.cost / MOST_COST

    def see(self, outcomes: Iterable[Outcome]) -> None:
        """In the order they came."""
        for one in outcomes:
            if one.allowed_wrong is not None and one.wrong is not None:
                if one.new:
                    self._count("objective", one.wrong)
                    self.bets["objective"].see(float(one.wrong) - one.allowed_wrong)
                continue
            for name, bad in (("errors", one.failed), ("latency", one.slow), ("accuracy", one.wrong)):
                if bad is not None:
                    self._rate(name, one, bad)
            if one.cost is not None:
                self._cost(one)

    def _rate(self, name: str, one: Outcome, bad: bool) -> None:
        if one.new:
            self._count(name, bad)
        if not self.alone:
            self.worse[name].see([(one.new, bad)])
        elif one.new and (allowed := self._allowed(name, one.workload)) is not None:
            self.bets[name].see(float(bad) - allowed)

    def _cost(self, one: Outcome) -> None:
        value = min(max(one.cost or 0.0, 0.0), MOST_COST) / MOST_COST
        if one.new:
            self._count("cost", min(one.cost or 0.0, MOST_COST))
        if not self.alone:
            self.cost.see(one.new, value)
            return
        told = self.usual.get(one.workload)
        if one.new and told is not None and told.n >= LEAST_BASELINE:
            room = self.limits.cost + BASELINE_Z * told.cost_sd / sqrt(told.n)
            self.bets["cost"].see(max(-1.0, value - (1 + room) / MOST_COST))

    def _allowed(self, name: str, workload: str) -> float | None:
        """A baseline's share with its doubt and the room that is left; None where there is no baseline."""
        told = self.usual.get(workload)
        n = 0 if told is None else told.judged if name == "accuracy" else told.n
        if told is None or n < LEAST_BASELINE:
            return None
        share = {"errors": told.failed, "latency": told.slow, "accuracy": told.wrong}[name]
        doubt = BASELINE_Z * sqrt(max(share * (1 - share), 1 / n) / n)
        return min(1.0, share + doubt + float(getattr(self.limits, name)))

    def _count(self, name: str, value: float) -> None:
        self.seen[name][0] += 1
        self.seen[name][1] += float(value)

    def refuted(self) -> str:
        """The metric that got worse, surely enough; empty while none did."""
        alpha = ALPHA / len(METRICS)
        for name in METRICS:
            if name in self.worse and not self.alone and self.worse[name].refutes(alpha):
                return name
            if self._bettor(name).refuted(alpha):
                return name
        return ""

    def _bettor(self, name: str) -> Bettor:
        return self.cost.bettor if name == "cost" and not self.alone else self.bets[name]

    def figures(self) -> dict[str, dict[str, Any]]:
        """Metric → {"n", "new", "old", "evidence"}: shares (cost: usual requests), old null without one, e-value."""
        told = {}
        for name in METRICS:
            n, total = self.seen[name]
            evidence, old = self._bettor(name).e_value, None
            if name in self.worse and not self.alone:
                test = self.worse[name]
                evidence, count = test.e_value, test.n_old + test.waiting[2]
                old = (test.bad_old + test.waiting[3]) / count if count else None
            if name == "cost" and not self.alone and self.cost.n_old:
                old = MOST_COST * self.cost.sum_old / self.cost.n_old
            told[name] = {
                "n": int(n),
                "new": round(total / n, 4) if n else None,
                "old": None if old is None else round(old, 4),
                "evidence": float(f"{evidence:.4g}"),
            }
        return told

    def as_dict(self) -> dict[str, Any]:
        """For a row: plain JSON, with the figures as of now."""
        return {
            "worse": {name: test.as_dict() for name, test in self.worse.items()},
            "bets": {name: _plain(bet) for name, bet in self.bets.items()},
            "cost": {**{k: v for k, v in vars(self.cost).items() if k != "bettor"}, "bettor": _plain(self.cost.bettor)},
            "seen": self.seen, "figures": self.figures(),
        }  # fmt: skip

    @classmethod
    def from_dict(
        cls, kept: Mapping[str, Any], *, limits: Limits, usual: Mapping[str, Usual], alone: bool
    ) -> Guards:
        if not kept:
            return cls(limits, usual, alone)
        cost = dict(kept["cost"])
        return cls(
            limits, usual, alone,
            worse={name: WorseTest.from_dict(test) for name, test in kept["worse"].items()},
            bets={name: Bettor(**bet) for name, bet in kept["bets"].items()},
            cost=Paired(**(cost | {"bettor": Bettor(**cost["bettor"])})),
            seen={name: list(values) for name, values in kept["seen"].items()},
        )  # fmt: skip


def _plain(bettor: Bettor) -> dict[str, Any]:
    return {name: getattr(bettor, name) for name in ("one_sided", "log_wealth", "highest", "bet", "squares")}
