"""A small network that is asked for facts: embedded kind and code, two Dynamic Gating blocks or dense ones, four answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from modelhub.ml.kb.facts import ATTRIBUTES, CODE_LENGTH, EQUIPMENT, LETTERS, Facts
from modelhub.ml.moe.experts import shared_expert
from modelhub.ml.moe.gate import Routing
from modelhub.ml.moe.layer import DynamicGatingLayer


@dataclass(frozen=True, slots=True)
class KnowledgeConfig:
    """Shape. `dense` above 0 puts a dense feed-forward part of that width in place of each block's experts."""

    width: int = 64
    layers: int = 2
    experts: int = 24
    hidden: int = 64
    shared: int = 1
    k_min: int = 2
    k_max: int = 4
    mass: float = 0.4
    random_router: bool = False
    dense: int = 0

    def dense_total(self) -> KnowledgeConfig:
        """Dense, with as many feed-forward units as all experts together."""
        return replace(self, dense=(self.experts + self.shared) * self.hidden)

    def dense_active(self, chosen: float) -> KnowledgeConfig:
        """Dense, with as many feed-forward units as a fact meets when it uses `chosen` experts."""
        return replace(self, dense=round((chosen + self.shared) * self.hidden))


class DenseLayer(nn.Module):
    """x + feed-forward(norm(x))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.fed = nn.LayerNorm(width), shared_expert(width, hidden, "silu")
        self.silent = False

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Shapes: x (T, D) -> (T, D) and no routing."""
        return (x if self.silent else x + self.fed(self.norm(x))), None


class KnowledgeNet(nn.Module):
    """Questions to logits of all four answers side by side."""

    def __init__(self, config: KnowledgeConfig) -> None:
        super().__init__()
        self.config, d = config, config.width
        self.equipment = nn.Embedding(len(EQUIPMENT), d)
        self.letters = nn.Embedding(CODE_LENGTH * len(LETTERS), d)
        self.layers = nn.ModuleList(
            DenseLayer(d, config.dense)
            if config.dense
            else DynamicGatingLayer(
                d, experts=config.experts, hidden=config.hidden, shared=config.shared, mass=config.mass,
                k_min=config.k_min, k_max=config.k_max, random_router=config.random_router,
            )
            for _ in range(config.layers)
        )  # fmt: skip
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, sum(ATTRIBUTES.values()))

    @property
    def blocks(self) -> list[DynamicGatingLayer]:
        """The blocks, in order (dense ones answer the same calls but have no gate)."""
        return [cast(DynamicGatingLayer, layer) for layer in self.layers]

    def silence(self, silent: bool) -> None:
        """Switch every feed-forward part off, or on again: a control."""
        for block in self.blocks:
            block.silent = silent

    def forward(self, equipment: Tensor, code: Tensor) -> tuple[Tensor, list[Routing]]:
        """Shapes: equipment (T,), code (T, 3) int64 -> logits (T, answers) and the routings."""
        place = torch.arange(CODE_LENGTH, device=code.device) * len(LETTERS)
        x = self.equipment(equipment) + self.letters(code + place).sum(dim=1)
        routings = []
        for layer in self.layers:
            x, routing = layer(x)
            if routing is not None:
                routings.append(routing)
        return self.head(self.norm(x)), routings


def tensors(facts: Facts, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """Equipment, code and answers on a device."""
    parts = [torch.from_numpy(a).to(device) for a in (facts.equipment, facts.code, facts.answers)]
    return parts[0], parts[1], parts[2]


def count_parameters(model: KnowledgeNet, chosen: float) -> dict[str, float]:
    """Parameters outside the embeddings: all, and those that a fact meets when it uses `chosen` experts a block."""
    config = model.config
    names = ("equipment.", "letters.")
    total = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(names))
    idle = 0 if config.dense else config.layers * (config.experts - chosen) * 2 * config.width * config.hidden
    return {"total": total, "active": round(total - idle), "active_share": round((total - idle) / total, 4)}
