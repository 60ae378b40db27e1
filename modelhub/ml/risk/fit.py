"""Fitting the risk model: several kinds of rows at once, each row silent about the kinds that its source doesn't speak of, and a
teacher's opinion beside. The same loop fits teacher and student, on whatever device there is, within a time if one is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from modelhub.ml.risk import net
from modelhub.ml.risk.encode import LONGEST, Lists, Texts, encode
from modelhub.ml.risk.net import KINDS, RiskNet

SILENT = -1.0
CHANNELS, HIDDEN = 160, 96
BY_LETTERS, DROPPED = 0.12, 0.05  # of known words: read by their letters; not read at all
NEAR_WORD = 0.3  # weight of "a word's letters lie where the word does"
OPINION = 0.65  # of the teacher where the row speaks as well
Says = tuple[float, float, float, float]
Told = Callable[[str], None]


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


class Network(nn.Module):
    """The torch form of net.RiskNet. Gives (B, 4) logits."""

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.tensor(vectors, dtype=torch.float32))
        width = vectors.shape[1]
        self.letters = nn.EmbeddingBag(net.BUCKETS, width, mode="mean")
        nn.init.normal_(self.letters.weight, std=0.5)
        self.apart = torch.zeros(())
        widths = [width, *[CHANNELS] * (len(net.STEPS) - 1)]
        self.convs = nn.ModuleList(
            nn.Conv1d(wide, CHANNELS, 3, padding=step, dilation=step)
            for wide, step in zip(widths, net.STEPS, strict=True)
        )
        self.spread = nn.Linear(2 * CHANNELS, CHANNELS)
        self.hidden = nn.Linear(2 * CHANNELS, HIDDEN)
        self.out = nn.Linear(HIDDEN, len(KINDS))
        self.drop = nn.Dropout(0.15)

    def forward(self, texts: Texts, rows: Tensor) -> Tensor:
        """Scores of these rows of the texts."""
        where, mask = texts.rows.padded(rows, LONGEST)
        x = self._meaning(texts, where)
        keep = mask.unsqueeze(1)
        x = (self.drop(x) * mask.unsqueeze(2)).transpose(1, 2)
        for i, conv in enumerate(self.convs):
            if i == net.SPREAD_AFTER:
                x = x + torch.relu(self.spread(_pooled(x, mask))).unsqueeze(2) * keep
            new = torch.relu(conv(x)) * keep
            x = new if i == 0 else x + new
        return self.out(self.drop(torch.relu(self.hidden(self.drop(_pooled(x, mask))))))

    def _meaning(self, texts: Texts, where: Tensor) -> Tensor:
        unique, inverse = torch.unique(where, return_inverse=True)
        buckets, starts = texts.buckets.joined(unique)
        words = texts.words[unique]
        known = words >= 0
        frozen, letters = self.vectors[words.clamp(min=0)], self.letters(buckets, starts)
        meaning = torch.where(known.unsqueeze(1), frozen, letters)[inverse]
        if self.training:
            distance = ((letters - frozen) ** 2).mean(dim=1) * known
            self.apart = distance.sum() / known.sum().clamp(min=1)
            draw = torch.rand(where.shape, device=where.device)
            meaning = torch.where((draw < BY_LETTERS).unsqueeze(2), letters[inverse], meaning)
            meaning = meaning * (draw < 1 - DROPPED).unsqueeze(2)
        return meaning


def _pooled(x: Tensor, mask: Tensor) -> Tensor:
    """x (B, C, T) is nowhere below zero, so what is masked is never the peak."""
    return torch.cat([x.amax(dim=2), x.sum(dim=2) / mask.sum(dim=1, keepdim=True)], dim=1)


def loss_of(logits: Tensor, says: Tensor, weights: Tensor, opinion: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over what rows speak of, and the teacher's opinion (probabilities, NaN: it has none)."""
    spoken = says >= 0
    wanted, share = says.clamp(min=0), spoken.float()
    if opinion is not None:
        has = ~torch.isnan(opinion)
        held = torch.where(has, opinion, torch.zeros_like(opinion))
        wanted = torch.where(has, torch.where(spoken, OPINION * held + (1 - OPINION) * wanted, held), wanted)
        share = (spoken | has).float()
    share = share * weights.unsqueeze(1)
    each = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (each * share).sum() / share.sum().clamp(min=1e-6)


def batches(sizes: Tensor, batch: int, seed: int) -> Iterator[Tensor]:
    """Batches of rows of like length, in random order."""
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(sizes), generator=draw)
    found = []
    for pool in order.split(50 * batch):
        found += list(pool[sizes[pool].argsort()].split(batch))
    for i in torch.randperm(len(found), generator=draw).tolist():
        yield found[i]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to fit: epochs, or seconds where those are over first. `peak`: of the learning rate."""

    epochs: float
    batch: int
    peak: float
    seconds: float = float("inf")
    seed: int = 0


def run(
    model: nn.Module,
    plan: Plan,
    sizes: Tensor,
    step: Callable[[Tensor], Tensor],
    groups: list[dict],
    told: Told,
) -> None:
    """Fit: `step` gives the loss of a batch of rows. The rate rises over a tenth of the way and falls to nothing."""
    optimiser = torch.optim.AdamW(groups, lr=plan.peak)
    for group in optimiser.param_groups:
        group["peak"] = group["lr"]
    total, done, started = max(1.0, plan.epochs * len(sizes) / plan.batch), 0, time.monotonic()
    losses: list[Tensor] = []
    model.train()
    for epoch in range(10**6):
        for chosen in batches(sizes, plan.batch, plan.seed + epoch):
            way = max(done / total, (time.monotonic() - started) / plan.seconds)
            if way >= 1:
                model.eval()
                told(f"{done} steps, {time.monotonic() - started:.0f} s")
                return
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * min(way / 0.1 + 0.01, (1 - way) / 0.9)
            loss = step(chosen)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
            optimiser.step()
            done += 1
            losses.append(loss.detach())
            if done % 200 == 0:
                told(f"step {done}: loss {float(torch.stack(losses).mean()):.4f}")
                losses = []


def fit_student(
    model: Network,
    texts: Texts,
    says: Tensor,
    weights: Tensor,
    opinion: Tensor | None,
    plan: Plan,
    told: Told = lambda line: None,
) -> None:
    """Fit the small net on rows and opinions; all on the device that the model is on."""
    device = says.device

    def step(chosen: Tensor) -> Tensor:
        rows = chosen.to(device)
        loss = loss_of(
            model(texts, rows), says[rows], weights[rows], None if opinion is None else opinion[rows]
        )
        return loss + NEAR_WORD * model.apart

    table = [model.letters.weight]
    others = [weight for weight in model.parameters() if weight is not table[0]]
    groups = [
        {"params": others, "lr": plan.peak, "weight_decay": 0.01},
        {"params": table, "lr": 2 * plan.peak, "weight_decay": 0.0},
    ]
    run(model, plan, texts.rows.sizes(torch.arange(len(texts), device=device)).cpu(), step, groups, told)


def fit(
    rows: Rows, words: list[str], vectors: np.ndarray, *, seed: int = 0, epochs: float = 4, batch: int = 192,
    told: Told = lambda line: None,
) -> RiskNet:  # fmt: skip
    """The fitted model as it will be served, without a teacher."""
    torch.manual_seed(seed)
    texts = encode(rows.texts, {word: i for i, word in enumerate(words)})
    model = Network(vectors.astype(np.float32))
    plan = Plan(epochs, batch, 2e-3, seed=seed)
    fit_student(model, texts, torch.tensor(rows.says), torch.tensor(rows.weights), None, plan, told)
    return served(model, words, vectors)


@torch.no_grad()
def scored(give: Callable[[Tensor], Tensor], sizes: Tensor, batch: int = 2048) -> Tensor:
    """(N, 4) probabilities of all rows, rows of like length together; `give`: logits of a batch of rows."""
    found = torch.empty(len(sizes), len(KINDS))
    for chosen in sizes.argsort().split(batch):
        found[chosen] = torch.sigmoid(give(chosen).float()).cpu()
    return found


def served(model: Network, words: list[str], vectors: np.ndarray) -> RiskNet:
    """The torch weights in numpy's layout."""
    value = {name: tensor.detach().float().cpu().numpy() for name, tensor in model.state_dict().items()}
    made = {"letters": value["letters.weight"].copy()}
    for i in range(len(net.STEPS)):
        made |= {
            f"conv{i + 1}": value[f"convs.{i}.weight"].transpose(2, 1, 0).copy(),
            f"bias{i + 1}": value[f"convs.{i}.bias"].copy(),
        }
    for name in ("spread", "hidden", "out"):
        made |= {name: value[f"{name}.weight"].T.copy(), f"bias_{name}": value[f"{name}.bias"].copy()}
    return RiskNet(words, vectors.astype(np.float32), made)


__all__ = ["SILENT", "Lists", "Network", "Plan", "Rows", "fit", "fit_student", "loss_of", "scored", "served"]
