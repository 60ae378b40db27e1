"""Prediction against what then happened: the mix of requests apart from what the policy did to each. Free of the database.

The window before tells what answers cost and how often they are right; the requests that came after publishing are what it is
asked about. Expected on *those* requests and predicted on the old ones differ by the mix alone; what really happened and what
was expected differ by what the prediction got wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.whatif.basis import Basis
from routing.whatif.cells import cells_of, strata_of
from routing.whatif.columns import NOBODY, Traffic
from routing.whatif.estimate import Estimate, estimate
from routing.whatif.intervals import draws, interval
from routing.whatif.replay import SEED, Question, plan, with_codes
from switchyard.core.money import format_usd

Floats = NDArray[np.float64]
PER = 1_000  # requests that costs are told for
LEAST_REQUESTS = 200


@dataclass(frozen=True)
class Means:
    """One measure over replicates: as predicted on the old mix, expected on the new one, under the version before, and true."""

    predicted: Floats
    expected: Floats
    before: Floats
    actual: Floats
    blocks: int

    @property
    def error(self) -> float:
        return float(self.actual[0] - self.expected[0])

    def bounds(self) -> tuple[float, float] | None:
        """Where the truth was to be expected: the estimate's own doubt, and that of a period as short as this."""
        gap = interval(self.actual - self.expected, self.blocks)
        if gap is None:
            return None
        middle, error = float(self.expected[0]), self.error
        return middle + gap[0] - error, middle + gap[1] - error

    @property
    def held(self) -> bool | None:
        told = self.bounds()
        return None if told is None else bool(told[0] <= self.actual[0] <= told[1])


@dataclass(frozen=True)
class Truth:
    """(lob, workload) or ("", "") for all → its measures: `cost` (nano-dollars a request), `accuracy`, `latency` (ms)."""

    measures: dict[tuple[str, str], dict[str, Means]]
    requests: dict[tuple[str, str], int]
    judged: dict[tuple[str, str], int]


def hold_against(question: Question, traffic: Traffic, boundary: int, *, seed: int = SEED) -> Truth:
    """`traffic` holds both windows; blocks from `boundary` on are those after publishing. Only requests that the new version
    decided may be in them."""
    random = np.random.default_rng(seed)
    strata = strata_of(traffic)
    old = draws(traffic.blocks, random, of=slice(0, boundary))
    new = draws(traffic.blocks, random, of=slice(boundary, traffic.blocks))
    basis = Basis(traffic, strata, with_codes(traffic, question.targets), question.prices, old, random)
    after = cells_of(traffic, strata, plan(question, question.after, traffic), traffic.blocks)
    before = cells_of(traffic, strata, plan(question, question.before, traffic), traffic.blocks)
    found = {
        "predicted": estimate(after, basis, old, as_it_was=False),
        "expected": estimate(after, basis, new, as_it_was=False),
        "before": estimate(before, basis, new, as_it_was=False),
    }
    actual = _actual(traffic, strata.workload, len(strata.names), new)
    seen = traffic.rows["block"] >= boundary
    spans = [len(set(traffic.rows["block"][which].tolist())) for which in (~seen, seen)]
    blocks = 0 if min(spans) < 2 else sum(spans) - 1  # both windows' spans vary
    measures, requests, judged = {}, {}, {}
    parts: list[tuple[tuple[str, str], list[int]]] = [(("", ""), list(range(len(strata.names))))]
    parts += [(name, [w]) for w, name in enumerate(strata.names)]
    for name, workloads in parts:
        requests[name] = int(round(float(actual["n"][0, workloads].sum())))
        judged[name] = int(round(float(actual["judged"][0, workloads].sum())))
        measures[name] = {
            measure: Means(
                *(_mean(found[which], measure, workloads) for which in ("predicted", "expected", "before")),
                _actual_mean(actual, measure, workloads), blocks,
            )
            for measure in MEASURES
        }  # fmt: skip
    return Truth(measures, requests, judged)


MEASURES = {"cost": ("cost", "n"), "accuracy": ("right", "judgeable"), "latency": ("latency", "answered")}


def _mean(told: Estimate, measure: str, workloads: list[int]) -> Floats:
    top, bottom = MEASURES[measure]
    return _divided(told.totals[top][:, workloads].sum(1), told.totals[bottom][:, workloads].sum(1))


def _actual(
    traffic: Traffic, workload_of: NDArray[np.int64], names: int, weights: Floats
) -> dict[str, Floats]:
    """(R, workloads) sums of what happened in the weighted blocks."""
    rows = traffic.rows
    place = workload_of[rows["group"]] * traffic.blocks + rows["block"]
    answered = (rows["last"] != NOBODY).astype(float)
    columns: dict[str, Any] = {
        "n": np.ones(len(place)), "cost": rows["cost"], "latency": rows["latency"] * answered, "answered": answered,
        "judged": rows["judged"], "correct": rows["correct"],
    }  # fmt: skip
    size = names * traffic.blocks
    return {
        name: weights @ np.bincount(place, values, size).reshape(names, traffic.blocks).T
        for name, values in columns.items()
    }


def _actual_mean(actual: dict[str, Floats], measure: str, workloads: list[int]) -> Floats:
    top, bottom = {
        "cost": ("cost", "n"),
        "accuracy": ("correct", "judged"),
        "latency": ("latency", "answered"),
    }[measure]
    return _divided(actual[top][:, workloads].sum(1), actual[bottom][:, workloads].sum(1))


def _divided(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def as_told(truth: Truth) -> dict[str, Any]:
    """{"requests", "totals": ROW, "workloads": [{"lob", "workload", ROW…}]}, where a ROW holds

    "cost" per 1,000 requests in dollars, "accuracy", "latency_ms": {"predicted", "mix" (expected less predicted: what other
    requests made of it), "expected", "low", "high", "actual", "error", "held", "before" (expected of the version before on the
    same requests), "effect" (actual less before)}, and "requests", "judged". Figures are null where nothing was measured.
    """
    rows = [
        {"lob": lob, "workload": workload, **_row(truth, (lob, workload))}
        for lob, workload in sorted(truth.measures)
        if (lob, workload) != ("", "") and truth.requests[lob, workload]
    ]
    return {"requests": truth.requests["", ""], "totals": _row(truth, ("", "")), "workloads": rows}


def _row(truth: Truth, name: tuple[str, str]) -> dict[str, Any]:
    measures = truth.measures[name]
    enough = truth.requests[name] >= LEAST_REQUESTS
    return {
        "requests": truth.requests[name],
        "judged": truth.judged[name],
        "verdict": "enough" if enough else "not_enough_data",
        "cost": _told(measures["cost"], lambda nusd: format_usd(round(nusd * PER))),
        "accuracy": _told(measures["accuracy"], lambda share: round(share, 4)),
        "latency_ms": _told(measures["latency"], lambda ms: round(ms, 2)),
    }


def _told(means: Means, written: Any) -> dict[str, Any]:
    predicted, expected, before, actual = (
        float(v[0]) for v in (means.predicted, means.expected, means.before, means.actual)
    )
    bounds = means.bounds()
    figures = {
        "predicted": predicted, "mix": expected - predicted, "expected": expected,
        "low": bounds[0] if bounds else None, "high": bounds[1] if bounds else None, "actual": actual,
        "error": actual - expected, "before": before, "effect": actual - before,
    }  # fmt: skip
    told = {
        name: None if value is None or not np.isfinite(value) else written(value)
        for name, value in figures.items()
    }
    share = (
        100 * (actual - expected) / expected if expected and np.isfinite([actual, expected]).all() else None
    )
    return told | {"error_pct": None if share is None else round(share, 2), "held": means.held}
