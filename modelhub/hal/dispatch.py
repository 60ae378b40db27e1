"""Operators that keep answering: the fastest backend first, the next one when it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from modelhub.hal import counters
from modelhub.hal.autotune import Autotuner, Choice
from modelhub.hal.operators import OPERATORS, Operands
from modelhub.hal.registry import BackendFailed, Implementation, NoBackend, Prepared

ASK_AGAIN_S = 30.0  # a lost backend is asked again after this long


class Dispatched:
    """One operator with its constants, run where it is fastest. Safe to share by threads.

    A backend that raises is lost: the call goes to the next candidate within the same call, the failover is counted, and
    `explanation` says so. Numbers that aren't finite, from inputs that are, count as a failure of that implementation.
    Raises NoBackend when nobody is left, with what each said.
    """

    def __init__(
        self, tuner: Autotuner, choice: Choice, constants: Operands, attributes: Mapping[str, Any],
        dims: Mapping[str, int], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.tuner, self.choice, self.clock = tuner, choice, clock
        self._constants, self._attributes, self._dims = constants, attributes, dims
        self._prepared: dict[str, Prepared] = {}
        self._out: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self.explanation: list[str] = list(choice.reasons)

    @property
    def runs_on(self) -> str:
        """The implementation that the next call tries first."""
        return self._standing()[0].key if self._standing() else ""

    def __call__(self, *activations: np.ndarray) -> tuple[np.ndarray, ...]:
        said = []
        standing = self._standing()
        for place, implementation in enumerate(standing):
            try:
                return self._run(implementation, activations)
            except BadInput:
                raise
            except Exception as error:  # a backend raises whatever its runtime chose
                following = standing[place + 1].key if place + 1 < len(standing) else ""
                said.append(self._put_out(implementation, error, following))
        raise NoBackend(
            f"no backend is left for {self.choice.operator}: {'; '.join(said) or self._why_out()}"
        )

    def _standing(self) -> list[Implementation]:
        now = self.clock()
        return [
            each for each in self.choice.order
            if each.key not in self._out or now - self._out[each.key][0] >= ASK_AGAIN_S
        ]  # fmt: skip

    def _run(
        self, implementation: Implementation, activations: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        key = implementation.key
        with self._lock:
            prepared = self._prepared.get(key)
            if prepared is None:
                prepared = implementation.prepare(self._constants, self._attributes, self._dims)
                self._prepared[key] = prepared
        found = prepared(*activations)
        if not all(np.isfinite(part).all() for part in found):
            if not all(np.isfinite(part).all() for part in activations):
                raise BadInput(
                    f"{self.choice.operator} was given numbers that are not finite: look at what computes its input"
                )
            raise BackendFailed(f"{key} gave numbers that are not finite")
        if key in self._out:
            with self._lock:
                self._out.pop(key, None)
            self.explanation.append(f"{key} answers again")
        return found

    def _put_out(self, implementation: Implementation, error: Exception, following: str) -> str:
        key, words = implementation.key, f"{type(error).__name__}: {error}"[:200]
        with self._lock:
            self._out[key] = (self.clock(), words)
            self._prepared.pop(key, None)  # what was prepared on a device that went away is gone with it
        counters.failover(self.choice.operator, key, following, type(error).__name__)
        self.explanation.append(f"{key} failed ({words}); {following or 'nobody'} took over")
        return f"{key}: {words}"

    def _why_out(self) -> str:
        return "; ".join(f"{key}: {words}" for key, (_, words) in self._out.items())


class BadInput(ValueError):
    """The caller's numbers aren't finite, so no backend can be blamed."""


def dispatch(
    tuner: Autotuner, operator: str, operands: Operands, *, dtypes: Sequence[str] | None = ("float32",),
    attributes: Mapping[str, Any] | None = None, device: str | None = None,
) -> Dispatched:  # fmt: skip
    """Choose for the shapes of `operands` and hold their constants. Raises NoBackend, and ValueError for shapes that disagree."""
    op = OPERATORS[operator]
    dims = op.dims_of(operands)
    choice = tuner.choose(operator, dims, dtypes=dtypes, device=device, operands=operands)
    constants = {name: operands[name] for name in op.constants}
    return Dispatched(tuner, choice, constants, {**op.attributes, **(attributes or {})}, dims)
