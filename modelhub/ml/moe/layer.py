"""Blocks of a Dynamic Gating Network: normalise, route, run the chosen experts and the shared one, add."""

from __future__ import annotations

from torch import Tensor, nn

from modelhub.ml.moe.experts import ExpertBank, shared_expert
from modelhub.ml.moe.gate import DynamicGate, Routing, SigmoidGate


class DynamicGatingLayer(nn.Module):
    """x + dropout(experts(norm(x)) + shared(norm(x))). The routing is handed back for balance and logs."""

    def __init__(
        self,
        width: int,
        *,
        experts: int,
        hidden: int,
        shared: int = 1,
        dropout: float = 0.0,
        mass: float = 0.4,
        k_min: int = 2,
        k_max: int = 4,
        activation: str = "silu",
        random_router: bool = False,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = DynamicGate(
            width, experts, k_min=k_min, k_max=k_max, mass=mass, random_router=random_router
        )
        self.bank = ExpertBank(experts, width, hidden, activation=activation)
        self.shared = shared_expert(width, shared * hidden, activation) if shared else None
        self.dropout = nn.Dropout(dropout)
        self.silent = False  # the control that leaves every feed-forward part out

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """Shapes: x (T, D) -> (T, D) and the routing of T tokens. Raises RoutingNotFinite."""
        y = self.norm(x)
        routing = self.gate(y)
        if self.silent:
            return x, routing
        mixed = self.bank(y, routing.weights, routing.experts)
        if self.shared is not None:
            mixed = mixed + self.shared(y)
        return x + self.dropout(mixed), routing


class SharedExpertMoE(nn.Module):
    """DeepSeek-V3's feed-forward part: a sigmoid gate over SwiGLU experts, beside shared ones that are always on.

    It adds no residual and no norm, so it stands where transformers' `DeepseekV3MoE` stands.
    """

    def __init__(
        self,
        width: int,
        *,
        experts: int,
        hidden: int,
        top_k: int,
        shared: int = 1,
        n_group: int = 1,
        topk_group: int = 1,
        norm_topk_prob: bool = True,
        routed_scaling_factor: float = 1.0,
        activation: str = "swiglu",
    ) -> None:
        super().__init__()
        self.gate = SigmoidGate(
            width,
            experts,
            top_k=top_k,
            n_group=n_group,
            topk_group=topk_group,
            norm_topk_prob=norm_topk_prob,
            routed_scaling_factor=routed_scaling_factor,
        )
        self.bank = ExpertBank(experts, width, hidden, activation=activation)
        self.shared = shared_expert(width, shared * hidden, activation) if shared else None

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """Shapes: x (…, D) -> (…, D) and the routing of all tokens. Raises RoutingNotFinite."""
        flat = x.reshape(-1, x.size(-1))
        routing = self.gate(flat)
        mixed = self.bank(flat, routing.weights, routing.experts)
        if self.shared is not None:
            mixed = mixed + self.shared(flat)
        return mixed.view_as(x), routing
