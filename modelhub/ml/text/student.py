"""The student in torch: token embeddings, one small encoder layer, a trainable wide channel per head, a risk head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.risk.operator_templates import KINDS
from modelhub.ml.text import wide

VOCABULARY, MOST_TOKENS = 30_522, 256
WORD_SPREAD = 0.3
RAISED = 16.0  # no token's state lies as far below zero


@dataclass(frozen=True, slots=True)
class StudentShape:
    """Width of the encoder, its attention heads and inner width; units of the risk head."""

    width: int = 96
    attention_heads: int = 4
    hidden: int = 256
    dropout: float = 0.1
    risk_hidden: int = 64


class StudentEncoder(nn.Module):
    """Token ids to one vector per text: embed, attend once, feed forward, mean over tokens."""

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        d = shape.width
        self.shape = shape
        self.words = nn.Embedding(VOCABULARY, d, sparse=True)
        self.places = nn.Embedding(MOST_TOKENS, d)
        nn.init.normal_(self.words.weight, std=WORD_SPREAD)
        nn.init.normal_(self.places.weight, std=0.02)
        self.before = nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.middle = nn.LayerNorm(d)
        self.up, self.down = nn.Linear(d, shape.hidden), nn.Linear(shape.hidden, d)
        self.after = nn.LayerNorm(d)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The mean over tokens, which tasks read. Shapes: ids, mask (N, T) int64, T at most 256 -> (N, D)."""
        return self.both(ids, mask)[0]

    def both(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the peak over tokens, (N, D) each: one harmful clause in a long text moves its mean hardly.

        States are raised before filling is multiplied away, so that it is never the highest and a text's peak does not depend
        on its neighbours' length. A file raises them by the last product's bias: the norm of the mean takes out what all
        channels have in common, and a peak costs one node.
        """
        n, t = ids.shape
        x = self.dropout(self.words(ids) + self.places.weight[:t])
        y = self.before(x)
        split = self.qkv(y).view(n, t, 3, self.shape.attention_heads, -1).permute(2, 0, 3, 1, 4)
        keep = mask[:, None, None, :].bool()
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=keep)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(n, t, -1)))
        x = x + self.dropout(self.down(F.silu(self.up(self.middle(x)))))
        weight = mask.to(x.dtype)[..., None]
        mean = self.after((x * weight).sum(dim=1) / weight.sum(dim=1))
        return mean, ((x + RAISED) * weight).amax(dim=1) - RAISED


class RiskHead(nn.Module):
    """What the operator judges by: log-odds of each kind of harm, from the vector that the tasks read and the peaks.

    By the peaks alone it found a tenth less of what it should (docs/decisions/0078).
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2 * width, hidden), nn.Linear(hidden, len(KINDS))

    def forward(self, vector: Tensor, peak: Tensor) -> Tensor:
        """Shapes: (N, D), (N, D) -> (N, 3), in the order of KINDS."""
        return self.outer(F.relu(self.inner(torch.cat([vector, peak], dim=1))))


def shrink_words(words: np.ndarray, width: int) -> np.ndarray:
    """The pretrained trunk's word embeddings along their `width` widest directions, as the student starts with them.

    Each direction is evened out half-way, so that the first few don't drown the rest. Shapes: (V, 384) -> (V, width).
    """
    centred = words.astype(np.float64) - words.mean(axis=0)
    spread, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(-spread)[:width]
    found = centred @ axes[:, order] / np.maximum(spread[order], 1e-12) ** 0.25
    return (found / found.std() * WORD_SPREAD).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Bag:
    """Wide features of N texts, ready for one head: rows of its table and their weights."""

    rows: Tensor
    weights: Tensor
    starts: Tensor

    def to(self, device: torch.device | str) -> Bag:
        """The same on another device."""
        return Bag(self.rows.to(device), self.weights.to(device), self.starts.to(device))


class WideHead(nn.Module):
    """A head's trainable wide channel, started from the teacher's table. Shapes: weight (R, L), bias (L,)."""

    def __init__(self, table: wide.WideTable, share: float) -> None:
        super().__init__()
        self.table = table
        start = table.weight.astype(np.float32) * table.scale * share
        self.weight = nn.Parameter(torch.from_numpy(start))
        self.bias = nn.Parameter(torch.from_numpy(table.bias * share))

    def bags(self, ids: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and weights of each text."""
        counts = wide.compact(wide.count_matrix(ids, self.table.buckets), self.table.row)
        weighed = wide.weigh(counts, self.table.idf.astype(np.float32)).tocsr()
        spans = zip(weighed.indptr[:-1], weighed.indptr[1:], strict=True)
        return [
            (weighed.indices[a:b].astype(np.int64), weighed.data[a:b].astype(np.float32)) for a, b in spans
        ]

    def forward(self, bag: Bag) -> Tensor:
        """Shapes: a bag of N texts -> (N, L)."""
        if self.weight.is_cuda:  # a bag's own kernel gives no sparse gradient with weights there
            held = F.embedding(bag.rows, self.weight, sparse=True) * bag.weights[:, None]
            ends = torch.cat([bag.starts[1:], bag.starts.new_tensor([len(bag.rows)])])
            own = torch.repeat_interleave(torch.arange(len(ends), device=held.device), ends - bag.starts)
            return held.new_zeros(len(ends), held.size(1)).index_add(0, own, held) + self.bias
        mixed = F.embedding_bag(
            bag.rows, self.weight, bag.starts, mode="sum", per_sample_weights=bag.weights, sparse=True
        )
        return mixed + self.bias

    def quantised(self) -> wide.WideTable:
        """The table as it is served, in 8 bits."""
        weight, bias = self.weight.detach().cpu().numpy().copy(), self.bias.detach().cpu().numpy()
        weight[0] = 0
        return wide.quantise(weight, bias, self.table.idf, self.table.row)


def make_bag(bags: list[tuple[np.ndarray, np.ndarray]], drop: float, rng: np.random.Generator | None) -> Bag:
    """Join texts' wide features into one bag, leaving out a share `drop` of the n-grams of each."""
    rows, weights, starts, place = [], [], [], 0
    for own_rows, own_weights in bags:
        if rng is not None and drop > 0:
            kept = rng.random(len(own_rows)) >= drop
            own_rows, own_weights = own_rows[kept], own_weights[kept]
        starts.append(place)
        place += len(own_rows)
        rows.append(own_rows)
        weights.append(own_weights)
    joined = [torch.from_numpy(np.concatenate(parts)) for parts in (rows, weights)]
    return Bag(joined[0], joined[1], torch.tensor(starts))


class Student(nn.Module):
    """One encoder; per workload a linear head on its vector plus the wide channel; one risk head for all."""

    def __init__(self, shape: StudentShape, tables: dict[str, tuple[wide.WideTable, float]]) -> None:
        super().__init__()
        self.encoder = StudentEncoder(shape)
        self.names = list(tables)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(shape.width, len(table.bias)) for name, (table, _) in tables.items()}
        )
        self.wides = nn.ModuleDict({name: WideHead(table, share) for name, (table, share) in tables.items()})
        self.risk = RiskHead(shape.width, shape.risk_hidden)

    def start_words(self, words: np.ndarray) -> np.ndarray:
        """Take the trunk's word embeddings, made narrow, in place of random ones, and give them. Shapes: (V, 384) -> (V, D)."""
        narrow = shrink_words(words, self.encoder.shape.width)
        with torch.no_grad():
            self.encoder.words.weight.copy_(torch.from_numpy(narrow))
        return narrow

    def linear(self, name: str) -> nn.Linear:
        """A workload's linear head. Raises KeyError."""
        return cast(nn.Linear, self.heads[name])

    def wide(self, name: str) -> WideHead:
        """A workload's wide channel. Raises KeyError."""
        return cast(WideHead, self.wides[name])

    def parameters_of(self, sparse: bool) -> list[nn.Parameter]:
        """Wide weights get sparse gradients and an optimiser of their own; the rest is `sparse=False`."""
        wides = {id(self.wide(name).weight) for name in self.names}
        return [p for p in self.parameters() if (id(p) in wides) is sparse]
