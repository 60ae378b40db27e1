"""Each operator's forms timed at shapes that fill the card: against torch eager, against the ceilings, fused against unfused."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from bench.tools.gpu_ceilings import SHORT, Ceilings
from bench.tools.gpu_clock import rotations, time_calls
from bench.tools.gpu_journal import Journal
from modelhub.hal.backends import cuda
from modelhub.hal.operators import ITEM_BYTES, OPERATORS

FUSION_GATE = 1.2


@dataclass(frozen=True)
class Bench:
    """One operator at one shape. `gate`: the fusion gate is judged here."""

    operator: str
    dims: Mapping[str, int]
    dtypes: tuple[str, ...]
    gate: str | None = None

    @property
    def shape(self) -> str:
        return "_".join(f"{letter.lower()}{size}" for letter, size in self.dims.items())


WIDE = ("bfloat16", "float16", "tf32", "float32")
BENCHES = (
    Bench("ffn_gelu", {"T": 8192, "D": 512, "F": 2048}, WIDE, gate="bfloat16"),
    Bench("ffn_gelu", {"T": 8192, "D": 1024, "F": 4096}, ("bfloat16", "tf32")),
    Bench("ffn_gelu", {"T": 64, "D": 512, "F": 2048}, ("bfloat16", "float32")),
    Bench("layernorm_residual", {"T": 32768, "D": 1024}, ("bfloat16", "float32"), gate="bfloat16"),
    Bench("layernorm_residual", {"T": 64, "D": 512}, ("bfloat16", "float32")),
    Bench("attention", {"B": 16, "H": 16, "S": 512, "Dh": 64}, ("bfloat16", "float16", "tf32", "float32")),
    Bench("attention", {"B": 32, "H": 8, "S": 48, "Dh": 32}, ("bfloat16", "float32")),
    Bench("topk_gate", {"T": 8192, "E": 64}, ("float32",)),
    Bench("topk_gate", {"T": 64, "E": 16}, ("float32",)),
    Bench("int8_matmul", {"T": 16, "K": 4096, "N": 4096}, ("int8",)),
    Bench("int8_matmul", {"T": 4096, "K": 4096, "N": 4096}, ("int8",)),
    Bench("matmul", {"M": 16, "K": 4096, "N": 4096}, ("bfloat16", "float32")),
    Bench("matmul", {"M": 4096, "K": 4096, "N": 4096}, WIDE),
)  # fmt: skip


def run(journal: Journal, device: str, ceilings: Ceilings) -> None:
    for bench in BENCHES:
        for dtype in bench.dtypes:
            name = f"operator {bench.operator} {bench.shape} {dtype}"
            journal.case(name, lambda b=bench, d=dtype: _time(journal, device, ceilings, b, d))


def bytes_moved(operator: str, dims: Mapping[str, int], dtype: str) -> float:
    """The fewest bytes: each operand read once, the answer written once; 8-bit weights count as such, their rows as bfloat16."""
    if operator == "int8_matmul":
        return dims["K"] * dims["N"] + 2.0 * dims["T"] * (dims["K"] + dims["N"])
    size = ITEM_BYTES[dtype]
    if operator == "matmul":
        return size * (dims["M"] * dims["K"] + dims["K"] * dims["N"] + dims["M"] * dims["N"])
    if operator == "topk_gate":
        return dims["T"] * (4.0 * dims["E"] + 4 * 12)
    return OPERATORS[operator].bytes_moved(dims, dtype)


def tensors(operator: str, dims: Mapping[str, int], dtype: str, device: str, seed: int) -> dict[str, Any]:
    """Seeded operands on the device, made there: the distributions of the operator's own samples."""
    op = OPERATORS[operator]
    sample = _sample(operator, tuple((k, min(v, 4096) if k == "T" else v) for k, v in dims.items()), seed)
    kind = cuda.torch_dtype(dtype)
    found = {}
    for name, array in sample.items():
        tensor = torch.from_numpy(array).to(device)
        letters = dict(op.operands)[name].split()
        if letters[0] == "T" and dims["T"] > tensor.size(0):
            tensor = tensor.repeat(-(-dims["T"] // tensor.size(0)), 1)[: dims["T"]].contiguous()
        keep = (
            not tensor.is_floating_point()
            or name == "scale"
            or operator == "topk_gate"
            or (operator, name) == ("moe_experts", "weights")
        )
        found[name] = tensor if keep else tensor.to(kind)
    return found


@lru_cache(maxsize=1)
def _sample(operator: str, dims: tuple[tuple[str, int], ...], seed: int) -> dict[str, np.ndarray]:
    """The same numbers for every dtype of a shape; drawing millions of them takes longer than the products."""
    return OPERATORS[operator].sample(dict(dims), seed)


def forms_for(operator: str, dtype: str, dims: Mapping[str, int]) -> list[cuda.Form]:
    """The forms that take this shape; recordings are left to the clock."""
    return [
        form for form in cuda.here()
        if form.operator == operator and dtype in form.dtypes and form.fits(dims) and not form.graph
    ]  # fmt: skip


def calls_for(form: cuda.Form, dtype: str, sets: Sequence[Mapping[str, Any]]) -> list[Callable[[], Any]]:
    """One call of the form per set of operands."""
    op = OPERATORS[form.operator]
    made = []
    for operands in sets:
        held = {name: operands[name] for name in op.constants}
        if form.variant == "product":
            held["w"] = held["w"].T.contiguous()
        run = cuda.bind(form, dtype, held, {})
        made.append(lambda run=run, given=tuple(operands[name] for name in op.activations): run(*given))
    return made


def _time(journal: Journal, device: str, ceilings: Ceilings, bench: Bench, dtype: str) -> None:
    op = OPERATORS[bench.operator]
    dims = dict(bench.dims)
    moved, flops = bytes_moved(bench.operator, dims, dtype), op.flops(dims)
    first = tensors(bench.operator, dims, dtype, device, 1)
    sets = [first] + [{k: v.clone() for k, v in first.items()} for _ in range(rotations(moved) - 1)]
    found: dict[str, list[float]] = {}
    for form in forms_for(bench.operator, dtype, dims):
        metric = f"time_{bench.operator}_{form.variant or 'torch'}_{SHORT[dtype]}_{bench.shape}"
        try:
            times = time_calls(calls_for(form, dtype, sets), recorded=True)
        except Exception as error:
            journal.failed(metric, "us", f"{type(error).__name__}: {error}", control=True)
            if "CUDA error" in str(error):
                raise
            continue
        found[form.variant] = times
        share = ceilings.share(statistics.median(times), flops, moved, dtype)
        how = f"{form.function}, recorded and replayed, inputs in rotation past the cache; {share}"
        journal.row(metric, [ms * 1e3 for ms in times], "us", how, control=True)
    _compare(journal, ceilings, bench, dtype, found)


def _compare(
    journal: Journal, ceilings: Ceilings, bench: Bench, dtype: str, found: Mapping[str, list[float]]
) -> None:
    """The best form's share of the ceiling; fused against single steps and against torch eager, repeat by repeat."""
    fused = {name: times for name, times in found.items() if name != "steps"}
    if not fused:
        return
    best = min(fused, key=lambda name: statistics.median(fused[name]))
    op, tail = OPERATORS[bench.operator], f"{bench.operator}_{SHORT[dtype]}_{bench.shape}"
    floor = ceilings.floor_ms(op.flops(bench.dims), bytes_moved(bench.operator, bench.dims, dtype), dtype)
    if floor is not None:
        how = f"time that the measured ceilings allow over the time of the best form ({best or 'torch'})"
        journal.row(f"roofline_{tail}", [floor / ms for ms in fused[best]], "share", how)
    if "steps" in found:
        ratios = [a / b for a, b in zip(found["steps"], fused[best], strict=True)]
        how = f"one kernel a step over the best fused form ({best}), same dtype and shape, both recorded and replayed"
        if bench.gate == dtype:
            journal.row(
                f"fusion_{bench.operator}",
                ratios,
                "x",
                f"{how}; {SHORT[dtype]}, {bench.shape}",
                at_least=FUSION_GATE,
            )
        else:
            journal.row(f"fusion_{tail}", ratios, "x", how, control=True)
    for name in ("eager", "torch"):
        if name in found and name != best:
            ratios = [a / b for a, b in zip(found[name], fused[best], strict=True)]
            journal.row(
                f"against_torch_{tail}",
                ratios,
                "x",
                f"torch's own form over the best form ({best})",
                control=True,
            )
