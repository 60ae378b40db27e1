"""Harmless versions stay, worse ones go back: months of made traffic, with days and hours of their own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from routing.rollout.guards import ALPHA, METRICS, Guards, Limits, Outcome, Usual

MONTHS = 100
DAY = {"errors": 0.01, "slow": 0.05, "wrong": 0.12}


def month(
    seed: int, percent: int, *, days: int = 30, per_day: int = 120, worse: dict[str, float] | None = None
) -> list[Outcome]:
    """A month's requests in their order. Rates wander from day to day; `worse` is what the new version adds."""
    random = np.random.default_rng([7, seed])
    worse = worse or {}
    found = []
    for _day in range(days):
        mood = np.exp(random.normal(0, 0.25, 3))
        count = int(per_day * np.exp(random.normal(0, 0.3)))
        draws = random.random((count, 4))
        costs = np.exp(random.normal(-0.5, 1.0, count))  # a mean of one usual request
        for (share, *rest), cost in zip(draws.tolist(), costs.tolist(), strict=True):
            new = share < percent / 100
            rates = [
                min(0.9, base * m + (worse.get(name, 0.0) if new else 0.0))
                for (name, base), m in zip(DAY.items(), mood, strict=True)
            ]
            failed, slow, wrong = (bool(r < rate) for r, rate in zip(rest, rates, strict=True))
            cost = cost * (1 + worse.get("cost", 0.0)) if new else cost
            found.append(
                Outcome(
                    new,
                    "w",
                    failed,
                    None if failed else slow,
                    None if failed else cost,
                    wrong if rest[0] > 0.7 else None,
                )
            )
    return found


def usual(seed: int) -> dict[str, Usual]:
    """The fortnight before, as another draw of the same company."""
    rows = month(seed + 100_000, 100, days=14)
    judged = [r.wrong for r in rows if r.wrong is not None]
    slow, cost = (
        [r.slow for r in rows if r.slow is not None],
        np.array([r.cost for r in rows if r.cost is not None]),
    )
    return {"w": Usual(len(rows), sum(bool(r.failed) for r in rows) / len(rows), sum(map(bool, slow)) / len(slow),
                       float(min(3.0, cost.std() / cost.mean())), len(judged), sum(map(bool, judged)) / len(judged))}  # fmt: skip


def ended(percent: int, seed: int, worse: dict[str, float] | None = None) -> tuple[str, int]:
    """(metric that took it back, after how many of its requests)."""
    guards = Guards(usual=usual(seed) if percent == 100 else {}, alone=percent == 100)
    for i, one in enumerate(month(seed, percent, worse=worse)):
        guards.see([one])
        if i % 50 == 0 and (name := guards.refuted()):
            return name, guards.seen["errors"][0]
    return guards.refuted(), guards.seen["errors"][0]


@pytest.mark.parametrize("percent", [10, 50, 100])
def test_at_most_one_harmless_month_in_twenty_is_taken_back(percent: int) -> None:
    back = sum(bool(ended(percent, seed)[0]) for seed in range(MONTHS))
    assert back / MONTHS <= ALPHA


@pytest.mark.parametrize(
    ("worse", "metric"),
    [({"errors": 0.10}, "errors"), ({"slow": 0.30}, "latency"), ({"wrong": 0.25}, "accuracy"), ({"cost": 1.0}, "cost")],
)  # fmt: skip
@pytest.mark.parametrize("percent", [10, 50, 100])
def test_planted_regressions_are_taken_back(percent: int, worse: dict[str, float], metric: str) -> None:
    """Power ≥ 90 % over 20 months: ten points more errors, thirty more slow calls, 25 more wrong answers, twice the cost."""
    found = [ended(percent, 1_000 + seed, worse) for seed in range(20)]
    caught = [n for name, n in found if name == metric]
    assert len(caught) >= 18
    assert np.median(caught) < 1_500


def test_an_objective_is_held_whatever_the_version_before_did() -> None:
    random, guards = np.random.default_rng(3), Guards()
    for _ in range(2_000):
        wrong = bool(random.random() < 0.2)
        guards.see([Outcome(bool(random.random() < 0.5), "w", wrong=wrong, allowed_wrong=0.1)])
    assert guards.refuted() == "objective"  # both are as bad: the objective alone tells
    kind = Guards()
    for _ in range(2_000):
        kind.see([Outcome(True, "w", wrong=bool(random.random() < 0.2), allowed_wrong=0.25)])
    assert kind.refuted() == ""


def test_a_dearer_version_that_was_foretold_stays() -> None:
    """Cost may rise by what was approved: half again, foretold as 40 to 60 per cent."""
    told = Guards(limits=Limits(cost=0.25 + 0.6))
    for one in month(5, 50, worse={"cost": 0.5}):
        told.see([one])
    assert told.refuted() == ""
    untold = Guards()
    for one in month(5, 50, worse={"cost": 0.9}):
        untold.see([one])
    assert untold.refuted() == "cost"


def test_the_state_survives_a_row() -> None:
    """Half a month, written down and read again, goes on as if nothing had been."""
    rows = month(9, 50, worse={"errors": 0.05})
    whole, halves = Guards(), Guards()
    whole.see(rows)
    halves.see(rows[:700])
    kept: Any = json.loads(json.dumps(halves.as_dict()))
    again = Guards.from_dict(kept, limits=Limits(), usual={}, alone=False)
    again.see(rows[700:])
    assert again.as_dict() == whole.as_dict()
    assert set(again.figures()) == set(METRICS)
