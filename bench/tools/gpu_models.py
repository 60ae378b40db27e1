"""Whole models on the GPU: one sparse encoder dispatched operator by operator against torch eager, and its training step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.tools.gpu_ceilings import SHORT
from bench.tools.gpu_clock import latencies_ms, synchronise, time_calls
from bench.tools.gpu_journal import Journal
from bench.tools.gpu_operators import forms_for
from modelhub.hal.backends import cuda
from modelhub.hal.backends.cuda_torch import products_in

WIDTH, HEADS, LAYERS, EXPERTS, HIDDEN, LENGTH = 256, 8, 4, 16, 256, 48
ROUNDS, REQUESTS = 5, 60
USUAL = {"layernorm_residual": "eager", "attention": "torch", "topk_gate": "steps", "moe_experts": "loop"}
GATE = {"k_min": 2, "k_max": 4, "mass": 0.4}


# --- dispatch -----------------------------------------------------------------------------------------------------------


@dataclass
class Network:
    """Weights of a sparse encoder, and which form runs each operator; `forward` takes (B·S, D) rows and a mask (B, S)."""

    layers: list[dict[str, Any]]
    dtype: str
    chosen: Mapping[str, str]

    def __post_init__(self) -> None:
        self._bound = [{name: self._bind(name, layer) for name in USUAL} for layer in self.layers]

    def _bind(self, operator: str, layer: Mapping[str, Any]) -> Callable[..., Any]:
        dtype = "float32" if operator == "topk_gate" else self.dtype
        if operator == "layernorm_residual" and dtype == "tf32":
            dtype = "float32"
        variant = self.chosen[operator]
        form = next(each for each in cuda.forms() if (each.operator, each.variant) == (operator, variant))
        held = {
            "layernorm_residual": {"gain": layer["gain"], "bias": layer["shift"]}, "attention": {},
            "topk_gate": {"bias": layer["balance"]}, "moe_experts": {"w1": layer["w1"], "w2": layer["w2"]},
        }[operator]  # fmt: skip
        return cuda.bind(form, dtype, held, GATE if operator == "topk_gate" else {})

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length = mask.shape
        with products_in("tf32" if self.dtype == "tf32" else "ieee"):
            for layer, ops in zip(self.layers, self._bound, strict=True):
                parts = (
                    (x @ layer["qkv"]).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4).contiguous()
                )
                seen = ops["attention"](parts[0], parts[1], parts[2], mask)
                seen = seen.transpose(1, 2).reshape(batch * length, -1) @ layer["out"]
                x = ops["layernorm_residual"](seen, x)
                logits = 10.0 * F.normalize(x.float(), dim=-1) @ layer["keys"].T
                weights, experts = ops["topk_gate"](logits)
                x = ops["layernorm_residual"](ops["moe_experts"](x, weights, experts), x)
        return x


def make_layers(dtype: str, device: str) -> list[dict[str, Any]]:
    """The same random weights for every precision."""
    torch.manual_seed(5)
    kind, made = cuda.torch_dtype(dtype), []
    for _ in range(LAYERS):
        raw = {
            "qkv": torch.randn(WIDTH, 3 * WIDTH) * WIDTH**-0.5, "out": torch.randn(WIDTH, WIDTH) * WIDTH**-0.5,
            "gain": torch.ones(WIDTH), "shift": torch.zeros(WIDTH), "w1": torch.randn(EXPERTS, HIDDEN, WIDTH) * WIDTH**-0.5,
            "w2": torch.randn(EXPERTS, WIDTH, HIDDEN) * HIDDEN**-0.5,
        }  # fmt: skip
        layer = {name: value.to(device).to(kind) for name, value in raw.items()}
        layer["balance"] = torch.zeros(EXPERTS, device=device)
        layer["keys"] = F.normalize(torch.randn(EXPERTS, WIDTH), dim=-1).to(device)
        made.append(layer)
    return made


def choose(layer: Mapping[str, Any], dtype: str, rows: int, device: str) -> dict[str, str]:
    """The quickest form of each operator at this model's shapes, timed one by one."""
    kind, batch = cuda.torch_dtype(dtype), max(1, rows // LENGTH)
    x, y = (torch.randn(rows, WIDTH, device=device).to(kind) for _ in range(2))
    heads = [torch.randn(batch, HEADS, LENGTH, WIDTH // HEADS, device=device).to(kind) for _ in range(3)]
    mask = torch.ones(batch, LENGTH, device=device)
    logits = torch.randn(rows, EXPERTS, device=device)
    usual = Network([dict(layer)], dtype, USUAL)._bound[0]
    weights, experts = usual["topk_gate"](logits)
    given = {
        "layernorm_residual": (x, y), "attention": (*heads, mask), "topk_gate": (logits,), "moe_experts": (x, weights, experts),
    }  # fmt: skip
    dims = {
        "layernorm_residual": {"T": rows, "D": WIDTH}, "attention": {"B": batch, "H": HEADS, "S": LENGTH, "Dh": WIDTH // HEADS},
        "topk_gate": {"T": rows, "E": EXPERTS}, "moe_experts": {"T": rows, "D": WIDTH, "F": HIDDEN, "E": EXPERTS, "K": 4},
    }  # fmt: skip
    found = {}
    for operator, inputs in given.items():
        its = (
            "float32"
            if operator == "topk_gate" or (operator, dtype) == ("layernorm_residual", "tf32")
            else dtype
        )
        times = {}
        for form in forms_for(operator, its, dims[operator]):
            if not form.fused:
                continue
            run = Network([dict(layer)], dtype, {**USUAL, operator: form.variant})._bound[0][operator]
            times[form.variant] = statistics.median(
                time_calls([lambda run=run, i=inputs: run(*i)], recorded=True, repeats=3)
            )
        found[operator] = min(times, key=lambda name: times[name], default=USUAL[operator])
    return found


def run_dispatch(journal: Journal, device: str) -> None:
    for batch in (1, 8):
        journal.case(f"dispatch {batch}", lambda b=batch: _dispatch(journal, device, b))


def _dispatch(journal: Journal, device: str, batch: int) -> None:
    rows = batch * LENGTH
    mask = torch.ones(batch, LENGTH, device=device)
    inputs = [torch.randn(rows, WIDTH, device=device) for _ in range(16)]
    eager = Network(make_layers("float32", device), "float32", USUAL)
    before = _waits(lambda i: eager.forward(inputs[i % 16], mask))
    want = eager.forward(inputs[0], mask)
    for dtype in ("float32", "tf32", "bfloat16"):
        layers = make_layers(dtype, device)
        chosen = choose(layers[0], dtype, rows, device)
        net = Network(layers, dtype, chosen)
        given = [x.to(cuda.torch_dtype(dtype)) for x in inputs]
        call: Callable[..., Any] = net.forward
        if device == "cuda":
            from modelhub.hal.backends.cuda_graph import Graphed

            call = Graphed(net.forward)
        after = _waits(lambda i, call=call, given=given: call(given[i % 16], mask))
        with torch.inference_mode():
            wrong = float((call(given[0], mask).float() - want).norm() / want.norm())
        _tell(journal, batch, dtype, chosen, before, after, wrong)


def _waits(call: Callable[[int], Any]) -> list[list[float]]:
    with torch.inference_mode():
        latencies_ms(call, 10)
        return [latencies_ms(call, REQUESTS) for _ in range(ROUNDS)]


def _tell(
    journal: Journal, batch: int, dtype: str, chosen: Mapping[str, str], before: list[list[float]], after: list[list[float]],
    wrong: float,
) -> None:  # fmt: skip
    """Medians and spreads of what a caller waits, dispatched over eager float32; the gate is judged at one text a request."""
    gate = batch == 1 and dtype == "bfloat16"
    tail = "" if gate else f"_{SHORT[dtype]}_b{batch}"
    forms = ", ".join(f"{name} {form or 'torch'}" for name, form in chosen.items())
    how = (
        f"{LAYERS} sparse encoder blocks, {batch} × {LENGTH} tokens, {dtype} with the quickest form of each operator ({forms}), "
        f"recorded, over torch eager in float32 with a loop of experts; host clock, {REQUESTS} requests a round; "
        f"answers differ by {wrong:.1e} in norm"
    )
    medians = [statistics.median(b) / statistics.median(a) for a, b in zip(before, after, strict=True)]
    spreads = [statistics.stdev(b) / statistics.stdev(a) for a, b in zip(before, after, strict=True)]
    journal.row(
        f"dispatch_median_ratio{tail}",
        medians,
        "share",
        how,
        at_most=0.35 if gate else None,
        control=not gate,
    )
    journal.row(
        f"dispatch_sigma_ratio{tail}", spreads, "share", how, at_most=0.45 if gate else None, control=not gate
    )
    for name, rounds in (("eager", before), ("dispatched", after)):
        values = [statistics.median(each) for each in rounds]
        journal.row(
            f"dispatch_{name}_ms_{SHORT[dtype]}_b{batch}", values, "ms", f"median wait, {name}", control=True
        )


# --- training -----------------------------------------------------------------------------------------------------------


class Trained(nn.Module):
    """A sparse text encoder as it is trained: embedding, attention, Dynamic Gating blocks, a head of 77 intents."""

    def __init__(self, vocabulary: int = 8000, labels: int = 77) -> None:
        super().__init__()
        from modelhub.ml.moe.layer import DynamicGatingLayer

        self.embed = nn.Embedding(vocabulary, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(3))
        self.out = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.blocks = nn.ModuleList(DynamicGatingLayer(WIDTH, experts=32, hidden=128) for _ in range(3))
        self.head = nn.Linear(WIDTH, labels)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length = tokens.shape
        x = self.embed(tokens)
        for norm, qkv, out, block in zip(self.norms, self.qkv, self.out, self.blocks, strict=True):
            q, k, v = qkv(norm(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, WIDTH)
            x = x + out(seen)
            flat, _ = block(x.reshape(-1, WIDTH))
            x = flat.view(batch, length, WIDTH)
        return self.head(x.mean(1))


def run_training(journal: Journal, device: str) -> None:
    for batch in (32, 512):
        for dtype in ("float32", "tf32", "bfloat16"):
            name = f"training {dtype} {batch}"
            journal.case(name, lambda d=dtype, b=batch: _steps(journal, device, d, b))
    journal.case("training cpu", lambda: _steps(journal, "cpu", "float32", 32))


def _steps(journal: Journal, device: str, dtype: str, batch: int) -> None:
    torch.manual_seed(1)
    model = Trained().to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device == "cuda")
    tokens = torch.randint(8000, (8, batch, LENGTH), device=device)
    labels = torch.randint(77, (8, batch), device=device)

    def step(index: int) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = F.cross_entropy(model(tokens[index % 8]), labels[index % 8])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    rates = []
    with products_in("tf32" if dtype == "tf32" else "ieee"):
        for turn in range(3):
            step(turn)
        for _ in range(5):
            synchronise()
            began = time.perf_counter()
            for turn in range(4):
                step(turn)
            synchronise()
            rates.append(4 * batch * LENGTH / (time.perf_counter() - began))
    where = f"{torch.get_num_threads()} CPU threads" if device == "cpu" else "the GPU"
    what = f"a 3-layer encoder of width {WIDTH} with 32 experts a layer, {batch} × {LENGTH} tokens"
    how = f"training steps of {what}, {dtype}, on {where}"
    place = "cpu" if device == "cpu" else "gpu"
    journal.row(f"train_tokens_s_{place}_{SHORT[dtype]}_b{batch}", rates, "/s", how, control=place == "cpu")
    journal.say("fact", key=f"train {place} {dtype} {batch}", value=rates)


def training_gain(journal: Journal, facts: Mapping[str, Any]) -> None:
    """GPU over the CPU of the same machine at the CPU's batch, same precision."""
    slow, quick = facts.get("train cpu float32 32"), facts.get("train gpu float32 32")
    if slow and quick:
        ratios = [a / b for a, b in zip(quick, slow, strict=True)]
        how = "training tokens a second, float32, 32 × 48 tokens a step, GPU over this machine's CPU"
        journal.row("train_gpu_over_cpu", ratios, "x", how)
