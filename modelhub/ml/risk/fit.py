"""Fitting the risk model: several kinds of rows at once, each row silent about the kinds that its source doesn't speak of."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from modelhub.ml.risk import net, reading
from modelhub.ml.risk.net import KINDS, RiskNet

SILENT = -1.0
CHANNELS, HIDDEN = 96, 64
LONGEST = 64
BY_LETTERS, DROPPED = 0.12, 0.05  # of known words: read by their letters; not read at all
NEAR_WORD = 0.3  # weight of "a word's letters lie where the word does"
Says = tuple[float, float, float, float]


@dataclass(slots=True)
class Rows:
    """Texts, what each says of every kind (1, 0 or SILENT), and its weight."""

    texts: list[str] = field(default_factory=list)
    says: list[Says] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, text: str, says: Says, weight: float = 1.0) -> None:
        self.texts.append(text)
        self.says.append(says)
        self.weights.append(weight)


class Keys:
    """Every distinct key of the rows with its buckets, so that a batch looks each up once."""

    def __init__(self, texts: list[str], words: dict[str, int]) -> None:
        self.ids: dict[str, int] = {}
        self.buckets: list[list[int]] = []
        self.words: list[int] = []
        self.rows: list[list[int]] = []
        for text in texts:
            row = []
            for key in reading.keys(text)[:LONGEST] or ["."]:
                if key not in self.ids:
                    self.ids[key] = len(self.buckets)
                    self.buckets.append(net.buckets_of(key))
                    self.words.append(words.get(key, -1))
                row.append(self.ids[key])
            self.rows.append(row)


class Network(nn.Module):
    """The torch form of net.RiskNet. Gives (B, 4) logits."""

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.tensor(vectors))
        width = vectors.shape[1]
        self.letters = nn.EmbeddingBag(net.BUCKETS, width, mode="mean", sparse=True)
        nn.init.normal_(self.letters.weight, std=0.5)
        self.apart = torch.zeros(())
        self.first = nn.Conv1d(width, CHANNELS, 3, padding=1)
        self.second = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=2, dilation=2)
        self.third = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=4, dilation=4)
        self.hidden = nn.Linear(2 * CHANNELS, HIDDEN)
        self.out = nn.Linear(HIDDEN, len(KINDS))
        self.drop = nn.Dropout(0.2)

    def forward(self, where: Tensor, mask: Tensor, buckets: Tensor, starts: Tensor, words: Tensor) -> Tensor:
        """where (B, T): which of the batch's U keys; mask (B, T); buckets, starts: U bags; words (U,), −1 for none."""
        known = words >= 0
        frozen, letters = self.vectors[words.clamp(min=0)], self.letters(buckets, starts)
        meaning = torch.where(known.unsqueeze(1), frozen, letters)[where]
        if self.training:
            self.apart = ((letters - frozen) ** 2).mean(dim=1)[known].mean()
            draw = torch.rand(where.shape)
            meaning = torch.where((draw < BY_LETTERS).unsqueeze(2), letters[where], meaning)
            meaning = meaning * (draw < 1 - DROPPED).unsqueeze(2)
        x = self.drop(meaning) * mask.unsqueeze(2)
        keep = mask.unsqueeze(1)
        first = torch.relu(self.first(x.transpose(1, 2))) * keep
        second = (torch.relu(self.second(first)) + first) * keep
        third = (torch.relu(self.third(second)) + second) * keep
        mean = third.sum(dim=2) / mask.sum(dim=1, keepdim=True)
        pooled = torch.cat([third.amax(dim=2), mean], dim=1)
        return self.out(self.drop(torch.relu(self.hidden(pooled))))


def _batch(keys: Keys, chosen: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    rows = [keys.rows[i] for i in chosen]
    longest = max(map(len, rows))
    where, mask = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), np.float32)
    for i, row in enumerate(rows):
        where[i, : len(row)], mask[i, : len(row)] = row, 1.0
    unique, inverse = np.unique(where, return_inverse=True)
    bags = [keys.buckets[key] for key in unique]
    starts = np.cumsum([0, *map(len, bags[:-1])])
    words = np.array([keys.words[key] for key in unique])
    flat = np.concatenate(bags)
    return tuple(map(torch.from_numpy, (inverse.reshape(where.shape), mask, flat, starts, words)))  # type: ignore[return-value]


def loss_of(logits: Tensor, says: Tensor, weights: Tensor) -> Tensor:
    """Mean binary cross-entropy over what rows speak of."""
    spoken = (says >= 0).float() * weights.unsqueeze(1)
    each = nn.functional.binary_cross_entropy_with_logits(logits, says.clamp(min=0), reduction="none")
    return (each * spoken).sum() / spoken.sum().clamp(min=1e-6)


def fit(
    rows: Rows, words: list[str], vectors: np.ndarray, *, seed: int = 0, epochs: int = 4, batch: int = 192,
    told: Callable[[str], None] = lambda line: None,
) -> RiskNet:  # fmt: skip
    """The fitted model as it will be served."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    keys = Keys(rows.texts, {word: i for i, word in enumerate(words)})
    says, weights = torch.tensor(rows.says), torch.tensor(rows.weights)
    model = Network(vectors.astype(np.float32))
    table = [model.letters.weight]
    others = [weight for weight in model.parameters() if weight is not table[0]]
    optimiser = torch.optim.AdamW(others, lr=2e-3, weight_decay=0.01)
    of_letters = torch.optim.SparseAdam(table, lr=4e-3)  # a step touches few of its rows
    steps = epochs * (len(rows.texts) // batch + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        total = n = 0.0
        for chosen in _shuffled(keys, draw, batch):
            loss = loss_of(model(*_batch(keys, chosen)), says[chosen], weights[chosen])
            loss = loss + NEAR_WORD * model.apart
            optimiser.zero_grad()
            of_letters.zero_grad()
            loss.backward()
            optimiser.step()
            of_letters.step()
            schedule.step()
            total, n = total + float(loss.detach()), n + 1
        told(f"epoch {epoch + 1}: loss {total / n:.4f}")
    return served(model, words, vectors)


def _shuffled(keys: Keys, draw: random.Random, batch: int) -> list[list[int]]:
    """Batches of rows of like length, in random order."""
    order = list(range(len(keys.rows)))
    draw.shuffle(order)
    pools = [
        sorted(order[i : i + 50 * batch], key=lambda j: len(keys.rows[j]))
        for i in range(0, len(order), 50 * batch)
    ]
    batches = [pool[i : i + batch] for pool in pools for i in range(0, len(pool), batch)]
    draw.shuffle(batches)
    return batches


def served(model: Network, words: list[str], vectors: np.ndarray) -> RiskNet:
    """The torch weights in numpy's layout."""
    value = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    layers = [
        part
        for name in ("first", "second", "third")
        for part in (value[f"{name}.weight"].transpose(2, 1, 0).copy(), value[f"{name}.bias"].copy())
    ]
    ends = [
        part
        for name in ("hidden", "out")
        for part in (value[f"{name}.weight"].T.copy(), value[f"{name}.bias"].copy())
    ]
    return RiskNet(words, vectors.astype(np.float32), value["letters.weight"].copy(), *layers, *ends)
