"""A low-rank adapter on a head: what is learned on top of frozen features, and folded into them at the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AdaptedHead(nn.Module):
    """logits = W·(x + B·A·x) + b. B starts at zero, so training starts from the head as it was.

    Shapes: weight (L, D), bias (L,), down (r, D), up (D, r).
    """

    best_weight: Tensor
    best_bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, rank: int = 8) -> None:
        super().__init__()
        if not 1 <= rank <= weight.size(1):
            raise ValueError(f"rank={rank} must lie in 1..{weight.size(1)}")
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        self.down = nn.Parameter(torch.randn(rank, weight.size(1)) * weight.size(1) ** -0.5)
        self.up = nn.Parameter(torch.zeros(weight.size(1), rank))
        self.register_buffer("best_weight", weight.clone())
        self.register_buffer("best_bias", bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (N, D) -> (N, L)."""
        return (x + x @ self.down.T @ self.up.T) @ self.weight.T + self.bias

    @torch.no_grad()
    def merged(self) -> tuple[Tensor, Tensor]:
        """The adapter folded into one linear map: weight (L, D) and bias (L,)."""
        return self.weight + self.weight @ self.up @ self.down, self.bias.clone()

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the present weights as the best so far; they travel with checkpoints."""
        weight, bias = self.merged()
        self.best_weight.copy_(weight)
        self.best_bias.copy_(bias)
