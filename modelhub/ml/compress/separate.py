"""A dense feed-forward part taken apart into experts, and a router that says which of them a token needs.

Neurons are dealt into groups of equal size by balanced k-means (MoEfication, Zhang et al. 2022, arXiv 2110.01786): on
their input weights, or on how they fire together. Nothing is lost by the dealing: with every expert at work the parts
add up to the dense answer. What is lost comes from leaving experts out, and a few recovery steps win most of it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.text.upcycle import balanced_groups

By = Literal["weights", "coactivation", "random"]
RIDGE = 1e-2


@dataclass(frozen=True, slots=True)
class DensePart:
    """A feed-forward part `w2 · gelu(w1 · x + b1) + b2`. Shapes: w1 (H, D), b1 (H,), w2 (D, H), b2 (D,)."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor

    def inner(self, x: Tensor) -> Tensor:
        """What the neurons say. Shapes: (T, D) -> (T, H)."""
        return F.gelu(F.linear(x, self.w1, self.b1))

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(self.inner(x), self.w2, self.b2)


@torch.no_grad()
def group(part: DensePart, x: Tensor, experts: int, by: By, rng: np.random.Generator) -> Tensor:
    """Neurons of each expert, all of the same number. Gives (E, H / E) positions.

    `weights`: alike in what they look for; `coactivation`: firing on the same tokens; `random`: a control.
    Raises ValueError where the neurons don't divide evenly, or for another way.
    """
    neurons = len(part.w1)
    if experts < 1 or neurons % experts:
        raise ValueError(f"{neurons} neurons don't divide evenly into {experts} experts")
    if by == "random":
        return torch.from_numpy(rng.permutation(neurons).reshape(experts, -1))
    if by == "weights":
        seen = part.w1
    elif by == "coactivation":
        said = part.inner(x) * part.w2.norm(dim=0)
        seen = (said - said.mean(dim=0)).T
    else:
        raise ValueError(f"by={by!r} must be 'weights', 'coactivation' or 'random'")
    return torch.stack(balanced_groups(seen, experts, rng))


class SeparatedPart(nn.Module):
    """Experts of one feed-forward part and their router; `k` of them answer each token, `k` = E answers as the dense one.

    Shapes: w1 (E, F, D), b1 (E, F), w2 (E, D, F), bias (D,); router (E, D) and (E,).
    """

    def __init__(self, part: DensePart, groups: Tensor, k: int) -> None:
        super().__init__()
        if not 1 <= k <= len(groups):
            raise ValueError(f"k={k} must lie in 1..{len(groups)}, the number of experts")
        self.k = k
        self.w1 = nn.Parameter(part.w1[groups].clone())
        self.b1 = nn.Parameter(part.b1[groups].clone())
        self.w2 = nn.Parameter(part.w2.T[groups].transpose(1, 2).contiguous().clone())
        self.bias = nn.Parameter(part.b2.clone())
        self.router = nn.Linear(part.w1.size(1), len(groups))
        self.random_router = False
        self.silent = False  # the control that leaves the whole part out

    @property
    def experts(self) -> int:
        return self.w1.size(0)

    def said(self, x: Tensor) -> Tensor:
        """Every expert's answer. Shapes: (T, D) -> (T, E, D)."""
        inner = F.gelu(torch.einsum("td,efd->tef", x, self.w1) + self.b1)
        return torch.einsum("tef,edf->ted", inner, self.w2)

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The k experts of each token and a factor that is one and lets the router learn. Shapes: (T, E) of bool and float."""
        score = self.router(x)
        ranked = torch.rand_like(score) if self.random_router else score
        chosen = torch.zeros_like(score, dtype=torch.bool).scatter(
            1, ranked.topk(self.k, dim=1).indices, True
        )
        weight = torch.sigmoid(score)
        return chosen, 1 + weight - weight.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (T, D) -> (T, D)."""
        if self.silent:
            return self.bias.expand(len(x), -1)
        if self.k == self.experts and not self.random_router:
            return self._all(x)
        chosen, factor = self.choose(x)
        return self._grouped(x, chosen, factor if self.training else None)

    def _all(self, x: Tensor) -> Tensor:
        """Every expert, as two plain products: the dense part again, its neurons in another order."""
        e, f, d = self.w1.shape
        inner = F.gelu(F.linear(x, self.w1.reshape(e * f, d), self.b1.reshape(-1)))
        return F.linear(inner, self.w2.transpose(0, 1).reshape(d, e * f), self.bias)

    def _grouped(self, x: Tensor, chosen: Tensor, factor: Tensor | None) -> Tensor:
        """Each expert over its own tokens alone: what a server computes, and what a training step pays."""
        mixed = self.bias.expand(len(x), -1)
        for expert in range(self.experts):
            rows = chosen[:, expert].nonzero().flatten()
            if not len(rows):
                continue
            inner = F.gelu(F.linear(x[rows], self.w1[expert], self.b1[expert]))
            said = F.linear(inner, self.w2[expert])
            said = said if factor is None else said * factor[rows, expert, None]
            mixed = mixed.index_add(0, rows, said)
        return mixed


@torch.no_grad()
def fit_router(part: SeparatedPart, x: Tensor) -> float:
    """Fit the router by ridge regression of each expert's weight in the answer on the state, in place.

    Gives the share of the answers' size that the chosen experts hold, 1.0 where none is lost. Shapes: x (T, D).
    """
    size = torch.cat([part.said(chunk).norm(dim=2) for chunk in x.split(256)])
    mean, spread = size.mean(dim=0), size.std().clamp_min(1e-6)
    wanted = (size - mean) / spread
    centre = x.mean(dim=0)
    moved = x - centre
    square = moved.T @ moved / len(x) + RIDGE * torch.eye(x.size(1))
    weight = torch.linalg.solve(square, moved.T @ wanted / len(x)).T
    part.router.weight.copy_(weight)
    part.router.bias.copy_(mean / spread - weight @ centre)
    best = part.router(x).topk(part.k, dim=1).indices
    return float(size.gather(1, best).sum() / size.sum())


@torch.no_grad()
def separate(
    part: DensePart, x: Tensor, *, experts: int, k: int, by: By, rng: np.random.Generator
) -> tuple[SeparatedPart, float]:
    """Take a part into experts and fit their router on the states x (T, D); gives it and what its router keeps."""
    made = SeparatedPart(part, group(part, x, experts, by, rng), k)
    return made, fit_router(made, x)


def active_share(part: SeparatedPart) -> float:
    """Share of the feed-forward parameters that a token touches, its router counted in."""
    each = part.w1[0].numel() + part.b1[0].numel() + part.w2[0].numel()
    router = sum(p.numel() for p in part.router.parameters())
    always = router + part.bias.numel()
    return (part.k * each + always) / (part.experts * each + always)
