"""What a line of business adds inside a frozen text encoder: low-rank terms on attention, or an expert of its own.

LoRA (Hu et al. 2021, arXiv 2106.09685) adds B·A·x to the two products of attention, `qkv` and `out`, of the topmost
blocks; the trunk's experts and gates are left alone. A plugin expert is one more feed-forward expert a block that no
token is routed to: it answers for the rows of its line of business, and for those only.

Both start at zero, so an adapter that has learned nothing changes nothing. Shapes: n adapted blocks, D width, r rank,
F hidden units of the plugin expert.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.text.encoder import Block, SparseEncoder, mean_by_text

Method = Literal["lora", "expert"]
METHODS: tuple[Method, ...] = ("lora", "expert")
RANK, HIDDEN, SCALE = 8, 32, 2.0


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """`blocks`: how many blocks, counted from the top, carry it."""

    method: Method = "lora"
    blocks: int = 6
    rank: int = RANK
    hidden: int = HIDDEN

    def check(self, layers: int, width: int) -> None:
        """Raises ValueError for what can't be added to such an encoder."""
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is unknown: use one of {', '.join(METHODS)}")
        if not 1 <= self.blocks <= layers:
            raise ValueError(f"blocks={self.blocks} must lie in 1..{layers}, the blocks of the trunk")
        size, name = (self.rank, "rank") if self.method == "lora" else (self.hidden, "hidden")
        if not 1 <= size <= width:
            raise ValueError(f"{name}={size} must lie in 1..{width}")

    def as_dict(self) -> dict[str, Any]:
        own = asdict(self)
        own.pop("hidden" if self.method == "lora" else "rank")
        return own


class Adapter(nn.Module):
    """The weights of one adapter, n blocks stacked.

    lora: qkv_down (n, D, r), qkv_up (n, r, 3D), out_down (n, D, r), out_up (n, r, D).
    expert: w1 (n, D, F), w2 (n, F, D).
    """

    def __init__(self, shape: AdapterShape, width: int, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        generator = torch.Generator().manual_seed(seed)
        n, r, f = shape.blocks, shape.rank, shape.hidden

        def drawn(*size: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*size, generator=generator) * width**-0.5)

        if shape.method == "lora":
            self.qkv_down, self.qkv_up = drawn(n, width, r), nn.Parameter(torch.zeros(n, r, 3 * width))
            self.out_down, self.out_up = drawn(n, width, r), nn.Parameter(torch.zeros(n, r, width))
        else:
            self.w1, self.w2 = drawn(n, width, f), nn.Parameter(torch.zeros(n, f, width))

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights as they are served: the scale is folded in. Float32."""
        held = {name: p.detach().cpu().numpy().copy() for name, p in self.named_parameters()}
        return {
            name: value * np.float32(SCALE) if name.endswith("_up") else value for name, value in held.items()
        }

    def qkv(self, place: int, x: Tensor) -> Tensor:
        return SCALE * (x @ self.qkv_down[place]) @ self.qkv_up[place]

    def out(self, place: int, x: Tensor) -> Tensor:
        return SCALE * (x @ self.out_down[place]) @ self.out_up[place]

    def expert(self, place: int, x: Tensor) -> Tensor:
        return F.gelu(x @ self.w1[place], approximate="tanh") @ self.w2[place]


class AdaptedEncoder(nn.Module):
    """A frozen encoder with an adapter in its topmost blocks. The trunk stays in `eval()` whatever is asked of this module:
    in `train()` a gate's selection bias could move although no parameter does.
    """

    def __init__(self, trunk: SparseEncoder, adapter: Adapter) -> None:
        super().__init__()
        adapter.shape.check(trunk.config.layers, trunk.config.width)
        self._held = [trunk]  # in a list: the trunk is no part of this module's parameters or checkpoints
        self.adapter = adapter
        self.train(True)

    @property
    def trunk(self) -> SparseEncoder:
        return self._held[0]

    @property
    def first(self) -> int:
        """The lowest block that carries the adapter."""
        return self.trunk.config.layers - self.adapter.shape.blocks

    def train(self, mode: bool = True) -> AdaptedEncoder:
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, x: Tensor, segment: Tensor, texts: int) -> Tensor:
        """From the states that enter block `first` to what heads read. Shapes: x (S, T, D), segment (S, T) -> (texts, D)."""
        return self.trunk.features(mean_by_text(self.tokens(x, segment), segment, texts))

    def tokens(self, x: Tensor, segment: Tensor) -> Tensor:
        """The last states, token by token, for tasks that label words. Shapes: (S, T, D) -> (S, T, D)."""
        keep = segment[:, None, :, None] == segment[:, None, None, :]
        for place, block in enumerate(self.trunk.blocks[self.first :]):
            x = self._block(block, place, x, keep)
        return x

    def _block(self, block: Block, place: int, x: Tensor, keep: Tensor) -> Tensor:
        """As `Block.forward`, with the adapter's terms beside."""
        own, lora = self.adapter, self.adapter.shape.method == "lora"
        n, t, d = x.shape
        qkv = block.qkv(x) + own.qkv(place, x) if lora else block.qkv(x)
        split = qkv.view(n, t, 3, block.attention_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=keep)
        mixed = mixed.transpose(1, 2).reshape(n, t, d)
        attended = block.out(mixed) + own.out(place, mixed) if lora else block.out(mixed)
        x = block.attended(x + attended)
        flat = x.reshape(-1, d)
        fed, _ = block.experts(flat)
        if not lora:
            fed = fed + own.expert(place, flat)
        return block.fed(x + fed.view(n, t, d))
