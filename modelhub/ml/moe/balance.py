"""Keeping experts in use without an auxiliary loss: a bias on selection, moved by recent load."""

from __future__ import annotations

import torch
from torch import Tensor

from modelhub.ml.moe.gate import DynamicGate, Routing, SigmoidGate

RATE = 0.001


def expert_load(routing: Routing, experts: int) -> Tensor:
    """How many tokens each expert saw. Gives (E,) float32 counts."""
    used = routing.weights != 0
    return torch.bincount(routing.experts[used], minlength=experts).float()


@torch.no_grad()
def move_selection_bias(gate: DynamicGate | SigmoidGate, load: Tensor, rate: float = RATE) -> None:
    """Raise the bias of experts under the mean load by `rate`, lower that of those over it.

    Shapes: load (E,) counts of the last step. Call once per training step and never while answering.
    Raises ValueError when the counts are of another number of experts.
    """
    if load.shape != gate.selection_bias.shape:
        raise ValueError(f"load is {tuple(load.shape)}, the gate has {len(gate.selection_bias)} experts")
    gate.selection_bias += rate * torch.sign(load.mean() - load)


def hot_experts(load: Tensor, times: float = 2.0) -> list[int]:
    """Experts whose load is over `times` the mean. Shapes: load (E,)."""
    return torch.nonzero(load > times * load.mean()).ravel().tolist()
