"""The kit a buyer hands to a supplier: what a device really does of the operator library, as one report.

Coverage (native, fallback, missing, refused), tolerance, speed against the device's own ceiling, memory, and a model of ours
on it. The buyer's challenge seeds every vector, so that a report can't have been made before it was asked for.
"""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.hal import conformance, emulation, graph_facts, graphs, lowering, sessions
from modelhub.hal.autotune import Autotuner
from modelhub.hal.device import CPU
from modelhub.hal.operators import OPERATORS, Operator
from modelhub.hal.profile import CapabilityProfile
from modelhub.hal.registry import Implementation, Registry
from modelhub.hal.tune_cache import Measurement

FORMAT = 1
NATIVE, FALLBACK, MISSING, REFUSED, NOT_RUN = "native", "fallback", "missing", "refused", "not run"
TOKENS = (1, 64, 1024)
MODEL_ROWS = 256


class NoSuchBackend(LookupError):
    """No backend of that name is known."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is certified: a backend, on this machine, answering this challenge."""

    backend: str
    challenge: str
    registry: Registry
    profile: CapabilityProfile
    tuner: Autotuner

    @property
    def seed(self) -> int:
        """The seed of every vector, from the challenge."""
        return int.from_bytes(hashlib.sha256(self.challenge.encode()).digest()[:4], "big") >> 1


def certify(subject: Subject, *, model: Path | None = None) -> dict[str, Any]:
    """The report's body, ready to be signed. A backend that isn't here gives a report that says so, with nothing run.

    `model`: a graph of one float input (N, D) to run on the device too. Raises NoSuchBackend.
    """
    registry, name = subject.registry, subject.backend
    if name not in registry.backends:
        raise NoSuchBackend(f"no backend {name!r}: {', '.join(sorted(registry.backends))}")
    presence = registry.presences[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = [row for op in OPERATORS.values() for row in _operator_rows(subject, op)]
    body: dict[str, Any] = {
        "format": FORMAT, "made": datetime.now(UTC).isoformat(timespec="seconds"), "challenge": subject.challenge,
        "subject": {
            "backend": name, "device": registry.backends[name].device, "present": presence.present,
            "detail": presence.detail, "version": presence.version,
        },
        "machine": subject.profile.as_dict(), "operators": rows,
        "model": _model_rows(subject, model) if model is not None and presence.present else [],
    }  # fmt: skip
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    body["memory"] = {"peak_growth_bytes": max(0, grown) * (1 if sys.platform == "darwin" else 1024)}
    return body | {"summary": summary(presence.present, rows, body["model"])}


def summary(
    present: bool, rows: Sequence[Mapping[str, Any]], model: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Operators by their best row, and the verdict: `complete`, `partial` or `not present`."""
    order = (NATIVE, FALLBACK, REFUSED, MISSING, NOT_RUN)
    best: dict[str, str] = {}
    for row in rows:
        held = best.get(row["operator"], NOT_RUN)
        best[row["operator"]] = min(held, row["status"], key=order.index)
    counts = {status: sum(1 for found in best.values() if found == status) for status in order}
    whole = counts[NATIVE] == len(best) and all(row["passed"] for row in model if not row["emulated"])
    return {
        "verdict": "not present" if not present else "complete" if whole else "partial",
        "operators": counts,
    }


def _operator_rows(subject: Subject, op: Operator) -> list[dict[str, Any]]:
    if not subject.registry.presences[subject.backend].present:
        return [_row(op, NOT_RUN, why="the backend is not present")]
    mine = [
        each for each in subject.registry.implementations
        if each.operator == op.name and each.backend == subject.backend and each.fused
    ]  # fmt: skip
    if not mine:
        others = subject.registry.candidates(op.name, op.dims)
        instead = others[0].key if others else "nobody"
        return [_row(op, MISSING, why=f"no implementation; {instead} would take it")]
    return [_examined(subject, op, each) for each in mine]


def _row(op: Operator, status: str, **more: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {
        "operator": op.name, "implementation": "", "dtype": "", "status": status, "error": None, "allowed": None,
        "fallback_nodes": 0, "weight_bytes": 0, "speed": [], "why": "",
    }  # fmt: skip
    return blank | more


def _examined(subject: Subject, op: Operator, each: Implementation) -> dict[str, Any]:
    verdict = conformance.examine(each, seed=subject.seed)
    told = {
        "implementation": each.key, "dtype": each.dtype, "error": verdict.error, "allowed": verdict.allowed,
        "why": verdict.why,
    }  # fmt: skip
    if not verdict.passed:
        return _row(op, REFUSED, **told)
    fallen = _fallback_nodes(op, each)
    sample = op.sample(seed=subject.seed)
    held = each.prepare({n: sample[n] for n in op.constants}, op.attributes, op.dims).extra_bytes
    speed = [row for tokens in TOKENS if (row := _speed(subject, op, each, tokens))]
    return _row(
        op, FALLBACK if fallen else NATIVE, **told, fallback_nodes=fallen, weight_bytes=held, speed=speed
    )


def _fallback_nodes(op: Operator, each: Implementation) -> int:
    """Nodes that a provider left to the CPU; other backends run an operator whole or not at all."""
    if each.backend not in sessions.PROVIDER_BACKENDS:
        return 0
    sample = op.sample()
    graph = graphs.build(op.name, "standard", {n: sample[n] for n in op.constants}, op.attributes, op.dims)
    return int(sessions.open_session(graph, each.backend, dtype=each.dtype).nodes_on.get(CPU, 0))


def _speed(subject: Subject, op: Operator, each: Implementation, tokens: int) -> dict[str, Any] | None:
    """Milliseconds, and the share of what the device reaches at best in that dtype."""
    dims = {**op.dims, op.batch[0]: 1 if op.name == "attention" else tokens}
    if op.name == "attention":
        dims["S"] = min(tokens, 256)  # scores grow with the square
    if not each.fits(dims):
        return None
    (found,) = subject.tuner.measure(op.name, dims, [each], fresh=True)
    return _speed_row(op, dims, found, subject.profile.speed(each.dtype))


def _speed_row(
    op: Operator, dims: Mapping[str, int], found: Measurement, ceiling: float | None
) -> dict[str, Any]:
    gflop_s = op.flops(dims) / found.ms / 1e6 if found.ms else None
    return {
        "dims": dict(dims), "ms": found.ms, "sigma_ms": found.sigma_ms, "calls": found.n, "gflop_s": gflop_s,
        "share_of_ceiling": gflop_s / ceiling if gflop_s and ceiling else None, "why": found.why,
    }  # fmt: skip


# --- a model on the device -------------------------------------------------------------------------------------------


def _model_rows(subject: Subject, path: Path) -> list[dict[str, Any]]:
    """The model on the device, against ONNX Runtime's CPU; then the numbers of other formats, emulated."""
    facts = graph_facts.inspect(path)
    reference = sessions.open_session(path)
    port = reference.get_inputs()[0]
    x = (
        np.random.default_rng(subject.seed)
        .standard_normal((MODEL_ROWS, int(port.shape[-1])))
        .astype(np.float32)
    )
    output = reference.get_outputs()[0].name
    exact = reference.run([output], {port.name: x})[0]
    found = []
    if subject.backend in sessions.BACKENDS:
        found.append(_on_device(path, facts, subject.backend, {port.name: x}, output, exact))
    for dtype in ("tf32", "float16", "bfloat16"):
        session = sessions.open_session(emulation.emulate(path, dtype))
        answer = session.run([output], {port.name: x})[0]
        found.append(_model_row(f"emulated {dtype}", dtype, answer, exact, emulated=True))
    return found


def _on_device(
    path: Path,
    facts: graph_facts.GraphFacts,
    backend: str,
    feed: dict[str, np.ndarray],
    output: str,
    exact: np.ndarray,
) -> dict[str, Any]:
    lowered = bool(facts.contrib) and backend != sessions.ORT
    try:
        session = sessions.open_session(lowering.to_standard(path) if lowered else path, backend)
        answer = session.run([output], feed)[0]
    except Exception as error:  # a runtime raises whatever it chose
        words = f"failed: {type(error).__name__}: {error}"[:300]
        return {"name": backend, "dtype": "float32", "passed": False, "error": None, "agreement": None, "emulated": False,
                "runs_on": "", "lowered": lowered, "why": words}  # fmt: skip
    return _model_row(backend, "float32", answer, exact, runs_on=session.runs_on, lowered=lowered)


def _model_row(
    name: str, dtype: str, answer: np.ndarray, exact: np.ndarray, *, emulated: bool = False, runs_on: str = "",
    lowered: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Judged by labels of a fixed readout: what a task would have said."""
    finite = bool(np.isfinite(answer).all())
    agreement = 1.0 - conformance.disagreement(answer, exact) if finite else 0.0
    error = float(np.abs(answer - exact).max() / max(np.abs(exact).max(), 1e-30)) if finite else None
    passed = finite and agreement >= conformance.AGREEMENT
    return {"name": name, "dtype": dtype, "passed": passed, "error": error, "agreement": agreement, "emulated": emulated,
            "runs_on": runs_on, "lowered": lowered, "why": "" if finite else "numbers that are not finite"}  # fmt: skip
