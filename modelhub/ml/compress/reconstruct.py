"""What a part's chosen experts should say so that together they come nearest to the dense answer: a solve, no steps.

Who is chosen stands; then the answer is linear in the experts' second weights and shifts, and least squares finds the best
of them at once (as SparseGPT and its kin do for pruned weights, Frantar and Alistarh 2023, arXiv 2301.00774). Solved layer
after layer on the states that the separated layers before it leave, each takes back what those lost.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.compress.separate import Scale, SeparatedPart

DAMPING = 3e-2  # of the features' mean square: holds to the dense weights where the sample says little
AT_ONCE = 4096


@torch.no_grad()
def reconstruct(part: SeparatedPart, x: Tensor, wanted: Tensor, scale: Scale | None = None) -> None:
    """Move second weights, shifts and bias, in place, so that the chosen experts' sum on x is nearest to `wanted`.

    Damped towards the weights as they are. A control's choice by chance is drawn here from torch's generator, as in
    serving. Shapes: x, wanted (T, D).
    """
    scale = scale or Scale.even(x)
    e, d, f = part.w2.shape
    count = e * f + e
    both = torch.zeros(count + 1, count + 1)  # products of features, a last one of ones for the bias
    with_left = torch.zeros(count + 1, d)
    weight = scale.tokens / scale.tokens.square().sum().sqrt()
    for rows, target, counts in zip(
        x.split(AT_ONCE), wanted.split(AT_ONCE), weight.split(AT_ONCE), strict=True
    ):
        said = _features(part, rows)
        left = target - said @ _stacked(part)
        said, left = said * counts[:, None], left * counts[:, None]
        both.addmm_(said.T, said)
        with_left.addmm_(said.T, left)
    both.diagonal()[:-1].add_(DAMPING * both.diagonal()[:-1].mean())
    moved = torch.linalg.solve(both, with_left)
    part.w2.add_(moved[: e * f].reshape(e, f, d).transpose(1, 2))
    part.shift.add_(moved[e * f : -1])
    part.bias.add_(moved[-1])


def _stacked(part: SeparatedPart) -> Tensor:
    """What is solved for, by feature. Gives (E * F + E + 1, D)."""
    return torch.cat([part.w2.transpose(1, 2).flatten(0, 1), part.shift, part.bias[None]])


def _features(part: SeparatedPart, x: Tensor) -> Tensor:
    """What chosen experts' neurons say, nought for the others; who is chosen; one. Gives (T, E * F + E + 1)."""
    e, f, d = part.w1.shape
    asked = part.choose(x)[0].to(x.dtype)
    inner = F.gelu(F.linear(x, part.w1.reshape(e * f, d), part.b1.reshape(-1)))
    return torch.cat([inner * asked.repeat_interleave(f, dim=1), asked, torch.ones(len(x), 1)], dim=1)
