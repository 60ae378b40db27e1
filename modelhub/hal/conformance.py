"""One suite for every backend: is this implementation the operator, in the precision it claims?

Seeds are drawn fresh unless given, so a backend cannot have learned the answers; shapes include a batch of one, odd sizes
and a large batch. Nothing that fails here is ever chosen.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from modelhub.hal.deadline import TookTooLong, within
from modelhub.hal.operators import OPERATORS, Operator
from modelhub.hal.registry import AGREEMENT, Implementation, Registry

TIMEOUT_S = 20.0  # for one implementation's whole examination; the reference evaluator needs under five
READOUT_CLASSES, READOUT_ROWS = 4, 2048

# What is tried besides an operator's default dimensions.
CASES: dict[str, tuple[Mapping[str, int], ...]] = {
    "matmul": ({"M": 1}, {"M": 7, "K": 48, "N": 40}, {"M": 300, "K": 64, "N": 32}),
    "ffn_gelu": ({"T": 1}, {"T": 7, "D": 48, "F": 80}, {"T": 300, "D": 32, "F": 64}),
    "layernorm_residual": ({"T": 1}, {"T": 7, "D": 48}, {"T": 300, "D": 64}),
    "attention": ({"B": 1, "S": 1}, {"B": 3, "H": 2, "S": 7, "Dh": 16}, {"B": 1, "H": 2, "S": 130, "Dh": 16}),
    "moe_experts": (
        {"T": 1},
        {"T": 7, "D": 48, "E": 5, "K": 2, "F": 40},
        {"T": 300, "D": 32, "E": 8, "K": 4, "F": 16},
    ),
    "topk_gate": ({"T": 1}, {"T": 7, "E": 5}, {"T": 300, "E": 200}),
    "int8_matmul": ({"T": 1}, {"T": 7, "K": 48, "N": 40}, {"T": 300, "K": 64, "N": 32}),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the examination found. `error` is the largest over all cases; for INT8 it is the share of rows that disagree."""

    operator: str
    implementation: str
    dtype: str
    passed: bool
    error: float | None
    allowed: float
    why: str
    emulated: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(
    implementation: Implementation, *, seed: int | None = None, timeout_s: float = TIMEOUT_S
) -> Verdict:
    """Run every case of an implementation's operator and judge it. Never raises for what the implementation does."""
    op = OPERATORS[implementation.operator]
    seed = secrets.randbelow(2**31) if seed is None else seed
    allowed = 1.0 - AGREEMENT if implementation.allowed_error is None else implementation.allowed_error

    def verdict(passed: bool, error: float | None, why: str) -> Verdict:
        return Verdict(
            op.name,
            implementation.key,
            implementation.dtype,
            passed,
            error,
            allowed,
            why,
            implementation.emulated,
        )

    try:
        error, where = within(timeout_s, lambda: _worst(op, implementation, seed))
    except TookTooLong:
        return verdict(False, None, f"timed out: no answer to all cases within {timeout_s:g} s")
    except Refused as refusal:
        return verdict(False, None, str(refusal))
    except Exception as raised:  # a backend raises whatever its runtime chose
        return verdict(False, None, f"failed: {type(raised).__name__}: {raised}"[:300])
    if error > allowed:
        kind = "rows that disagree" if implementation.dtype == "int8" else "error"
        return verdict(False, error, f"{kind} {error:.2e} at {where}, allowed {allowed:.0e} (seed {seed})")
    return verdict(True, error, "")


class Refused(ValueError):
    """The answer has a wrong shape or kind, isn't finite, or the call changed what it was given."""


def cases(op: Operator, dtype: str) -> Iterable[dict[str, int]]:
    """The dimensions that are tried. INT8 is judged on many rows at once, as a task."""
    if dtype == "int8":
        yield {**op.dims, op.batch[0]: READOUT_ROWS}
        return
    yield dict(op.dims)
    for case in CASES[op.name]:
        yield {**op.dims, **case}


def _worst(op: Operator, implementation: Implementation, seed: int) -> tuple[float, str]:
    worst, where, tried = 0.0, "", 0
    for number, dims in enumerate(cases(op, implementation.dtype)):
        if not implementation.fits(dims):
            continue
        tried += 1
        operands = op.sample(dims, seed + number)
        before = {name: operands[name].copy() for name in op.activations}
        constants = {name: operands[name] for name in op.constants}
        found = implementation.prepare(constants, op.attributes, dims)(
            *(operands[name] for name in op.activations)
        )
        place = " ".join(f"{letter}={size}" for letter, size in dims.items())
        for name, kept in before.items():
            if not np.array_equal(kept, operands[name]):
                raise Refused(f"the call changed its input {name} at {place}")
        error = difference(op, operands, found, implementation.dtype)
        if error > worst:
            worst, where = error, place
    if not tried:
        raise Refused("no case of the suite fits its shape predicate")
    return worst, where


def difference(
    op: Operator, operands: Mapping[str, np.ndarray], found: tuple[np.ndarray, ...], dtype: str
) -> float:
    """How far an answer is from float64: the largest error relative to the largest magnitude; INT8: rows that disagree.

    Raises Refused for a wrong number of outputs, a wrong shape, or numbers that aren't finite.
    """
    exact = op.exact(operands)
    if len(found) != len(exact):
        raise Refused(f"{len(found)} outputs, expected {len(exact)}")
    for got, want in zip(found, exact, strict=True):
        if got.shape != want.shape:
            raise Refused(f"output of shape {got.shape}, expected {want.shape}")
        if not np.isfinite(got).all():
            raise Refused(
                f"{np.size(got) - int(np.isfinite(got).sum())} of {got.size} numbers are not finite"
            )
    if op.name == "topk_gate":
        return _gate_difference(operands["logits"].shape[1], found, exact)
    if dtype == "int8":
        return disagreement(found[0], exact[0])
    return float(np.abs(found[0] - exact[0]).max() / max(np.abs(exact[0]).max(), 1e-30))


def disagreement(found: np.ndarray, exact: np.ndarray) -> float:
    """The share of rows that a fixed linear readout of four classes labels differently: INT8's task."""
    readout = np.random.default_rng(4).standard_normal((exact.shape[-1], READOUT_CLASSES))
    return float(((found @ readout).argmax(-1) != (exact @ readout).argmax(-1)).mean())


def _gate_difference(experts: int, found: tuple[np.ndarray, ...], exact: tuple[np.ndarray, ...]) -> float:
    """The gate's answer as weights by expert, so that two equally good experts may stand in either order."""
    wide = []
    for weights, chosen in (found, exact):
        spread = np.zeros((len(weights), experts))
        np.put_along_axis(spread, np.asarray(chosen, np.int64), np.asarray(weights, np.float64), axis=1)
        wide.append(spread)
    return float(np.abs(wide[0] - wide[1]).max())


def suite(registry: Registry, *, seed: int | None = None, emulated: bool = True) -> list[Verdict]:
    """Examine everything a registry holds, unfused and emulated forms too."""
    return [
        examine(implementation, seed=seed)
        for implementation in registry.implementations
        if implementation.backend not in registry.lost and (emulated or not implementation.emulated)
    ]
