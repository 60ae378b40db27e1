"""Starting an encoder from the pretrained trunk: its feed-forward neurons dealt out to experts.

Split: neurons are grouped by balanced k-means on their input weights (MoEfication, Zhang et al. 2022, arXiv
2110.01786). Upcycled: several groupings of the same neurons side by side, so that there are more experts than the
trunk has room for, each neuron in more than one company (sparse upcycling, Komatsuzaki et al. 2023, arXiv 2212.05055,
copies whole parts instead). Keys are fitted to how much each group contributes to a token's answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.moe.gate import route
from modelhub.ml.text.encoder import Block, SparseEncoder, TokenExperts
from modelhub.ml.text.packing import TokenRows, pack
from modelhub.ml.text.pretrained import Pretrained, states

SAMPLE_TEXTS, NOISE, FIRST_MASS = 400, 0.02, 0.40


@dataclass(frozen=True, slots=True)
class Neurons:
    """One feed-forward part of the trunk. Shapes: w1 (H, D) with the bias folded in, w2 (D, H), bias (D,)."""

    w1: Tensor
    w2: Tensor
    bias: Tensor


@torch.no_grad()
def start_from(model: SparseEncoder, trunk: Pretrained, rows: TokenRows, *, seed: int) -> None:
    """Fill an encoder of the trunk's width with the trunk's weights, in place; heads keep their random start.

    `rows` lend the texts whose states say which neurons belong together. Raises ValueError for another width.
    """
    width = trunk.weights["encoder.layer.0.intermediate.dense.weight"].size(1)
    if model.config.width != width:
        raise ValueError(
            f"width {model.config.width} is not the trunk's {width}: start this encoder at random"
        )
    rng = np.random.default_rng(seed)
    which = rng.choice(len(rows), min(SAMPLE_TEXTS, len(rows)), replace=False)
    batch = pack(rows, which, 128)
    _, inputs = states(trunk.weights, trunk.embeddings()(batch), batch)
    for layer, (block, x) in enumerate(zip(model.blocks, inputs, strict=False)):
        name = f"encoder.layer.{layer}."
        _copy_attention(block, trunk.weights, name)
        neurons = _neurons(trunk.weights, name, x)
        if model.config.experts:
            _deal(block.experts, neurons, x, rng)
        else:
            _widen(block.experts, neurons, x, rng)


def _copy_attention(block: Block, w: dict[str, Tensor], name: str) -> None:
    parts = [f"{name}attention.self.{part}" for part in ("query", "key", "value")]
    block.qkv.weight.copy_(torch.cat([w[part + ".weight"] for part in parts]))
    block.qkv.bias.copy_(torch.cat([w[part + ".bias"] for part in parts]))
    places = (
        (block.out, "attention.output.dense"),
        (block.attended, "attention.output.LayerNorm"),
        (block.fed, "output.LayerNorm"),
    )
    for module, part in places:
        module.weight.copy_(w[f"{name}{part}.weight"])
        module.bias.copy_(w[f"{name}{part}.bias"])


def _neurons(w: dict[str, Tensor], name: str, x: Tensor) -> Neurons:
    """Fold the inner bias into the input weights, since experts have none.

    Normalised states all lie close to a plane u·x = 1, so b ≈ (b uᵀ)x: the trunk's pooled states keep a cosine of
    0.9999 (without the bias it is 0.89). Shapes: x (T, D).
    """
    square = x.T @ x / len(x) + 1e-3 * torch.eye(x.size(1))
    u = torch.linalg.solve(square, x.mean(dim=0))
    w1 = w[name + "intermediate.dense.weight"] + torch.outer(w[name + "intermediate.dense.bias"], u)
    return Neurons(w1, w[name + "output.dense.weight"], w[name + "output.dense.bias"])


def _activity(neurons: Neurons, x: Tensor) -> Tensor:
    """How much each neuron adds to answers, on average. Gives (H,)."""
    return F.gelu(x @ neurons.w1.T).abs().mean(dim=0) * neurons.w2.norm(dim=0)


def _deal(part: TokenExperts, neurons: Neurons, x: Tensor, rng: np.random.Generator) -> None:
    """The busiest neurons become the shared part, the rest experts; then keys, and the scale of the mixture."""
    experts, hidden, _ = part.w1.shape
    busiest = _activity(neurons, x).argsort(descending=True)
    shared, rest = busiest[: part.up.size(0)], busiest[part.up.size(0) :]
    if len(rest) % hidden:
        raise ValueError(f"{len(rest)} neurons don't divide into experts of {hidden}")
    groups = group_neurons(neurons.w1[rest], experts, len(rest) // hidden, rng)
    units = rest[groups]  # (E, F)
    part.up.copy_(neurons.w1[shared])
    part.down.copy_(neurons.w2[:, shared])
    part.w1.copy_(_shaken(neurons.w1[units], rng))
    part.w2.copy_(_shaken(neurons.w2.T[units].transpose(1, 2), rng))
    part.bias.copy_(neurons.bias)
    _fit_keys(part, x)
    _fit_mixture(part, neurons, x)


def _shaken(weight: Tensor, rng: np.random.Generator) -> Tensor:
    noise = torch.from_numpy(rng.standard_normal(weight.shape, dtype=np.float32))
    return weight + NOISE * weight.std() * noise


def group_neurons(w1: Tensor, experts: int, groups: int, rng: np.random.Generator) -> Tensor:
    """As many groupings as it takes to fill `experts` groups of equal size. Shapes: w1 (H, D) -> (E, H / groups)."""
    found: list[Tensor] = []
    while len(found) < experts:
        found += balanced_groups(w1, groups, rng)
    return torch.stack(found[:experts])


def balanced_groups(w1: Tensor, groups: int, rng: np.random.Generator, rounds: int = 8) -> list[Tensor]:
    """Groups of equal size by cosine k-means: pairs of neuron and centre are taken from the most alike downwards.

    Shapes: w1 (H, D) -> `groups` tensors of H / groups positions.
    """
    unit = F.normalize(w1, dim=1)
    room = len(w1) // groups
    centres = unit[torch.from_numpy(rng.choice(len(w1), groups, replace=False))]
    owner = np.zeros(len(w1), np.int64)
    for _ in range(rounds):
        order = (unit @ centres.T).flatten().argsort(descending=True).numpy()
        owner, left = np.full(len(w1), -1), np.full(groups, room)
        for neuron, group in zip(order // groups, order % groups, strict=True):
            if owner[neuron] < 0 and left[group]:
                owner[neuron] = group
                left[group] -= 1
        centres = F.normalize(
            torch.stack([unit[owner == group].mean(dim=0) for group in range(groups)]), dim=1
        )
    return [torch.from_numpy(np.flatnonzero(owner == group)) for group in range(groups)]


def _fit_keys(part: TokenExperts, x: Tensor) -> None:
    """Keys by ridge regression of each expert's share of the answer on the state; the scale so that k starts low."""
    assert part.gate is not None
    size = torch.stack(
        [(F.gelu(x @ w1.T) @ w2.T).norm(dim=1) for w1, w2 in zip(part.w1, part.w2, strict=True)], dim=1
    )
    size = (size - size.mean(dim=0)) / size.std(dim=0).clamp_min(1e-6)
    square = x.T @ x / len(x) + 1e-2 * torch.eye(x.size(1))
    keys = torch.linalg.solve(square, x.T @ size / len(x)).T
    part.gate.keys.copy_(F.normalize(keys, dim=1))
    cosine = F.normalize(x, dim=1) @ part.gate.keys.T
    low, high = 2.0, 400.0
    for _ in range(20):
        middle = (low * high) ** 0.5
        best = (middle * cosine).softmax(dim=1).topk(min(3, cosine.size(1)), dim=1).values.sum(dim=1).mean()
        low, high = (middle, high) if best < FIRST_MASS else (low, middle)
    part.gate.scale.fill_(low)


def _fit_mixture(part: TokenExperts, neurons: Neurons, x: Tensor) -> None:
    """Scale the experts so that a mixture whose weights sum to one is as large as the sum it stands for."""
    assert part.gate is not None
    gate = part.gate
    logits = gate.scale * F.normalize(x, dim=1) @ F.normalize(gate.keys, dim=1).T
    routing = route(logits, gate.selection_bias, k_min=gate.k_min, k_max=gate.k_max, mass=gate.mass)
    mixed = part._routed(x, routing, None)
    wanted = F.gelu(x @ neurons.w1.T) @ neurons.w2.T - F.gelu(x @ part.up.T) @ part.down.T
    part.w2.mul_((mixed * wanted).sum() / (mixed * mixed).sum().clamp_min(1e-9))
    part.bias.add_((wanted - part._routed(x, routing, None)).mean(dim=0))


def _widen(part: TokenExperts, neurons: Neurons, x: Tensor, rng: np.random.Generator) -> None:
    """A dense part: the busiest neurons where it is narrower than the trunk's, copies that share the work where wider."""
    size, have = part.up.size(0), len(neurons.w1)
    busiest = _activity(neurons, x).argsort(descending=True)
    units = busiest.repeat(size // have + 1)[:size]
    copies = torch.bincount(units, minlength=have).clamp_min(1).float()
    part.up.copy_(_shaken(neurons.w1[units], rng) if size > have else neurons.w1[units])
    part.down.copy_(neurons.w2[:, units] / copies[units])
    part.bias.copy_(neurons.bias)
    left_out = busiest[size:]
    if len(left_out):
        part.bias.add_((F.gelu(x @ neurons.w1[left_out].T) @ neurons.w2[:, left_out].T).mean(dim=0))
