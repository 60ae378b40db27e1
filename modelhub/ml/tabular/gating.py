"""A Dynamic Gating network over rows of numbers, with experts of its own for each type of equipment.

Every type has a group of experts, and a row's gate chooses among those of its type only; one shared expert sees every row.
It stands beside boosting on the same rows: `python -m bench.tools.verticals` prints both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.moe import balance
from modelhub.ml.moe.experts import ExpertBank, shared_expert
from modelhub.ml.moe.gate import DynamicGate, Routing, check_finite, route
from modelhub.ml.train.schedule import one_cycle

SHUT = -1e4  # a logit that no softmax sees


@dataclass(frozen=True, slots=True)
class TypedConfig:
    """Shape and training. `per_type` experts belong to each of `types` types; `free` lets a row choose among all of them.

    Small on purpose: with 202 faults to learn from, twice the width and two layers fell from 0.83 to 0.55 on rows held back.
    """

    types: int = 3
    per_type: int = 3
    width: int = 32
    hidden: int = 24
    layers: int = 1
    k_min: int = 2
    k_max: int = 2
    mass: float = 0.6
    dropout: float = 0.2
    epochs: int = 60
    batch: int = 256
    rate: float = 3e-3
    decay: float = 0.1
    free: bool = False
    random_router: bool = False

    @property
    def experts(self) -> int:
        return self.types * self.per_type


class TypedGate(DynamicGate):
    """The Dynamic Gating gate, shut to the experts of other types."""

    def forward(self, x: Tensor, shut: Tensor) -> Routing:  # type: ignore[override]
        """Shapes: x (T, D), shut (T, E) of bool -> Routing. Raises RoutingNotFinite."""
        logits = self.scale * F.normalize(x.float(), dim=-1) @ F.normalize(self.keys.float(), dim=-1).T
        if self.random_router:
            logits = 4.0 * torch.randn_like(logits)
        check_finite(logits)
        return route(
            logits.masked_fill(shut, SHUT),
            self.selection_bias,
            k_min=self.k_min,
            k_max=self.k_max,
            mass=self.mass,
        )


class TypedLayer(nn.Module):
    """x + experts of the row's type + the shared expert."""

    def __init__(self, config: TypedConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.gate = TypedGate(
            config.width, config.experts, k_min=config.k_min, k_max=config.k_max, mass=config.mass,
            random_router=config.random_router,
        )  # fmt: skip
        self.bank = ExpertBank(config.experts, config.width, config.hidden)
        self.shared = shared_expert(config.width, config.hidden, "silu")
        self.dropout = nn.Dropout(config.dropout)
        self.silent = False  # the control that leaves the typed experts out

    def forward(self, x: Tensor, shut: Tensor) -> tuple[Tensor, Routing]:
        """Shapes: x (T, D), shut (T, E) -> (T, D) and the routing."""
        y = self.norm(x)
        routing = self.gate(y, shut)
        mixed = self.shared(y)
        if not self.silent:
            mixed = mixed + self.bank(y, routing.weights, routing.experts)
        return x + self.dropout(mixed), routing


class TypedNetwork(nn.Module):
    """Standardised columns and a row's type to one logit: the fault."""

    def __init__(self, config: TypedConfig, columns: int) -> None:
        super().__init__()
        self.config = config
        self.enter = nn.Linear(columns, config.width)
        self.layers = nn.ModuleList(TypedLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 1)
        owner = torch.arange(config.experts) // config.per_type
        self.register_buffer("owner", owner)

    @property
    def blocks(self) -> list[TypedLayer]:
        """The layers, in order."""
        return [cast(TypedLayer, layer) for layer in self.layers]

    def forward(self, x: Tensor, types: Tensor) -> tuple[Tensor, list[Routing]]:
        """Shapes: x (T, C), types (T,) int64 -> logits (T,) and the routings."""
        owner = cast(Tensor, self.owner)
        shut = owner[None, :] != types[:, None]
        if self.config.free:
            shut = torch.zeros_like(shut)
        x, routings = self.enter(x), []
        for layer in self.blocks:
            x, routing = layer(x, shut)
            routings.append(routing)
        return self.head(self.norm(x)).squeeze(-1), routings


class TypedModel:
    """A trained network with the scale of its columns. Columns: the first holds the type, 0 … types − 1."""

    def __init__(self, network: TypedNetwork, mean: np.ndarray, spread: np.ndarray) -> None:
        self.network, self.mean, self.spread = network, mean, spread

    def silence(self, silent: bool) -> None:
        """Leave the typed experts out, or take them back: a control."""
        for layer in self.network.blocks:
            layer.silent = silent

    @torch.no_grad()
    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Chance of a fault. Shapes: rows (N, C) -> (N,)."""
        self.network.eval()
        x = torch.from_numpy(((rows - self.mean) / self.spread).astype(np.float32))
        return self.network(x, types_of(rows, self.network.config.types))[0].sigmoid().numpy()


def types_of(rows: np.ndarray, types: int) -> Tensor:
    """The type of each row. Raises ValueError for one that has no experts."""
    found = rows[:, 0].astype(np.int64)
    if ((found < 0) | (found >= types)).any():
        raise ValueError(
            f"types {sorted(set(found))} must lie in 0..{types - 1}: every type needs experts of its own"
        )
    return torch.from_numpy(found)


def train_typed(rows: np.ndarray, truth: np.ndarray, config: TypedConfig, seed: int) -> TypedModel:
    """Fit on rows (N, C), the type in the first column, and truth (N,) of 0 and 1. Raises ValueError for an unknown type."""
    torch.manual_seed(seed)
    mean, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    x = torch.from_numpy(((rows - mean) / spread).astype(np.float32))
    y, types = torch.from_numpy(truth.astype(np.float32)), types_of(rows, config.types)
    network = TypedNetwork(config, rows.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.decay)
    rng = np.random.default_rng(seed)
    batch = min(config.batch, len(y))
    steps = config.epochs * (len(y) // batch)
    network.train()
    step = 0
    for _ in range(config.epochs):
        order = torch.from_numpy(rng.permutation(len(y))[: len(y) // batch * batch])
        for chosen in order.split(batch):
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(step, steps, config.rate)
            logits, routings = network(x[chosen], types[chosen])
            loss = F.binary_cross_entropy_with_logits(logits, y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for layer, routing in zip(network.blocks, routings, strict=True):
                balance.move_selection_bias(layer.gate, balance.expert_load(routing, config.experts))
            step += 1
    return TypedModel(network, mean, spread)
