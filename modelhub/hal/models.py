"""One model in several forms: measured on the inputs it will get, judged against its exact form, the quickest chosen."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelhub.hal.deadline import TookTooLong, within
from modelhub.hal.registry import AGREEMENT, TOLERANCES

Run = Callable[[Any], np.ndarray]
MODEL_TOLERANCE = {"float32": 1e-4} | {
    dtype: 10 * allowed for dtype, allowed in TOLERANCES.items() if dtype != "float32"
}
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Form:
    """`backend/…` for people, the dtype it computes in, and `open()`, which gives a function of one input."""

    name: str
    dtype: str
    open: Callable[[], Run]


@dataclass(frozen=True, slots=True)
class Measured:
    """One form. `times_ms` by call, empty where it failed; `error` relative to the exact form; `agreement` of its labels."""

    name: str
    dtype: str
    times_ms: tuple[float, ...]
    error: float | None
    agreement: float | None
    why: str

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms) if self.times_ms else float("inf")

    @property
    def sigma_ms(self) -> float:
        return statistics.pstdev(self.times_ms) if self.times_ms else float("inf")


def measure_repeats(
    forms: Sequence[Form], inputs: Sequence[Any], exact: Sequence[np.ndarray], label: Callable[[np.ndarray], np.ndarray],
    *, repeats: int = 1, timeout_s: float = 120.0, clock: Callable[[], float] = time.perf_counter,
) -> list[list[Measured]]:  # fmt: skip
    """For each repeat every form on every input, in turns, so that a machine's mood meets all alike.

    `exact`: the answer to each input; `label(answer)` gives what the task reads off an answer. Forms in float32 and the like
    are judged by error, INT8 by agreement of labels; forms that fail or are refused stay listed without times.
    """
    judged = [_judge(form, inputs, exact, label, timeout_s) for form in forms]
    found = []
    for _ in range(repeats):
        times: dict[str, list[float]] = {m.name: [] for m, _ in judged}
        for each in inputs:
            for measured, run in judged:
                if run is not None:
                    began = clock()
                    run(each)
                    times[measured.name].append(1000 * (clock() - began))
        found.append([replace(measured, times_ms=tuple(times[measured.name])) for measured, _ in judged])
    return found


def measure(
    forms: Sequence[Form], inputs: Sequence[Any], exact: Sequence[np.ndarray], label: Callable[[np.ndarray], np.ndarray],
    **more: Any,
) -> list[Measured]:  # fmt: skip
    """One repeat of `measure_repeats`."""
    return measure_repeats(forms, inputs, exact, label, **more)[0]


def _judge(
    form: Form, inputs: Sequence[Any], exact: Sequence[np.ndarray], label: Callable[[np.ndarray], np.ndarray],
    timeout_s: float,
) -> tuple[Measured, Run | None]:  # fmt: skip
    def out(why: str, error: float | None = None, agreement: float | None = None) -> Measured:
        return Measured(form.name, form.dtype, (), error, agreement, why)

    try:
        run = form.open()
        for _ in range(WARM_UP):
            run(inputs[0])
        answers = within(timeout_s, lambda: [run(each) for each in inputs])
    except TookTooLong as late:
        return out(f"timed out: {late}"), None
    except Exception as raised:  # a runtime raises whatever it chose
        return out(f"failed: {type(raised).__name__}: {raised}"[:300]), None
    if not all(np.isfinite(answer).all() for answer in answers):
        return out("refused: numbers that are not finite"), None
    error = max(
        float(np.abs(a - e).max() / max(np.abs(e).max(), 1e-30)) for a, e in zip(answers, exact, strict=True)
    )
    agreement = float(np.mean([np.mean(label(a) == label(e)) for a, e in zip(answers, exact, strict=True)]))
    if form.dtype == "int8" and agreement < AGREEMENT:
        return out(
            f"refused: {agreement:.2%} of labels agree, at least {AGREEMENT:.1%} must", error, agreement
        ), None
    if form.dtype != "int8" and error > MODEL_TOLERANCE[form.dtype]:
        return out(
            f"refused: error {error:.1e}, allowed {MODEL_TOLERANCE[form.dtype]:.0e}", error, agreement
        ), None
    return out("", error, agreement), run


def quickest(found: Sequence[Measured], dtypes: Sequence[str] | None = None) -> Measured:
    """The form of least median among those that passed. Raises LookupError with what each said."""
    standing = [m for m in found if m.times_ms and (dtypes is None or m.dtype in dtypes)]
    if not standing:
        raise LookupError("; ".join(f"{m.name}: {m.why or 'another dtype'}" for m in found))
    return min(standing, key=lambda m: m.median_ms)
