"""Which implementation is fastest here: examined, then measured once for each device, kept on disk, explained in words.

One file a device under SWITCHYARD_HOME/hal/. A measurement is keyed by (operator, shape bucket, implementation, version), so
a new version of a runtime is measured again and an old one's figures are never used for it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelhub.hal import conformance, counters
from modelhub.hal.deadline import TookTooLong, within
from modelhub.hal.operators import OPERATORS, Dims, Operands, bucket
from modelhub.hal.profile import CapabilityProfile, today
from modelhub.hal.registry import Implementation, NoBackend, Registry
from modelhub.hal.tune_cache import Measurement, TuneCache

BUDGET_S = 0.15  # measured time for one candidate
TIMEOUT_S = 5.0  # a candidate that needs longer for its few calls is not chosen
WARM_UP, LEAST, MOST = 3, 5, 200
TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for a shape bucket, the candidates in order (the order of failover), and why in words."""

    operator: str
    bucket: str
    chosen: Implementation
    order: tuple[Implementation, ...]
    measurements: tuple[Measurement, ...]
    reasons: tuple[str, ...] = field(default=())


class Autotuner:
    """Chooses by measurement. `clock` is a monotonic clock in seconds."""

    def __init__(
        self, registry: Registry, profile: CapabilityProfile, cache: TuneCache | None = None, *,
        clock: Callable[[], float] = time.perf_counter, timeout_s: float = TIMEOUT_S, budget_s: float = BUDGET_S,
    ) -> None:  # fmt: skip
        self.registry, self.profile = registry, profile
        self.cache = cache or TuneCache.for_device(profile)
        self.clock, self.timeout_s, self.budget_s = clock, timeout_s, budget_s
        self._examined: dict[tuple[str, str, bool], conformance.Verdict] = {}

    def choose(
        self, operator: str, dims: Dims, *, dtypes: Sequence[str] | None = None, device: str | None = None,
        operands: Operands | None = None,
    ) -> Choice:  # fmt: skip
        """The fastest conformant implementation, measured now where it wasn't before. Raises NoBackend.

        On a machine so busy that nothing could be measured in time, the first by priority serves, and the reasons say so.
        """
        op = OPERATORS[operator]
        candidates = self.registry.candidates(operator, dims, dtypes=dtypes, device=device)
        found = self.measure(operator, dims, candidates, operands=operands)
        pairs = list(zip(found, candidates, strict=True))
        ranked = sorted((p for p in pairs if p[0].ms is not None), key=lambda pair: pair[0].ms or 0.0)
        late = [p for p in pairs if p[0].why.startswith(TIMED_OUT) and self._verdict(p[1]).passed]
        if not ranked and not late:
            why = (
                "; ".join(f"{m.implementation}: {m.why}" for m in found) or "none is present for these shapes"
            )
            raise NoBackend(f"no backend runs {operator} on {bucket(op, dims)}: {why}")
        order = tuple(candidate for _, candidate in ranked or late)
        return Choice(
            operator,
            bucket(op, dims),
            order[0],
            order,
            tuple(found),
            tuple(self._explain(ranked, found, order)),
        )

    def measure(
        self, operator: str, dims: Dims, candidates: Sequence[Implementation], *, operands: Operands | None = None,
        fresh: bool = False,
    ) -> list[Measurement]:  # fmt: skip
        """A measurement for each candidate, from the cache unless `fresh`; what was measured is written down.

        What timed out is asked again another day; when everything did, the machine was at fault and nothing is written.
        """
        found, new = [], []
        for candidate in candidates:
            blank = self._blank(candidate, dims)
            known = None if fresh else self.cache.entries.get(blank.key)
            if known is None or (known.why.startswith(TIMED_OUT) and known.date != blank.date):
                known = self._measure(candidate, dims, blank, operands)
                new.append(known)
            found.append(known)
        if any(not each.why.startswith(TIMED_OUT) for each in new):
            self.cache.put(new, self.profile)
        return found

    def _blank(self, candidate: Implementation, dims: Dims) -> Measurement:
        op = OPERATORS[candidate.operator]
        allowed = (
            candidate.allowed_error if candidate.allowed_error is not None else 1.0 - conformance.AGREEMENT
        )
        return Measurement(
            op.name, bucket(op, dims), candidate.key, candidate.backend, candidate.device, candidate.dtype,
            self.registry.version(candidate.backend), None, None, 0, None, allowed, "", candidate.fused, today(),
        )  # fmt: skip

    def _verdict(self, candidate: Implementation) -> conformance.Verdict:
        """Conformance, once a process for each implementation."""
        key = (candidate.operator, candidate.key, candidate.fused)
        if key not in self._examined:
            self._examined[key] = conformance.examine(candidate)
            if not self._examined[key].passed:
                counters.refused(candidate.operator, candidate.key)
        return self._examined[key]

    def _measure(
        self, candidate: Implementation, dims: Dims, blank: Measurement, operands: Operands | None
    ) -> Measurement:
        verdict = self._verdict(candidate)
        if not verdict.passed:
            late = verdict.why.startswith(TIMED_OUT)
            return _with(blank, error=verdict.error, why=verdict.why if late else f"refused: {verdict.why}")
        try:
            times = within(self.timeout_s, lambda: self._times(candidate, dims, operands))
        except TookTooLong:
            return _with(
                blank, error=verdict.error, why=f"{TIMED_OUT}: no {LEAST} calls within {self.timeout_s:g} s"
            )
        except Exception as error:  # a backend raises whatever its runtime chose
            return _with(blank, error=verdict.error, why=f"failed: {type(error).__name__}: {error}"[:300])
        spread = statistics.pstdev(times)
        return _with(blank, ms=statistics.median(times), sigma_ms=spread, n=len(times), error=verdict.error)

    def _times(self, candidate: Implementation, dims: Dims, operands: Operands | None) -> list[float]:
        """Milliseconds of single calls on loaded activations."""
        op = OPERATORS[candidate.operator]
        sample = operands or op.sample(dims)
        prepared = candidate.prepare({n: sample[n] for n in op.constants}, op.attributes, dims)
        loaded = [prepared.load(sample[name]) for name in op.activations]
        until = (
            time.monotonic() + self.timeout_s
        )  # nobody waits any longer: don't go on in the way of the others
        for _ in range(WARM_UP):
            prepared.run(*loaded)
            self._in_time(until)
        prepared.synchronise()
        times: list[float] = []
        while len(times) < LEAST or (sum(times) < 1000 * self.budget_s and len(times) < MOST):
            self._in_time(until)
            began = self.clock()
            prepared.run(*loaded)
            prepared.synchronise()
            times.append(1000 * (self.clock() - began))
        return times

    def _in_time(self, until: float) -> None:
        if time.monotonic() > until:
            raise TookTooLong(f"no {LEAST} calls within {self.timeout_s:g} s")

    def _explain(
        self, ranked: Sequence[tuple[Measurement, Implementation]], found: Sequence[Measurement],
        order: Sequence[Implementation],
    ) -> list[str]:  # fmt: skip
        if not ranked:
            words = [
                f"{order[0].key} is chosen by priority: nothing could be measured in time, the machine is busy"
            ]
        else:
            best, least = ranked[0][0], ranked[0][0].ms or 0.0
            words = [
                f"{best.implementation} ({best.version}) is chosen: median {least:.3f} ms of {best.n} calls on "
                f"{self.profile.name}, error {best.error:.1e} of {best.allowed:.0e} allowed, measured {best.date}"
            ]
            for measured, _ in ranked[1:]:
                ms = measured.ms or 0.0
                words.append(f"{measured.implementation}: {ms:.3f} ms, {ms / least:.2f} times as long")
        words += [f"{m.implementation}: {m.why}" for m in found if m.ms is None]
        words += [f"{name}: not present: {p.detail}" for name, _, p in self.registry.rows() if not p.present]
        words += [f"{name}: lost: {why}" for name, why in self.registry.lost.items()]
        return words


def _with(blank: Measurement, **changes: Any) -> Measurement:
    return Measurement(**{**blank.as_dict(), **changes})
