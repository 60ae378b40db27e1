"""Feed-forward networks as modules: a bank of equal-sized experts, and the shared one that every token passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelhub.ml.moe import kernels


class ExpertBank(nn.Module):
    """E experts `w2 · activation(w1 · x)`, held as two tensors so that one layout serves every runtime.

    `form` names the way they run (kernels.FORMS); None takes the default by the number of tokens.
    Shapes: w1 (E, F, D), or (E, 2F, D) holding [gate; up] for a gated activation; w2 (E, D, F).
    """

    def __init__(
        self, experts: int, width: int, hidden: int, *, activation: str = "silu", form: str | None = None
    ) -> None:
        super().__init__()
        rows = 2 * hidden if kernels.is_gated(activation) else hidden
        self.activation, self.form = activation, form
        self.w1 = nn.Parameter(torch.randn(experts, rows, width) * width**-0.5)
        self.w2 = nn.Parameter(torch.randn(experts, width, hidden) * hidden**-0.5 * 0.1)

    @property
    def experts(self) -> int:
        return self.w1.size(0)

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """Mix each token's experts. Shapes: x (T, D), weights and experts (T, K) -> (T, D).

        Pairs of weight zero are left out, so a token that uses two experts costs two. No expert has a capacity: none of
        its tokens is dropped, however many there are.
        """
        return kernels.moe_experts(x, weights, experts, self.w1, self.w2, self.activation, self.form)


class Activation(nn.Module):
    """An activation by name, as a module; a gated one halves the width."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        kernels.is_gated(activation)  # refuses an unknown name now, not at the first batch
        self.activation = activation

    def forward(self, inner: Tensor) -> Tensor:
        return kernels.activate(inner, self.activation)


def shared_expert(width: int, hidden: int, activation: str) -> nn.Sequential:
    """The network that every token passes, of the total width of all shared experts."""
    rows = 2 * hidden if kernels.is_gated(activation) else hidden
    first, last = nn.Linear(width, rows, bias=False), nn.Linear(hidden, width, bias=False)
    nn.init.normal_(last.weight, std=0.1 * hidden**-0.5)
    return nn.Sequential(first, Activation(activation), last)
