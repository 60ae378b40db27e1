"""Every CUDA implementation against the operators' float64 answers: fresh random inputs, outputs poisoned beforehand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np

from bench.tools.gpu_ceilings import SHORT
from bench.tools.gpu_journal import Journal
from modelhub.hal import conformance
from modelhub.hal.operators import OPERATORS
from modelhub.hal.registry import Implementation

SEEDS = (11, 12)
SUITE_S = 45.0
INT8_ERROR = 3e-2  # of the largest magnitude: rows rounded to 8 bits or to bfloat16
# Odd sizes, one token, and the sizes whose tiles the timed sections use (so that they are compiled here).
DIMS: dict[str, tuple[dict[str, int], ...]] = {
    "matmul": ({"M": 1, "K": 96, "N": 80}, {"M": 65, "K": 256, "N": 512}),
    "ffn_gelu": (
        {"T": 1, "D": 512, "F": 2048}, {"T": 64, "D": 512, "F": 1024}, {"T": 300, "D": 512, "F": 1024},
        {"T": 33, "D": 96, "F": 200},
    ),
    "layernorm_residual": ({"T": 1, "D": 100}, {"T": 300, "D": 512}, {"T": 65, "D": 1024}, {"T": 5, "D": 4096}),
    "attention": ({"B": 2, "H": 3, "S": 77, "Dh": 64}, {"B": 1, "H": 4, "S": 256, "Dh": 32}),
    "moe_experts": (
        {"T": 1, "D": 256, "F": 128, "E": 16, "K": 2}, {"T": 64, "D": 256, "F": 128, "E": 16, "K": 2},
        {"T": 1024, "D": 256, "F": 128, "E": 16, "K": 2}, {"T": 70, "D": 112, "F": 48, "E": 5, "K": 3},
        {"T": 1, "D": 256, "F": 64, "E": 200, "K": 4}, {"T": 1024, "D": 256, "F": 64, "E": 200, "K": 4},
        {"T": 4096, "D": 256, "F": 64, "E": 200, "K": 4},
    ),
    "topk_gate": ({"T": 1, "E": 16}, {"T": 1000, "E": 16}, {"T": 333, "E": 200}, {"T": 64, "E": 5}),
    "int8_matmul": ({"T": 1, "K": 256, "N": 512}, {"T": 40, "K": 512, "N": 256}, {"T": 300, "K": 256, "N": 512}),
}  # fmt: skip


def cases() -> list[Implementation]:
    """Every implementation of the CUDA backend, single-step chains included."""
    from modelhub.hal.backends.cuda import Cuda

    return list(Cuda().implementations())


def run(journal: Journal, shard: int, shards: int) -> None:
    """This process's part of the implementations; neighbours of one operator and dtype share compiled kernels."""
    groups = sorted({_group(each) for each in cases()}, key=_weight)
    mine = {group for index, group in enumerate(groups) if index % shards == shard}
    poison()
    for each in cases():
        if _group(each) in mine:
            name = f"conformance {each.operator} {each.key}"
            journal.case(name, lambda each=each: _check(journal, each))


def _group(each: Implementation) -> tuple[str, str, str]:
    """Forms that compile the same kernels go together."""
    return each.operator, each.dtype, {"graph": "triton", "few-graph": "few"}.get(each.variant, each.variant)


def _weight(group: tuple[str, str, str]) -> tuple[int, str, str, str]:
    """The experts compile most kernels, so they are dealt out first."""
    return (0 if group[0] == "moe_experts" else 1, *group)


def poison() -> None:
    """From now on torch fills what it allocates with NaN: an output that a kernel didn't write shows."""
    import torch

    warnings.filterwarnings("ignore", message=".*deterministic.*")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True


def _check(journal: Journal, each: Implementation) -> None:
    op = OPERATORS[each.operator]
    worst, count = [], 0
    for dims, seed in _samples(each):
        operands, exact = _sample(each.operator, tuple(dims.items()), seed)
        held = {name: operands[name] for name in op.constants}
        prepared = each.prepare(held, op.attributes, {**op.dims, **dims})
        found = prepared(*(operands[name] for name in op.activations))
        worst.append(error(each.operator, found, exact, operands))
        count += 1
        journal.say("tick")  # compiling takes its time: this case is alive
    allowed = each.allowed_error or INT8_ERROR
    how = (
        f"{each.operator} on {each.key}{'' if each.fused else ' (single steps)'}: largest error against float64, relative to the "
        f"largest magnitude, over {count} random inputs of {len(DIMS[each.operator])} shapes; outputs filled with NaN before"
    )
    journal.row(metric(each), worst, "share", how, at_most=allowed)
    if each.variant.startswith("triton-"):  # the same kernel in another tile
        return
    verdict = conformance.examine(each, timeout_s=SUITE_S)
    how = f"the product's own suite on {each.key}, seeds drawn fresh: {verdict.why or 'passed'}"
    name = metric(each).replace("conformance", "suite", 1)
    journal.row(name, [float(verdict.passed)], "passed", how, at_least=1.0, control=True)


@lru_cache(maxsize=64)
def _sample(
    operator: str, dims: tuple[tuple[str, int], ...], seed: int
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, ...]]:  # fmt: skip
    """Operands and their float64 answer: drawn once, asked of every form."""
    op = OPERATORS[operator]
    operands = op.sample(dict(dims), seed)
    return operands, op.exact(operands)


def metric(each: Implementation) -> str:
    form = each.variant or ("" if each.fused else "steps")
    return "_".join(("conformance", each.operator, form or "torch", SHORT[each.dtype])).replace("-", "_")


def _samples(each: Implementation) -> Iterator[tuple[Mapping[str, int], int]]:
    op = OPERATORS[each.operator]
    for index, dims in enumerate(DIMS[each.operator]):
        if each.fits({**op.dims, **dims}):
            for seed in SEEDS:
                yield dims, 100 * seed + index


def error(
    operator: str,
    found: tuple[np.ndarray, ...],
    exact: tuple[np.ndarray, ...],
    operands: Mapping[str, np.ndarray],
) -> float:
    """Largest error over largest magnitude; NaN and a wrong shape count as infinite. Weights of a gate are compared by expert,
    since two experts of equal score may change places."""
    if operator == "topk_gate":
        experts = np.shape(operands["logits"])[1]
        found, exact = (_spread(*found, experts),), (_spread(*exact, experts),)
    for got, want in zip(found, exact, strict=True):
        if got.shape != want.shape or not np.isfinite(got).all():
            return float("inf")
    pairs = zip(found, exact, strict=True)
    return max(float(np.abs(got - want).max() / max(1e-30, np.abs(want).max())) for got, want in pairs)


def _spread(weights: np.ndarray, experts: np.ndarray, count: int) -> np.ndarray:
    wide = np.zeros((len(weights), count))
    np.put_along_axis(wide, experts, weights, axis=1)
    return wide
