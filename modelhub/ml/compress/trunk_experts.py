"""The pretrained trunk with its feed-forward parts taken apart: the dense model that separation is tried on.

Heads are linear, fitted once on the dense trunk's pooled states; they stay as they are, so accuracy says what the trunk
still knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.compress.reconstruct import reconstruct
from modelhub.ml.compress.separate import By, DensePart, Scale, SeparatedPart, separate
from modelhub.ml.text.encoder import mean_by_text
from modelhub.ml.text.packing import Batch, TokenRows, pack
from modelhub.ml.text.pretrained import ATTENTION_HEADS, EPSILON, LAYERS, Pretrained

WIDTH, MOST_TOKENS, SAMPLE_TEXTS = 384, 64, 2000
LEAST_SPREAD = 1e-2  # a norm may silence an output altogether


class TrunkBlock(nn.Module):
    """Attention as the trunk has it, then a feed-forward part, dense or taken apart."""

    def __init__(self, w: dict[str, Tensor], name: str, fed: nn.Module) -> None:
        super().__init__()
        parts = [f"{name}attention.self.{part}" for part in ("query", "key", "value")]
        self.qkv_weight = nn.Parameter(
            torch.cat([w[part + ".weight"] for part in parts]), requires_grad=False
        )
        self.qkv_bias = nn.Parameter(torch.cat([w[part + ".bias"] for part in parts]), requires_grad=False)
        self.out, self.out_bias = (
            nn.Parameter(w[f"{name}attention.output.dense.{part}"].clone(), requires_grad=False)
            for part in ("weight", "bias")
        )
        self.attended, self.after = nn.LayerNorm(WIDTH, EPSILON), nn.LayerNorm(WIDTH, EPSILON)
        for norm, part in ((self.attended, "attention.output.LayerNorm"), (self.after, "output.LayerNorm")):
            with torch.no_grad():
                norm.weight.copy_(w[f"{name}{part}.weight"])
                norm.bias.copy_(w[f"{name}{part}.bias"])
        self.fed = fed

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Shapes: x (S, T, D), keep (S, 1, T, T) of bool -> (S, T, D)."""
        return self.after(self.before_norm(x, keep))

    def before_norm(self, x: Tensor, keep: Tensor) -> Tensor:
        """The same before the last norm."""
        x = self.attend(x, keep)
        return x + self.fed(x.reshape(-1, x.size(-1))).view_as(x)

    def scale(self, meant: Tensor) -> Scale:
        """What an error before the last norm counts after it. Shapes: meant (T, D)."""
        spread = self.after(meant).std(dim=0).clamp_min(LEAST_SPREAD)
        return Scale(1 / meant.std(dim=1), self.after.weight.detach().abs() / spread)

    def attend(self, x: Tensor, keep: Tensor) -> Tensor:
        """The state that the feed-forward part is given. Shapes as in `forward`."""
        s, t, d = x.shape
        split = (
            F.linear(x, self.qkv_weight, self.qkv_bias)
            .view(s, t, 3, ATTENTION_HEADS, -1)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=keep)
        return self.attended(x + F.linear(mixed.transpose(1, 2).reshape(s, t, d), self.out, self.out_bias))


class SeparatedTrunk(nn.Module):
    """The trunk with every feed-forward part in `experts` experts, of which `k` answer a token.

    Layer after layer: dealt out on the states that the separated layers before it leave on `sample`, then reconstructed
    towards the dense trunk's. `random_router` makes the control, to which everything but the choice is done alike.
    """

    def __init__(
        self,
        trunk: Pretrained,
        sample: Batch,
        *,
        experts: int,
        k: int,
        by: By,
        rng: np.random.Generator,
        random_router: bool = False,
    ) -> None:
        super().__init__()
        w, used = trunk.weights, sample.segment >= 0
        keep = sample.segment[:, None, :, None] == sample.segment[:, None, None, :]
        x = wanted = trunk.embeddings()(sample)
        self.kept: list[float] = []
        self.blocks = nn.ModuleList()
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}."
            dense = TrunkBlock(w, name, _Called(dense_part(w, name)))
            with torch.no_grad():
                given, meant = dense.attend(x, keep), dense.before_norm(wanted, keep)
                scale = dense.scale(meant[used])
            made, share = separate(
                dense_part(w, name), given[used], experts=experts, k=k, by=by, rng=rng, scale=scale
            )
            made.random_router = random_router
            reconstruct(made, given[used], (meant - given)[used], scale)
            self.kept.append(share)
            self.blocks.append(TrunkBlock(w, name, made))
            with torch.no_grad():
                x, wanted = self.blocks[-1].eval()(x, keep), dense.after(meant)

    @property
    def parts(self) -> list[SeparatedPart]:
        """The feed-forward parts, in order."""
        return [block.fed for block in self.blocks]  # type: ignore[misc, union-attr]

    def set(
        self, *, k: int | None = None, random_router: bool | None = None, silent: bool | None = None
    ) -> None:
        """Change how many experts answer, let chance choose them, or leave all parts out: for controls."""
        for part in self.parts:
            part.k = part.k if k is None else k
            part.random_router = part.random_router if random_router is None else random_router
            part.silent = part.silent if silent is None else silent

    def forward(self, embedded: Tensor, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Pooled states (texts, D), and the states after every block."""
        keep = batch.segment[:, None, :, None] == batch.segment[:, None, None, :]
        x, after = embedded, []
        for block in self.blocks:
            x = block(x, keep)
            after.append(x)
        return mean_by_text(x, batch.segment, batch.texts), after


def dense_part(w: dict[str, Tensor], name: str) -> DensePart:
    """A layer's feed-forward part by the trunk's own names."""
    return DensePart(
        w[name + "intermediate.dense.weight"], w[name + "intermediate.dense.bias"], w[name + "output.dense.weight"],
        w[name + "output.dense.bias"],
    )  # fmt: skip


class DenseTrunk:
    """The trunk as it is: the teacher."""

    def __init__(self, trunk: Pretrained) -> None:
        self.w = trunk.weights

    @torch.no_grad()
    def __call__(self, embedded: Tensor, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Pooled states (texts, D), and the states after every block."""
        keep = batch.segment[:, None, :, None] == batch.segment[:, None, None, :]
        x, after = embedded, []
        for layer in range(LAYERS):
            x = self._block(x, keep, layer)
            after.append(x)
        return mean_by_text(x, batch.segment, batch.texts), after

    def _block(self, x: Tensor, keep: Tensor, layer: int) -> Tensor:
        if not hasattr(self, "_blocks"):
            parts = [dense_part(self.w, f"encoder.layer.{n}.") for n in range(LAYERS)]
            self._blocks = [
                TrunkBlock(self.w, f"encoder.layer.{n}.", _Called(part)) for n, part in enumerate(parts)
            ]
        return self._blocks[layer](x, keep)


class _Called(nn.Module):
    def __init__(self, part: DensePart) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)


Net = Callable[[Tensor, Batch], tuple[Tensor, list[Tensor]]]


@torch.no_grad()
def pooled(net: Net, trunk: Pretrained, rows: TokenRows) -> np.ndarray:
    """Pooled states of all rows. Gives (N, D)."""
    embed, found = trunk.embeddings(), np.zeros((len(rows), WIDTH), np.float32)
    order = np.argsort(rows.lengths(MOST_TOKENS), kind="stable")
    for which in np.array_split(order, max(1, len(order) // 32)):
        batch = pack(rows, which, MOST_TOKENS)
        found[which] = net(embed(batch), batch)[0].numpy()
    return found


@dataclass(slots=True)
class LinearHeads:
    """One logistic regression a workload, on the dense trunk's pooled states."""

    names: list[str]
    weight: dict[str, np.ndarray] = field(default_factory=dict)
    bias: dict[str, np.ndarray] = field(default_factory=dict)

    def fit(self, rows: TokenRows, x: np.ndarray, strength: float = 10.0) -> LinearHeads:
        """Fit all heads. Labels that no row carries get a bias under every other."""
        from sklearn.linear_model import LogisticRegression

        for index, name in enumerate(self.names):
            mine = rows.workload == index
            model = LogisticRegression(C=strength, max_iter=300).fit(x[mine], rows.y[mine])
            size = len(rows.labels[name])
            weight = np.zeros((size, x.shape[1]), np.float32)
            bias = np.full(size, -1e3, np.float32)
            if len(model.classes_) == 2:
                low, high = model.classes_
                weight[high], weight[low] = model.coef_[0] / 2, -model.coef_[0] / 2
                bias[high], bias[low] = model.intercept_[0] / 2, -model.intercept_[0] / 2
            else:
                weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
            self.weight[name], self.bias[name] = weight, bias
        return self

    def accuracy(self, rows: TokenRows, x: np.ndarray) -> dict[str, float]:
        """Share right of each workload, and `mean` over workloads."""
        found: dict[str, Any] = {}
        for index, name in enumerate(self.names):
            mine = rows.workload == index
            if mine.any():
                said = (x[mine] @ self.weight[name].T + self.bias[name]).argmax(axis=1)
                found[name] = float((said == rows.y[mine]).mean())
        return found | {"mean": float(np.mean(list(found.values())))}
