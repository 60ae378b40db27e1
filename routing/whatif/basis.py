"""What estimates rest on: each workload's measurements as rates, for the estimate and every resampling of its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routing.whatif.cells import Escalation, Measured, Strata, escalation_of, measured_of
from routing.whatif.columns import Traffic
from routing.whatif.prices import Prices, corrections
from routing.whatif.rates import OWN_JUDGED, OWN_REQUESTS, fill_unmeasured, two_way_means, two_way_rates

SD_ELSEWHERE, SD_ASSUMED = 0.15, 0.35  # of the logarithm, where a deployment never answered this workload
SD_TESTED = 1.25  # of an answer's tokens, in means: what an evaluation's rows vary by
SD_INTERPLAY, LOGIT_INTERPLAY = (
    0.10,
    0.25,
)  # of a cell around the two-way model, where it has nothing of its own
PREFILL = 0.02  # of a written token's time that a token read takes
CALL_WORK = 5.0  # written tokens' worth of time that a call takes before its first
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Used:
    """What an evaluation's rows took: sums over them. `size` as the fact `request.tokens_in` counts."""

    rows: int
    size: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class Target:
    """A deployment as the estimate knows it, by workload: `usual_ns` an answer, `evaluated` → (correct, rows), `used`."""

    name: str
    side: str
    usual_ns: Mapping[str, int] = field(default_factory=dict)
    evaluated: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    used: Mapping[str, Used] = field(default_factory=dict)


@dataclass
class Basis:
    """What the estimates rest on: measurements of every workload, weighted by each replicate's draw of blocks."""

    traffic: Traffic
    strata: Strata
    targets: Sequence[Target]  # by code; the traffic's first
    prices: Prices
    weights: Floats  # (R, blocks); the first row 1, or 0 for blocks that nothing rests on
    random: np.random.Generator
    measured: list[Measured] = field(init=False)
    factor: Floats = field(init=False)
    noise: Floats = field(init=False)
    rates: dict[int, Rates] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.measured = measured_of(self.traffic, self.strata, len(self.targets))
        own = self.weights[0][self.traffic.tries["block"]] > 0
        known = corrections(self.traffic, self.prices, self.strata.workload, len(self.strata.names), own)
        self.factor = np.ones((len(self.strata.names), len(self.targets)))
        self.factor[:, : known.shape[1]] = known[:, : len(self.targets)]
        self.noise = self.random.standard_normal((len(self.weights), len(self.targets)))
        self.noise[0] = 0.0

    def of(self, workload: int) -> Rates:
        if workload not in self.rates:
            self.rates[workload] = Rates(self, workload)
        return self.rates[workload]

    def part(self, name: str, size: str) -> Floats:
        """(D, workloads) means of everything measured: how deployments compare where they do meet."""
        own = self.weights[0]
        top = np.stack([np.tensordot(own, m.sums[name], 1).sum(1) for m in self.measured], axis=1)
        bottom = np.stack([np.tensordot(own, m.sums[size], 1).sum(1) for m in self.measured], axis=1)
        _, part = two_way_means(top[None], bottom[None], bottom[None])
        return part[0]


class Rates:
    """One workload's measurements as rates: arrays (R, D, S)."""

    def __init__(self, basis: Basis, workload: int) -> None:
        self.basis, self.workload = basis, workload
        self.name = basis.strata.names[workload][1]
        sums = {
            name: np.einsum("rb,bds->rds", basis.weights, values)
            for name, values in basis.measured[workload].sums.items()
        }
        n = sums["n"]
        used = [target.used.get(self.name) or Used(0, 0, 0, 0) for target in basis.targets]
        rows = np.array([u.rows for u in used], np.float64)
        size = sums["size"] + n  # an empty text has one token at least
        tested = np.array([u.size + u.rows for u in used], np.float64)
        taken_in, taken_out = (
            np.array([getattr(u, f"tokens_{way}") for u in used], float) for way in ("in", "out")
        )
        self.tokens_in = self._means(
            "tokens_in", sums["tokens_in"], size, n, "size", (taken_in, tested, rows)
        )
        self.tokens_out = self._means("tokens_out", sums["tokens_out"], n, n, "n", (taken_out, rows, rows))
        # Time goes with the work: tokens written, and a little for those read (PREFILL), whoever answers.
        work = sums["tokens_out"] + PREFILL * sums["tokens_in"] + n
        per_answer = self.tokens_out + PREFILL * self.tokens_in * _mean_size(size, n) + 1
        self.ms = self._means("ms", sums["ms"], work + CALL_WORK * n, n, "n") * (per_answer + CALL_WORK)
        self.ns = self._nanoseconds(sums["accelerator_ns"], work, n) * per_answer
        self.count = n[0].sum(1) + rows
        self.accuracy, self.judged = self._accuracy(sums)
        self._escalations: dict[tuple[int, float], Escalation] = {}

    def _means(
        self,
        name: str,
        total: Floats,
        size: Floats,
        n: Floats,
        per: str,
        tested: tuple[Floats, Floats, Floats] | None = None,
    ) -> Floats:
        """(R, D, S). `tested`: what evaluation's rows took, their size and count (D,): one more stratum of the model."""
        if tested is not None:
            total, size, n = (
                np.concatenate([a, np.broadcast_to(b, a.shape[:2])[:, :, None]], axis=2)
                for a, b in zip((total, size, n), tested, strict=True)
            )
            # Rows of an evaluation aren't drawn by days: their mean is as sure as so many answers make it.
            doubt = self.basis.random.standard_normal(total.shape[:2]) / np.sqrt(np.maximum(tested[2], 1.0))
            doubt[0] = 0.0
            total = total.copy()
            total[:, :, -1] *= np.exp(SD_TESTED * doubt)
        means, parts = two_way_means(total, size, n)
        means, n = (means, n) if tested is None else (means[:, :, :-1], n[:, :, :-1])
        means = means * np.exp(SD_INTERPLAY * self._doubt(n, OWN_REQUESTS))
        if np.isnan(parts).any():
            elsewhere = self.basis.part(name, per)
            means = fill_unmeasured(
                means, parts, elsewhere, self.basis.noise, sd_elsewhere=SD_ELSEWHERE, sd_assumed=SD_ASSUMED
            )
        return np.nan_to_num(means)

    def _doubt(self, n: Floats, own: float) -> Floats:
        """(R, D, S) normal, the less the more a cell has of its own; 0 in the estimate itself."""
        doubt = self.basis.random.standard_normal(n.shape) * np.sqrt(own / (n + own))
        doubt[0] = 0.0
        return doubt

    def _nanoseconds(self, total: Floats, work: Floats, n: Floats) -> Floats:
        """Accelerator time a unit of work; by what evaluation measured an answer to take where nothing was answered."""
        means, parts = two_way_means(total, work, n)
        usual = np.array([t.usual_ns.get(self.name, 0) for t in self.basis.targets], np.float64)
        whole = work[0].sum() / max(1.0, float(n[0].sum()))  # of an answer here, whoever gave it
        return np.where(np.isnan(parts)[:, :, None], (usual / max(whole, 1.0))[None, :, None], means)

    def _accuracy(self, sums: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        told = np.array([t.evaluated.get(self.name, (0, 0)) for t in self.basis.targets], np.float64)
        rows, share = (
            told[:, 1],
            np.divide(told[:, 0], told[:, 1], out=np.zeros(len(told)), where=told[:, 1] > 0),
        )
        drawn = self.basis.random.binomial(rows.astype(int), share, (len(sums["n"]), len(rows))).astype(float)
        drawn[0] = told[:, 0]
        rates = two_way_rates(sums["correct"], sums["judged"], drawn, np.broadcast_to(rows, drawn.shape))
        doubt = LOGIT_INTERPLAY * self._doubt(sums["judged"], OWN_JUDGED)
        rates = np.clip(rates + rates * (1 - rates) * doubt, 0.0, 1.0)
        return rates, sums["judged"][0].sum(1) + rows

    def escalation(self, target: int, until: float) -> Escalation:
        key = (target, until)
        if key not in self._escalations:
            told = escalation_of(self.basis.traffic, self.basis.strata, self.workload, target, until)
            w = self.basis.weights
            self._escalations[key] = Escalation(
                w @ told.asked, w @ told.under, w @ told.judged, w @ told.correct
            )
        return self._escalations[key]


def _mean_size(size: Floats, n: Floats) -> Floats:
    """(R, 1, S) of a stratum's requests, whoever answered them."""
    total, count = size.sum(1, keepdims=True), n.sum(1, keepdims=True)
    usual = total.sum(2, keepdims=True) / np.maximum(count.sum(2, keepdims=True), 1.0)
    return np.divide(total, count, out=np.broadcast_to(usual, total.shape).copy(), where=count > 0)
