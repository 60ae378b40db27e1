"""The sparse text classifier: Dynamic Gating blocks over frozen pooled states, one head per workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.moe.flops import expert_parameters
from modelhub.ml.moe.gate import Routing
from modelhub.ml.moe.layer import DynamicGatingLayer


@dataclass(frozen=True, slots=True)
class GatingConfig:
    """Shape of the network, and the active share it promises."""

    width: int = 384
    layers: int = 2
    experts: int = 32
    hidden: int = 128
    shared: int = 1
    mass: float = 0.4
    dropout: float = 0.1
    input_dropout: float = 0.2
    declared_share: float = 0.30
    random_router: bool = False
    k_min: int = 2
    k_max: int = 4
    activation: str = "silu"


class SharePromiseBroken(ValueError):
    """The configuration touches a larger share of its parameters than it declares."""


class GatingClassifier(nn.Module):
    """Pooled states in, one head's logits out; `features` is what heads (and fine-tuned ones) read."""

    def __init__(self, config: GatingConfig, heads: dict[str, int]) -> None:
        super().__init__()
        self.config, self.head_sizes = config, dict(heads)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.layers = nn.ModuleList(
            DynamicGatingLayer(
                config.width,
                experts=config.experts,
                hidden=config.hidden,
                shared=config.shared,
                dropout=config.dropout,
                mass=config.mass,
                k_min=config.k_min,
                k_max=config.k_max,
                activation=config.activation,
                random_router=config.random_router,
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.heads = nn.ModuleDict(
            {_key(name): nn.Linear(config.width, size) for name, size in heads.items()}
        )

    def features(self, pooled: Tensor) -> tuple[Tensor, list[Routing]]:
        """Shapes: pooled (T, D), of any length -> (T, D) and one routing per layer."""
        x = self.input_dropout(F.normalize(pooled, dim=-1) * self.config.width**0.5)
        routings = []
        for layer in self.layers:
            x, routing = layer(x)
            routings.append(routing)
        return self.norm(x), routings

    def head(self, name: str) -> nn.Linear:
        """The linear head of a workload. Raises KeyError."""
        return cast(nn.Linear, self.heads[_key(name)])

    @property
    def blocks(self) -> list[DynamicGatingLayer]:
        """The Dynamic Gating blocks, in order."""
        return [cast(DynamicGatingLayer, layer) for layer in self.layers]

    def forward(self, pooled: Tensor, name: str) -> Tensor:
        """Shapes: pooled (T, D) -> logits (T, L) of one workload."""
        return self.head(name)(self.features(pooled)[0])


def _key(name: str) -> str:
    return name.replace(".", "_")


def build(
    config: GatingConfig, heads: dict[str, int], *, mean_chosen: float | None = None
) -> GatingClassifier:
    """Build a network and hold it to its promise. Raises SharePromiseBroken, ValueError for sizes that cannot be.

    `mean_chosen` is the mean number of experts a token uses; the default is the most it ever can.
    """
    chosen = float(config.k_max) if mean_chosen is None else mean_chosen
    if not config.k_min <= chosen <= config.k_max:
        raise ValueError(
            f"mean_chosen={chosen} must lie in {config.k_min}..{config.k_max}, what the gate can choose"
        )
    model = GatingClassifier(config, heads)
    share = active_parameters(model, chosen)["active_share"]
    if share > config.declared_share:
        raise SharePromiseBroken(
            f"{share:.1%} of the parameters are active with k={chosen}, declared were at most "
            f"{config.declared_share:.1%}: use more or smaller experts"
        )
    return model


def active_parameters(model: GatingClassifier, mean_chosen: float) -> dict[str, float]:
    """Parameters touched per text and in all, without the trunk; every head is counted in the total, and the
    largest one as touched."""
    config = model.config
    expert = expert_parameters(config.width, config.hidden, config.activation)
    bank = config.layers * config.experts * expert
    head_sizes = [sum(p.numel() for p in head.parameters()) for head in model.heads.values()]
    total = sum(p.numel() for p in model.parameters())
    rest = total - bank - sum(head_sizes)
    active = rest + max(head_sizes, default=0) + config.layers * mean_chosen * expert
    return {"total": total, "active": round(active), "active_share": active / total}


@torch.no_grad()
def mean_experts_used(model: GatingClassifier, pooled: Tensor) -> float:
    """The mean number of experts per token and layer. Shapes: pooled (T, D)."""
    model.eval()
    return float(torch.stack([r.chosen.float().mean() for r in model.features(pooled)[1]]).mean())
