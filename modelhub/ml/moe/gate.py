"""The gate of a Dynamic Gating Network: which experts see a token, how many, and how they are mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Routing:
    """A gate's answer for T tokens.

    Shapes: weights (T, K) float32, zero where a token uses fewer than K experts, each row summing to one;
    experts (T, K) int64, best first; chosen (T,) int64, how many count; z_loss a scalar.
    """

    weights: Tensor
    experts: Tensor
    chosen: Tensor
    z_loss: Tensor


class DynamicGate(nn.Module):
    """Cosine gate with a learned scale; keeps the smallest k in k_min..k_max whose mass passes `mass`.

    Everything runs in float32, whatever the width of the rest. The selection bias moves which experts are
    chosen, never how they are mixed (loss-free balancing, Wang et al. 2024, arXiv 2408.15664); a k that
    varies by token follows Huang et al. 2024, arXiv 2403.07652.
    """

    selection_bias: Tensor

    def __init__(
        self,
        width: int,
        experts: int,
        *,
        k_min: int = 2,
        k_max: int = 4,
        mass: float = 0.4,
        random_router: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= k_min <= k_max <= experts:
            raise ValueError(f"k_min={k_min}, k_max={k_max} must satisfy 1 <= k_min <= k_max <= {experts}")
        if not 0.0 < mass <= 1.0:
            raise ValueError(f"mass={mass} must lie in (0, 1]")
        self.k_min, self.k_max, self.mass, self.random_router = k_min, k_max, mass, random_router
        self.keys = nn.Parameter(torch.randn(experts, width) / width**0.5)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.register_buffer("selection_bias", torch.zeros(experts))

    def forward(self, x: Tensor) -> Routing:
        """Shapes: x (T, D) -> Routing of T tokens."""
        logits = self.scale * F.normalize(x.float(), dim=-1) @ F.normalize(self.keys.float(), dim=-1).T
        if self.random_router:
            logits = 4.0 * torch.randn_like(logits)
        return route(logits, self.selection_bias, k_min=self.k_min, k_max=self.k_max, mass=self.mass)


def route(logits: Tensor, selection_bias: Tensor, *, k_min: int, k_max: int, mass: float) -> Routing:
    """Choose experts by softmax(logits) + bias, count them by mass, mix them by softmax(logits) alone.

    Shapes: logits (T, E), selection_bias (E,).
    """
    probabilities = logits.float().softmax(dim=-1)
    experts = (probabilities + selection_bias).topk(k_max, dim=-1).indices
    weights = probabilities.gather(-1, experts)
    before = weights.cumsum(dim=-1) - weights  # the mass already gathered when each expert's turn comes
    place = torch.arange(k_max, device=logits.device)
    kept = (place < k_min) | (before < mass)
    kept = kept.long().cumprod(dim=-1)
    weights = weights * kept
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-20)
    z_loss = logits.float().logsumexp(dim=-1).square().mean()
    return Routing(weights, experts, kept.sum(dim=-1), z_loss)
