"""One block of a Dynamic Gating Network: normalise, route, run the chosen experts and the shared one, add."""

from __future__ import annotations

from torch import Tensor, nn

from modelhub.ml.moe.experts import ExpertBank
from modelhub.ml.moe.gate import DynamicGate, Routing


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
        random_router: bool = False,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = DynamicGate(width, experts, mass=mass, random_router=random_router)
        self.bank = ExpertBank(experts, width, hidden)
        self.shared = nn.Sequential(
            nn.Linear(width, shared * hidden, bias=False),
            nn.SiLU(),
            nn.Linear(shared * hidden, width, bias=False),
        )
        last = self.shared[2]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.1 * (shared * hidden) ** -0.5)
        self.dropout = nn.Dropout(dropout)
        self.silent = False  # the control that leaves every feed-forward part out

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """Shapes: x (T, D) -> (T, D) and the routing of T tokens."""
        y = self.norm(x)
        routing = self.gate(y)
        if self.silent:
            return x, routing
        mixed = self.bank(y, routing.weights, routing.experts) + self.shared(y)
        return x + self.dropout(mixed), routing
