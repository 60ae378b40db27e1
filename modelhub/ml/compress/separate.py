"""A dense feed-forward part taken apart into experts, and a router that says which of them a token needs.

Neurons are dealt into groups of equal size by balanced k-means (MoEfication, Zhang et al. 2022, arXiv 2110.01786): on
their input weights, or on how they fire together. Nothing is lost by the dealing: with every expert at work the parts
add up to the dense answer. What is lost comes from leaving experts out; a solve in closed form (`reconstruct`) and a few
recovery steps win most of it back.
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
RIDGE = 1e-3


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


@dataclass(frozen=True, slots=True)
class Scale:
    """What an error of a part's answer counts after the norm behind it. Shapes: tokens (T,), outputs (D,).

    The norm divides by a token's spread, and some tokens' is many times the others': without this a handful of them
    decides everything.
    """

    tokens: Tensor
    outputs: Tensor

    @classmethod
    def even(cls, x: Tensor) -> Scale:
        """Every token and output counts the same. Shapes: x (T, D)."""
        return cls(torch.ones(len(x)), torch.ones(x.size(1)))

    def mean(self, values: Tensor) -> Tensor:
        """The mean over tokens by what their squared error counts. Shapes: (T, ...) -> (...)."""
        weight = self.tokens.square() / self.tokens.square().sum()
        return torch.einsum("t,t...->...", weight, values)


GROUPING_TOKENS, AT_ONCE = 3000, 256


@torch.no_grad()
def group(
    part: DensePart, x: Tensor, experts: int, by: By, rng: np.random.Generator, scale: Scale | None = None
) -> Tensor:
    """Neurons of each expert, all of the same number. Gives (E, H / E) positions.

    `weights`: alike in what they look for; `coactivation`: adding to the same tokens; `random`: a control.
    Raises ValueError where the neurons don't divide evenly, or for another way.
    """
    scale = scale or Scale.even(x)
    neurons = len(part.w1)
    if experts < 1 or neurons % experts:
        raise ValueError(f"{neurons} neurons don't divide evenly into {experts} experts")
    if by == "random":
        return torch.from_numpy(rng.permutation(neurons).reshape(experts, -1))
    if by == "weights":
        seen = part.w1
    elif by == "coactivation":
        few = torch.from_numpy(rng.permutation(len(x))[:GROUPING_TOKENS])
        part_of = Scale(scale.tokens[few], scale.outputs)
        inner = part.inner(x[few])
        adds = (part.w2 * scale.outputs[:, None]).norm(dim=0)
        seen = ((inner - part_of.mean(inner)) * part_of.tokens[:, None] * adds).T
    else:
        raise ValueError(f"by={by!r} must be 'weights', 'coactivation' or 'random'")
    return torch.stack(balanced_groups(seen, experts, rng))


class SeparatedPart(nn.Module):
    """Experts of one feed-forward part and their router; `k` of them answer each token, `k` = E answers as the dense one.

    Shapes: w1 (E, F, D), b1 (E, F), w2 (E, D, F), shift (E, D), bias (D,); router (E, D) and (E,). An expert's `shift` goes
    with its answer, so that `bias` may hold what experts say on average when they aren't asked.
    """

    def __init__(self, part: DensePart, groups: Tensor, k: int) -> None:
        super().__init__()
        if not 1 <= k <= len(groups):
            raise ValueError(f"k={k} must lie in 1..{len(groups)}, the number of experts")
        self.k = k
        self.w1 = nn.Parameter(part.w1[groups].clone())
        self.b1 = nn.Parameter(part.b1[groups].clone())
        self.w2 = nn.Parameter(part.w2.T[groups].transpose(1, 2).contiguous().clone())
        self.shift = nn.Parameter(torch.zeros(len(groups), len(part.b2)))
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
        return torch.einsum("tef,edf->ted", inner, self.w2) + self.shift

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
        return F.linear(inner, self.w2.transpose(0, 1).reshape(d, e * f), self.bias + self.shift.sum(dim=0))

    def _grouped(self, x: Tensor, chosen: Tensor, factor: Tensor | None) -> Tensor:
        """Each expert over its own tokens alone: what a server computes, and what a training step pays."""
        mixed = self.bias.expand(len(x), -1)
        for expert in range(self.experts):
            rows = chosen[:, expert].nonzero().flatten()
            if not len(rows):
                continue
            inner = F.gelu(F.linear(x[rows], self.w1[expert], self.b1[expert]))
            said = F.linear(inner, self.w2[expert], self.shift[expert])
            said = said if factor is None else said * factor[rows, expert, None]
            mixed = mixed.index_add(0, rows, said)
        return mixed


@torch.no_grad()
def fit_router(part: SeparatedPart, x: Tensor, scale: Scale | None = None) -> float:
    """Fit the router by ridge regression on the state of how far each expert's answer lies from its mean, in place.

    The mean costs nothing, so an expert that always says the same needn't be asked. Gives the share of the answers' size
    that the chosen experts hold, 1.0 where none is lost. Shapes: x (T, D).
    """
    scale = scale or Scale.even(x)
    far, size = _sizes(part, x, scale)
    mean, spread = far.mean(dim=0), far.std().clamp_min(1e-6)
    wanted = (far - mean) / spread
    middle = x.mean(dim=0)
    moved = x - middle
    square = moved.T @ moved / len(x) + RIDGE * torch.eye(x.size(1))
    weight = torch.linalg.solve(square, moved.T @ wanted / len(x)).T
    part.router.weight.copy_(weight)
    part.router.bias.copy_(mean / spread - weight @ middle)
    best = part.router(x).topk(part.k, dim=1).indices
    return float(size.gather(1, best).sum() / size.sum())


def _sizes(part: SeparatedPart, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
    """How far every expert's answer lies from its mean, and from nought. Gives (T, E) twice."""
    chunks = list(zip(x.split(AT_ONCE), scale.tokens.split(AT_ONCE), strict=True))
    whole = sum(torch.einsum("t,ted->ed", counts.square(), part.said(rows)) for rows, counts in chunks)
    usual = whole / scale.tokens.square().sum()
    far, size = [], []
    for rows, counts in chunks:
        said = part.said(rows)
        far.append(((said - usual) * scale.outputs).norm(dim=2) * counts[:, None])
        size.append((said * scale.outputs).norm(dim=2) * counts[:, None])
    return torch.cat(far), torch.cat(size)


@torch.no_grad()
def separate(
    part: DensePart,
    x: Tensor,
    *,
    experts: int,
    k: int,
    by: By,
    rng: np.random.Generator,
    scale: Scale | None = None,
) -> tuple[SeparatedPart, float]:
    """Take a part into experts and fit their router on the states x (T, D); gives it and what its router keeps."""
    made = SeparatedPart(part, group(part, x, experts, by, rng, scale), k)
    return made, fit_router(made, x, scale)


def active_share(part: SeparatedPart) -> float:
    """Share of the dense part's parameters that a token touches, router and shifts counted in."""
    neurons = part.w1[0].numel() + part.b1[0].numel() + part.w2[0].numel()
    router = sum(p.numel() for p in part.router.parameters())
    always = router + part.bias.numel()
    touched = part.k * (neurons + part.shift[0].numel()) + always
    return touched / (part.experts * neurons + part.bias.numel())
