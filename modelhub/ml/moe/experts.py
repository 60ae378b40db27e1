"""A bank of equal-sized feed-forward experts, run grouped: tokens sorted by expert, one product each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ExpertBank(nn.Module):
    """E experts `w2 · silu(w1 · x)`, held as two tensors so that one layout serves every runtime.

    Shapes: w1 (E, F, D), w2 (E, D, F).
    """

    def __init__(self, experts: int, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(experts, hidden, width) * width**-0.5)
        self.w2 = nn.Parameter(torch.randn(experts, width, hidden) * hidden**-0.5 * 0.1)

    @property
    def experts(self) -> int:
        return self.w1.size(0)

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """Mix each token's experts. Shapes: x (T, D), weights and experts (T, K) -> (T, D).

        Pairs of weight zero are left out, so a token that uses two experts costs two.
        """
        token, slot = torch.nonzero(weights, as_tuple=True)
        expert = experts[token, slot]
        order = expert.argsort(stable=True)
        token, mix = token[order], weights[token, slot][order]
        sizes = torch.bincount(expert, minlength=self.experts).tolist()
        # unbind, not indexing: the gradient of indexing is a whole bank of zeros for every expert
        banks = zip(self.w1.unbind(0), self.w2.unbind(0), x[token].split(sizes), strict=True)
        parts = [F.silu(group @ w1.T) @ w2.T for w1, w2, group in banks if len(group)]
        if not parts:
            return torch.zeros_like(x)
        return torch.zeros_like(x).index_add(0, token, torch.cat(parts) * mix[:, None].to(x.dtype))
