"""A bank of experts against one dense feed-forward layer of as many parameters, by tokens, precision and form.

Both sides run as their own best form at the same precision, both recorded and replayed, weights rotated past the cache. The
floor is printed beside: at few tokens a step is reading weights, and an expert that one token wants is read for that one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from bench.tools.gpu_ceilings import SHORT, Ceilings
from bench.tools.gpu_clock import rotations, time_calls
from bench.tools.gpu_journal import Journal
from bench.tools.gpu_operators import calls_for, forms_for
from modelhub.hal.backends import cuda
from modelhub.hal.backends.cuda_torch import products_in
from modelhub.hal.registry import TOLERANCES

Call = Callable[[], Any]


@dataclass(frozen=True)
class Bank:
    """E experts of width D and hidden F, K of them a token. `aims`: tokens → the speed-up that is asked for."""

    name: str
    width: int
    hidden: int
    experts: int
    chosen: int
    aims: Mapping[int, float]
    dtypes: tuple[str, ...] = ("bfloat16", "tf32", "float32")
    tokens: tuple[int, ...] = (1, 64, 1024, 8192)

    def dims(self, tokens: int) -> dict[str, int]:
        return {"T": tokens, "D": self.width, "K": self.chosen, "E": self.experts, "F": self.hidden}


_SMALL = {1: 3.0, 64: 2.0, 1024: 3.0}
BANKS = (
    Bank("e16_d512", 512, 512, 16, 2, _SMALL),
    Bank("e16_d1024", 1024, 1024, 16, 2, _SMALL),
    Bank("e200_d256", 256, 64, 200, 4, {1: 3.0, 64: 3.0, 1024: 3.0, 8192: 3.0}),
)
# For information, DeepSeek's proportions: V2-Lite has 64 experts of 1408, six a token; V3 256, eight a token
LARGE = (
    Bank("e64_d2048_f1408", 2048, 1408, 64, 6, {}, ("bfloat16",), (1, 64, 1024, 8192)),
    Bank("e256_d2048_f512", 2048, 512, 256, 8, {}, ("bfloat16",), (1, 64, 1024, 8192)),
)  # fmt: skip


def run(journal: Journal, device: str, ceilings: Ceilings) -> None:
    for bank in BANKS:
        for dtype in bank.dtypes:
            for tokens in bank.tokens:
                name = f"experts {bank.name} {dtype} {tokens}"
                journal.case(
                    name, lambda b=bank, d=dtype, t=tokens: _cell(journal, device, ceilings, b, d, t)
                )


def run_large(journal: Journal, device: str, ceilings: Ceilings) -> None:
    for bank in LARGE:
        for tokens in bank.tokens:
            name = f"experts {bank.name} {tokens}"
            journal.case(name, lambda b=bank, t=tokens: _cell(journal, device, ceilings, b, "bfloat16", t))


# --- one cell -----------------------------------------------------------------------------------------------------------


def operands(bank: Bank, tokens: int, kind: torch.dtype, device: str, sets: int) -> list[dict[str, Any]]:
    """Sets of operands that differ in weights, inputs and routing. Every slot counts: each token uses K experts."""
    found = []
    for seed in range(sets):
        torch.manual_seed(seed)
        score = torch.rand(tokens, bank.experts, device=device)
        weights = torch.rand(tokens, bank.chosen, device=device) + 0.1
        found.append({
            "x": torch.randn(tokens, bank.width, device=device).to(kind),
            "weights": weights / weights.sum(1, keepdim=True),
            "experts": score.topk(bank.chosen, dim=1).indices.contiguous(),
            "w1": (torch.randn(bank.experts, bank.hidden, bank.width, device=device) * bank.width**-0.5).to(kind),
            "w2": (torch.randn(bank.experts, bank.width, bank.hidden, device=device) * bank.hidden**-0.5).to(kind),
        })  # fmt: skip
    return found


def exact(given: Mapping[str, Any]) -> torch.Tensor:
    """The answer in float64, expert by expert. Shapes as the operator's -> (T, D)."""
    x, out = given["x"].double(), torch.zeros_like(given["x"], dtype=torch.float64)
    for expert in range(given["w1"].size(0)):
        token, slot = torch.nonzero((given["experts"] == expert) & (given["weights"] != 0), as_tuple=True)
        if len(token):
            part = F.silu(x[token] @ given["w1"][expert].double().T) @ given["w2"][expert].double().T
            out.index_add_(0, token, part * given["weights"][token, slot, None].double())
    return out


def dense_calls(bank: Bank, sets: Sequence[Mapping[str, Any]], dtype: str) -> dict[str, list[Call]]:
    """One layer of E·F hidden units over the same weights: torch's products, and ours with the activation inside the first."""
    made: dict[str, list[Call]] = {"torch": [], "fused": []}
    for given in sets:
        w1 = given["w1"].reshape(-1, bank.width)
        w2 = given["w2"].transpose(0, 1).reshape(bank.width, -1).contiguous()
        made["torch"].append(lambda x=given["x"], a=w1, b=w2: _dense(x, a, b, dtype))
        if cuda.has_triton():
            none = torch.zeros(w1.size(0), dtype=given["x"].dtype, device=w1.device)
            made["fused"].append(lambda x=given["x"], a=w1, b=w2, c=none: _dense_fused(x, a, b, c, dtype))
    return {name: calls for name, calls in made.items() if calls}


def _dense(x: Any, w1: Any, w2: Any, dtype: str) -> Any:
    with products_in("tf32" if dtype == "tf32" else "ieee"):
        return F.silu(x @ w1.T) @ w2.T


def _dense_fused(x: Any, w1: Any, w2: Any, none: Any, dtype: str) -> Any:
    from modelhub.hal.backends.cuda_triton import linear

    full = "tf32x3" if dtype == "float32" else "tf32"
    return linear(linear(x, w1, none, "silu", full), w2, none[: x.size(1)], "none", full)


def floors(bank: Bank, tokens: int, dtype: str, ceilings: Ceilings) -> tuple[float | None, float | None]:
    """(experts, dense): milliseconds that the ceilings allow. Experts touched: the expectation for even routing."""
    item = 2 if dtype in ("bfloat16", "float16") else 4
    unit = 2 * bank.width * bank.hidden
    touched = bank.experts * (1 - (1 - bank.chosen / bank.experts) ** tokens)
    rows = 2.0 * tokens * bank.width * item
    sparse = ceilings.floor_ms(2.0 * tokens * bank.chosen * unit, touched * unit * item + rows, dtype)
    dense = ceilings.floor_ms(2.0 * tokens * bank.experts * unit, bank.experts * unit * item + rows, dtype)
    return sparse, dense


def _cell(journal: Journal, device: str, ceilings: Ceilings, bank: Bank, dtype: str, tokens: int) -> None:
    tail = f"{bank.name}_t{tokens}_{SHORT[dtype]}"
    kind = cuda.torch_dtype(dtype)
    size = 2.0 * bank.experts * bank.width * bank.hidden * torch.finfo(kind).bits / 8
    sets = operands(bank, tokens, kind, device, rotations(size, most=16))
    dense = _best(
        journal, {f"dense_{name}": calls for name, calls in dense_calls(bank, sets, dtype).items()}, tail
    )
    sparse = _best(journal, _right_forms(journal, bank, sets, dtype, tokens, tail), tail)
    aim = bank.aims.get(tokens)
    metric = f"moe_speedup_{tail}"
    if dense is None or sparse is None:
        journal.failed(
            metric, "x", "no form of one side ran and was right", target=f">= {aim:g}" if aim else None
        )
        return
    ratios = [a / b for a, b in zip(dense[1], sparse[1], strict=True)]
    bound = floors(bank, tokens, dtype, ceilings)
    limit = f"; the ceilings allow {bound[1] / bound[0]:.1f}x" if bound[0] and bound[1] else ""
    flops = 4.0 * tokens * bank.chosen * bank.width * bank.hidden
    how = (
        f"dense layer of equal total parameters ({dense[0]}, {statistics.median(dense[1]) * 1e3:.1f} µs) over {bank.experts} "
        f"experts, {bank.chosen} a token ({sparse[0]}, {statistics.median(sparse[1]) * 1e3:.1f} µs, "
        f"{flops / statistics.median(sparse[1]) / 1e9:.1f} TFLOP/s), same precision, both recorded and replayed{limit}"
    )
    journal.row(metric, ratios, "x", how, at_least=aim, control=bank in LARGE)
    journal.say(
        "fact", key=f"cell {bank.name} {tokens} {dtype}", value={"dense": dense[1], "sparse": sparse[1]}
    )
    if bank.aims:
        _unrecorded(journal, bank, sets, dtype, tokens, tail, sparse[0])


def _right_forms(
    journal: Journal, bank: Bank, sets: Sequence[Mapping[str, Any]], dtype: str, tokens: int, tail: str
) -> dict[str, list[Call]]:
    """The expert forms that agree with float64 on these very inputs; those that don't are told and left out. The form that
    asks the host for sizes can't be recorded, so it stands among the controls."""
    want = exact(sets[0])
    found = {}
    for form in forms_for("moe_experts", dtype, bank.dims(tokens)):
        if not form.fused:
            continue
        try:
            calls = calls_for(form, dtype, sets)
            got = calls[0]().double()
            wrong = float((got - want).abs().max() / want.abs().max())
        except Exception as error:
            journal.failed(
                f"moe_{form.variant}_{tail}", "us", f"{type(error).__name__}: {error}", control=True
            )
            if "CUDA error" in str(error):
                raise
            continue
        allowed = TOLERANCES[dtype]
        if wrong <= allowed:
            found[form.variant] = calls
        else:
            why = f"error {wrong:.2g} against float64 is over {allowed:g}"
            journal.failed(f"moe_{form.variant}_{tail}", "us", why, control=True)
    return found


def _best(journal: Journal, forms: Mapping[str, list[Call]], tail: str) -> tuple[str, list[float]] | None:
    """Times every form; gives the quickest by median."""
    found: dict[str, list[float]] = {}
    for name, calls in forms.items():
        try:
            found[name] = time_calls(calls, recorded=True)
        except Exception as error:
            journal.failed(f"moe_{name}_{tail}", "us", f"{type(error).__name__}: {error}", control=True)
            if "CUDA error" in str(error):
                raise
            continue
        how = "recorded and replayed, weights rotated past the cache"
        journal.row(f"moe_{name}_{tail}", [ms * 1e3 for ms in found[name]], "us", how, control=True)
    if not found:
        return None
    best = min(found, key=lambda name: statistics.median(found[name]))
    return best, found[best]


def _unrecorded(
    journal: Journal,
    bank: Bank,
    sets: Sequence[Mapping[str, Any]],
    dtype: str,
    tokens: int,
    tail: str,
    best: str,
) -> None:
    """The same comparison launched from the host, call by call, and the loop that models are usually written with."""
    if tokens not in (1, 1024):
        return
    forms = {form.variant: form for form in forms_for("moe_experts", dtype, bank.dims(tokens))}
    dense = time_calls(dense_calls(bank, sets, dtype)["torch"], recorded=False)
    ours = time_calls(calls_for(forms[best], dtype, sets), recorded=False)
    ratios = [a / b for a, b in zip(dense, ours, strict=True)]
    journal.row(
        f"moe_launched_{tail}",
        ratios,
        "x",
        f"torch's dense layer over {best}, launched call by call",
        control=True,
    )
    if tokens == 1024 and bank.experts <= 16:
        loop = time_calls(calls_for(forms["loop"], dtype, sets[:2]), recorded=False, repeats=3)
        ratios = [statistics.median(dense) / ms for ms in loop]
        how = "torch's dense layer over a loop of experts, launched call by call"
        journal.row(f"moe_loop_{tail}", ratios, "x", how, control=True)


def cross_precision(journal: Journal, facts: Mapping[str, Any]) -> None:
    """bf16 experts against the float32 dense layer: what changing both gives, never the headline."""
    for bank in BANKS:
        for tokens in bank.tokens:
            low, high = (facts.get(f"cell {bank.name} {tokens} {d}") for d in ("bfloat16", "float32"))
            if low and high:
                ratios = [a / b for a, b in zip(high["dense"], low["sparse"], strict=True)]
                how = "dense layer in float32 over experts in bf16: precision and sparsity together"
                journal.row(f"moe_cross_precision_{bank.name}_t{tokens}", ratios, "x", how, control=True)
