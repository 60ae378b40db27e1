"""What a version costs and how often it is right, from cells and measurements, for the estimate and all its resamplings at once.

Where a request would go as it went, what really happened counts; elsewhere the deployment's tokens, time and rate of right
answers on requests of that workload and stratum. Everything is an array over replicates; the first is the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routing.whatif.basis import Basis, Rates
from routing.whatif.cells import UNDER, UNKNOWN, Cells
from routing.whatif.columns import NOBODY
from routing.whatif.plans import Chain
from routing.whatif.rates import OWN_JUDGED

LEAST_JUDGED, LEAST_MEASURED, LEAST_CONFIDENCES = 30, 20, 30
Floats = NDArray[np.float64]


FIGURES = ("n", "cost", "today", "latency", "right", "judgeable", "answered", "private", "external")


@dataclass
class Value:
    """What the requests of one cell come to; arrays over replicates."""

    n: Floats
    cost: Floats
    today: Floats
    latency: Floats
    right: Floats  # NaN where nobody knows how often its deployment is right
    external: Floats
    answered: Floats


@dataclass
class Estimate:
    """An arm's figures: name → (R, workloads); and of each cell per request: name → (cells,), of the estimate alone."""

    totals: dict[str, Floats]
    cells: dict[str, Floats]
    evidence: dict[tuple[int, int, str], tuple[int, int, float]] = field(default_factory=dict)
    # (workload, deployment, what) → (n, needed, requests that rest on it)


def estimate(cells: Cells, basis: Basis, weights: Floats, *, as_it_was: bool = True) -> Estimate:
    """`weights` (R, blocks) draw the blocks of the requests asked about: the basis' own, or those of another period, of which
    nothing that happened may be used (`as_it_was=False`)."""
    names = len(basis.strata.names)
    totals = {name: np.zeros((len(weights), names)) for name in FIGURES}
    each = {name: np.zeros(len(cells.key)) for name in ("cost", "today", "right", "answered")}
    result = Estimate(totals, each)
    sums = {name: weights @ values.T for name, values in cells.sums.items()}
    for i, key in enumerate(cells.key.tolist()):
        one = {name: values[:, i] for name, values in sums.items()}
        value = _Pricing(basis, basis.of(key[0]), key, one, result.evidence, as_it_was).value(
            cells.chains[key[7]]
        )
        w = key[0]
        totals["n"][:, w] += value.n
        totals["cost"][:, w] += value.cost
        totals["today"][:, w] += value.today
        totals["latency"][:, w] += value.latency
        totals["answered"][:, w] += value.answered
        totals["external"][:, w] += value.external
        totals["private"][:, w] += value.answered - value.external
        if not np.isnan(value.right[0]):
            totals["right"][:, w] += value.right
            totals["judgeable"][:, w] += value.answered
        n = max(1e-12, float(value.n[0]))
        for name, figure in (("cost", value.cost), ("today", value.today), ("right", value.right)):
            each[name][i] = figure[0] / n
        each["answered"][i] = value.answered[0] / n
    return result


class _Pricing:
    """One cell's value: as it was, or as its chain would have made it."""

    def __init__(
        self,
        basis: Basis,
        rates: Rates,
        key: Sequence[int],
        sums: Mapping[str, Floats],
        evidence: dict[tuple[int, int, str], tuple[int, int, float]],
        as_it_was: bool,
    ) -> None:
        self.as_it_was = as_it_was
        self.basis, self.rates, self.sums, self.evidence = basis, rates, sums, evidence
        (
            self.workload,
            self.stratum,
            self.segment,
            self.first,
            self.last,
            self.escalated,
            self.reached,
            _,
        ) = key
        self.code = {target.name: i for i, target in enumerate(basis.targets)}

    def value(self, chain: Chain) -> Value:
        n = self.sums["n"]
        zero = np.zeros_like(n)
        if not chain:
            return Value(n, zero, zero, zero, zero, zero, zero)
        steps = [(self.code[name], until) for name, until in chain]
        first, until = steps[0]
        if first != self.first or not self.as_it_was:
            return self._predicted(steps, n)
        if until is None:
            return self._predicted(steps, n) if self.escalated else self._as_it_was(self._accuracy(self.last))
        if self.escalated:
            known = self.last in [code for code, _until in steps[1:]]
            return self._as_it_was(self._accuracy(self.last)) if known else self._predicted(steps, n)
        if self.reached == UNKNOWN:
            return self._predicted(steps, n)
        if self.reached == UNDER:
            more = self._predicted(steps[1:], n)
            was = self._as_it_was(more.right / np.maximum(n, 1e-12))
            return Value(
                n, was.cost + more.cost, was.today + more.today, was.latency + more.latency, more.right,
                more.external, more.answered,
            )  # fmt: skip
        return self._as_it_was(self._accepted(first, until))

    def _as_it_was(self, accuracy: Floats) -> Value:
        n, cost = self.sums["n"], self.sums["cost"]
        target = self.basis.targets[self.last if self.last != NOBODY else self.first]
        answered = n if self.last != NOBODY else np.zeros_like(n)
        external = answered if target.side == "external" else np.zeros_like(n)
        return Value(
            n,
            cost,
            cost * self._repriced(target.name),
            self.sums["latency"],
            accuracy * n,
            external,
            answered,
        )

    def _repriced(self, name: str) -> float:
        """Today's price of what was paid then, by the usual tokens of this cell."""
        code = self.code[name]
        then, today = self.basis.prices.then(name, self.segment), self.basis.prices.today.get(name)
        if today is None or then is None:
            return (
                1.0 / float(self.basis.factor[self.workload, code]) if then is None and today is None else 1.0
            )
        if then.version == today.version:
            return 1.0
        old, new = (float(self._paid(code, sheet, np.ones(1))[0]) for sheet in (then, today))
        return new / old if old else 1.0

    def _paid(self, code: int, sheet: object, n: Floats, size: Floats | None = None) -> Floats:
        rates, s = self.rates, self.stratum
        r = slice(0, len(n))
        size = n * _mean(self.sums["size"], self.sums["n"]) if size is None else size
        tokens_in = (size + n) * rates.tokens_in[r, code, s]
        return self.basis.prices.cost(  # type: ignore[no-any-return]
            self.basis.targets[code].name, sheet, n=n, tokens_in=tokens_in,  # type: ignore[arg-type]
            tokens_out=n * rates.tokens_out[r, code, s], ns=n * rates.ns[r, code, s],
            usual_in=_mean(tokens_in, n),
        )  # fmt: skip

    def _predicted(self, steps: Sequence[tuple[int, float | None]], n: Floats) -> Value:
        """The chain's expected value: each step is paid for by those that reach it."""
        code, until = steps[0]
        target = self.basis.targets[code]
        size = self.sums["size"] * np.divide(n, self.sums["n"], out=np.ones_like(n), where=self.sums["n"] > 0)
        factor = float(self.basis.factor[self.workload, code])
        prices = self.basis.prices
        cost = self._paid(code, prices.then(target.name, self.segment), n, size) * factor
        today = self._paid(code, prices.today.get(target.name), n, size)
        today = today * factor if prices.today.get(target.name) is not None else today
        latency = n * self.rates.ms[:, code, self.stratum]
        self._rests_on(code, n)
        outside = n if target.side == "external" else np.zeros_like(n)
        if until is None or len(steps) == 1:
            return Value(n, cost, today, latency, n * self._accuracy(code), outside, n)
        told = self.rates.escalation(code, until)
        under = (told.under + 0.5) / (told.asked + 1.0)
        self._note(code, "confidence", int(told.asked[0]), LEAST_CONFIDENCES, n)
        more = self._predicted(steps[1:], n * under)
        kept = 1 - under
        return Value(
            n, cost + more.cost, today + more.today, latency + more.latency,
            n * kept * self._accepted(code, until) + more.right, outside * kept + more.external, n,
        )  # fmt: skip

    def _accepted(self, code: int, until: float) -> Floats:
        """How often answers over the threshold are right."""
        told = self.rates.escalation(code, until)
        return (told.correct + OWN_JUDGED * self._accuracy(code)) / (told.judged + OWN_JUDGED)

    def _accuracy(self, code: int) -> Floats:
        if code == NOBODY:
            return np.zeros(len(self.sums["n"]))
        return self.rates.accuracy[:, code, self.stratum]

    def _rests_on(self, code: int, n: Floats) -> None:
        judged, measured = int(self.rates.judged[code]), int(self.rates.count[code])
        self._note(code, "accuracy", judged, LEAST_JUDGED, n)
        if not (
            self.basis.targets[code].side == "private"
            and self.basis.targets[code].usual_ns.get(self.rates.name)
        ):
            self._note(code, "tokens", measured, LEAST_MEASURED, n)

    def _note(self, code: int, what: str, n: int, needed: int, requests: Floats) -> None:
        if n < needed:
            key = (self.workload, code, what)
            before = self.evidence.get(key, (0, 0, 0.0))[2]
            self.evidence[key] = (n, needed, before + float(requests[0]))


def _mean(total: Floats, n: Floats) -> float:
    return float(total[0] / n[0]) if n[0] > 0 else 0.0
