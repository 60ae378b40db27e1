"""The gates of a Dynamic Gating Network: which experts see a token, how many, and how they are mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RoutingNotFinite(ValueError):
    """The gate's logits hold NaN or infinity: an expert chosen by them would be chosen by chance."""


@dataclass(frozen=True, slots=True)
class Routing:
    """A gate's answer for T tokens.

    Shapes: weights (T, K) float32, zero where a token uses fewer than K experts, each row summing to one (to the scaling
    factor for a sigmoid gate); experts (T, K) int64, best first; chosen (T,) int64, how many count; z_loss a scalar.
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
        check_choice(k_min, k_max, mass, experts)
        self.k_min, self.k_max, self.mass, self.random_router = k_min, k_max, mass, random_router
        self.keys = nn.Parameter(torch.randn(experts, width) / width**0.5)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.register_buffer("selection_bias", torch.zeros(experts))

    def forward(self, x: Tensor) -> Routing:
        """Shapes: x (T, D) -> Routing of T tokens. Raises RoutingNotFinite."""
        logits = self.logits(x)
        if self.random_router:
            logits = 4.0 * torch.randn_like(logits)
        check_finite(logits)
        return route(logits, self.selection_bias, k_min=self.k_min, k_max=self.k_max, mass=self.mass)

    def logits(self, x: Tensor) -> Tensor:
        """What it thinks of every expert, before it chooses. Shapes: (T, D) -> (T, E), float32."""
        return self.scale * F.normalize(x.float(), dim=-1) @ F.normalize(self.keys.float(), dim=-1).T


class SigmoidGate(nn.Module):
    """DeepSeek-V3's gate: sigmoid scores, a bias on selection, groups of experts (arXiv 2412.19437, section 2.1.2).

    Only experts of the `topk_group` best groups compete, a group being as good as its two best experts. Names and meaning
    of the options are transformers' (`DeepseekV3Config`); without `norm_topk_prob` the scores are mixed as they are.
    """

    selection_bias: Tensor

    def __init__(
        self,
        width: int,
        experts: int,
        *,
        top_k: int,
        n_group: int = 1,
        topk_group: int = 1,
        norm_topk_prob: bool = True,
        routed_scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()
        if n_group < 1 or experts % n_group or experts // n_group < 2:
            raise ValueError(f"n_group={n_group} must divide {experts} experts into groups of two or more")
        if not 1 <= topk_group <= n_group:
            raise ValueError(f"topk_group={topk_group} must lie in 1..{n_group}, the number of groups")
        if not 1 <= top_k <= topk_group * (experts // n_group):
            raise ValueError(
                f"top_k={top_k} must lie in 1..{topk_group * (experts // n_group)}, the experts that compete"
            )
        self.top_k, self.n_group, self.topk_group = top_k, n_group, topk_group
        self.norm_topk_prob, self.routed_scaling_factor = norm_topk_prob, routed_scaling_factor
        self.weight = nn.Parameter(torch.randn(experts, width) / width**0.5)
        self.register_buffer("selection_bias", torch.zeros(experts))

    def forward(self, x: Tensor) -> Routing:
        """Shapes: x (T, D) -> Routing of T tokens. Raises RoutingNotFinite."""
        logits = F.linear(x.float(), self.weight.float())
        check_finite(logits)
        scores = logits.sigmoid()
        experts = best_first(self._admit(scores + self.selection_bias.float()), self.top_k)
        weights = scores.gather(-1, experts)
        if self.norm_topk_prob:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        chosen = torch.full((len(x),), self.top_k, device=x.device)
        return Routing(weights * self.routed_scaling_factor, experts, chosen, z_loss(logits))

    def _admit(self, choice: Tensor) -> Tensor:
        """Shut out the experts of groups that lost. Shapes: choice (T, E) -> (T, E), -inf where shut out."""
        if self.topk_group == self.n_group:
            return choice
        groups = choice.unflatten(-1, (self.n_group, -1))
        worth = groups.topk(2, dim=-1).values.sum(dim=-1)
        best = best_first(worth, self.topk_group)
        lost = torch.ones_like(worth, dtype=torch.bool).scatter(1, best, False)
        return groups.masked_fill(lost.unsqueeze(-1), float("-inf")).flatten(1)


def check_choice(k_min: int, k_max: int, mass: float, experts: int) -> None:
    """Raises ValueError when no token could be routed so."""
    if not 1 <= k_min <= k_max <= experts:
        raise ValueError(f"k_min={k_min}, k_max={k_max} must satisfy 1 <= k_min <= k_max <= {experts}")
    if not 0.0 < mass <= 1.0:
        raise ValueError(f"mass={mass} must lie in (0, 1]")


def check_finite(logits: Tensor) -> None:
    """Raises RoutingNotFinite, naming the first rows. An exporter traces no data and is let through.

    NaN compares false with everything, so a top-k over it still gives experts: they'd be chosen by chance, and counted.
    """
    if torch.compiler.is_exporting() or torch.compiler.is_compiling():
        return
    finite = torch.isfinite(logits).all(dim=-1)
    if not bool(finite.all()):
        rows = torch.nonzero(~finite).ravel().tolist()
        raise RoutingNotFinite(
            f"{len(rows)} of {len(logits)} tokens have gate logits that are not finite (first rows {rows[:5]}): look for NaN "
            f"or infinity in the layer below or in the gate's own parameters"
        )


def z_loss(logits: Tensor) -> Tensor:
    """Mean squared log-partition, which keeps logits small (ST-MoE, Zoph et al. 2022, arXiv 2202.08906). 0 for no token."""
    return logits.float().logsumexp(dim=-1).square().sum() / max(1, len(logits))


def route(logits: Tensor, selection_bias: Tensor, *, k_min: int, k_max: int, mass: float) -> Routing:
    """Choose experts by softmax(logits) + bias, count them by mass, mix them by softmax(logits) alone.

    Equal scores go to the lower index, as they do in ONNX Runtime. Shapes: logits (T, E), selection_bias (E,).
    Raises ValueError for a k outside 1..E.
    """
    check_choice(k_min, k_max, mass, logits.size(-1))
    probabilities = logits.float().softmax(dim=-1)
    experts = best_first(probabilities + selection_bias.float(), k_max)
    weights = probabilities.gather(-1, experts)
    kept = within_mass(weights, k_min, mass)
    weights = weights * kept
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-20)
    return Routing(weights, experts, kept.sum(dim=-1), z_loss(logits))


def within_mass(weights: Tensor, k_min: int, mass: float) -> Tensor:
    """Which choices count: the first k_min, and each further one as long as those before it fall short of `mass`.

    Shapes: weights (T, K), in the order of choice -> (T, K) int64, ones and then zeros.
    """
    before = weights.cumsum(dim=-1) - weights  # the mass already gathered when each expert's turn comes
    place = torch.arange(weights.size(-1), device=weights.device)
    return ((place < k_min) | (before < mass)).long().cumprod(dim=-1)


def best_first(scores: Tensor, k: int) -> Tensor:
    """Indices of the k best, best first, equal scores in the order of their index: `topk` alone promises no order.

    Each score and its index become one integer, so no two are equal; a stable sort says the same at four times the cost.
    Shapes: scores (T, E) float32 -> (T, k) int64.
    """
    bits = (scores + 0.0).view(torch.int32)  # adding zero makes -0.0 equal 0.0
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # negative floats order backwards as integers
    keys = (rising.long() << 32) - torch.arange(scores.size(-1), device=scores.device)
    return keys.topk(k, dim=-1).indices
