"""The run with two hundred experts, small enough for a processor: train, log, find what is redundant, merge, measure.

Two hundred topics are to be told apart in what must be computed for them; forty pairs of topics compute the same, so
the trained layer holds experts that do the same work. Clustering their outputs must find them, and merging must cost
less than merging as many experts by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.compress.merge import Experts, Reduced, clusters, reduce


@dataclass(frozen=True, slots=True)
class TwoHundred:
    """Shape and length of the run; `twins` of the experts' topics compute what another does."""

    experts: int = 200
    width: int = 32
    hidden: int = 16
    twins: int = 40
    steps: int = 400
    batch: int = 2048
    rate: float = 1e-2
    seed: int = 1


class Layer(nn.Module):
    """One expert a token, chosen by the nearest key; keys are the topics' own directions, as a trained gate finds them."""

    def __init__(self, config: TwoHundred, keys: Tensor) -> None:
        super().__init__()
        e, f, d = config.experts, config.hidden, config.width
        generator = torch.Generator().manual_seed(config.seed)
        self.w1 = nn.Parameter(torch.randn(e, f, d, generator=generator) * d**-0.5)
        self.w2 = nn.Parameter(torch.randn(e, d, f, generator=generator) * f**-0.5)
        self.register_buffer("keys", keys)

    def forward(self, x: Tensor, expert: Tensor) -> Tensor:
        """Shapes: x (B, D), expert (B,) int64 -> (B, D), by sorted runs of tokens."""
        order = expert.argsort()
        counts = torch.bincount(expert, minlength=len(self.w1)).tolist()
        parts = []
        for index, rows in enumerate(x[order].split(counts)):
            if len(rows):
                parts.append(F.silu(rows @ self.w1[index].T) @ self.w2[index].T)
        return torch.zeros_like(x).index_copy(0, order, torch.cat(parts))


class Task:
    """Each topic is a direction and a target network of its own; the last `twins` topics share the first ones' networks."""

    def __init__(self, config: TwoHundred) -> None:
        generator = torch.Generator().manual_seed(1000 + config.seed)
        e, d = config.experts, config.width
        self.config, self.generator = config, generator
        self.keys = F.normalize(torch.randn(e, d, generator=generator), dim=1)
        own = torch.randn(e, 4, d, generator=generator) * d**-0.5
        back = torch.randn(e, d, 4, generator=generator) * 0.5
        self.twin = torch.arange(e)
        self.twin[e - config.twins :] = torch.arange(config.twins)
        self.first, self.last = own[self.twin], back[self.twin]
        # busy topics and quiet ones, as logs of real traffic show them
        self.share = (1 / (1 + torch.arange(e).float())).roll(e // 3).softmax(dim=0)

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, their topics, and what is to be computed. Shapes: (B, D), (B,), (B, D)."""
        topic = torch.multinomial(self.share, count, replacement=True, generator=self.generator)
        x = torch.randn(count, self.config.width, generator=self.generator) * 0.7 + self.keys[topic]
        return x, topic, self.wanted(x, topic)

    def wanted(self, x: Tensor, topic: Tensor) -> Tensor:
        """The right answer."""
        inner = torch.tanh(torch.einsum("bd,bfd->bf", x, self.first[topic]))
        return torch.einsum("bf,bdf->bd", inner, self.last[topic])


def run(config: TwoHundred | None = None) -> dict[str, Any]:
    """Train, then merge by function and by chance; gives errors relative to the target's own spread, and the groups."""
    config = config or TwoHundred()
    torch.manual_seed(config.seed)
    task = Task(config)
    layer = Layer(config, task.keys)
    optimizer = torch.optim.Adam(layer.parameters(), lr=config.rate)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.rate * (1 - step / config.steps)
        x, topic, wanted = task.draw(config.batch)
        loss = F.mse_loss(layer(x, topic), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, topic, wanted = task.draw(8192)
    log = F.one_hot(topic, config.experts).numpy()
    experts = Experts(layer.w1.detach().numpy(), layer.w2.detach().numpy(), task.keys.numpy())
    probes = x[:256].numpy()
    groups = clusters(experts.said(probes), alike=0.5)
    load = log.sum(axis=0)
    by_function = reduce(experts, groups, load, probes)
    rng = np.random.default_rng(config.seed)
    by_chance = reduce(experts, groups[rng.permutation(len(groups))], load, probes)
    pruned = reduce(experts, groups, load, probes, how="prune")
    twins = [(i, i + config.experts - config.twins) for i in range(config.twins)]
    together = np.mean([groups[a] == groups[b] for a, b in twins]) if twins else 0.0
    others = int((np.bincount(groups) > 1).sum())
    return {
        "experts": config.experts,
        "groups": int(groups.max()) + 1,
        "groups_of_several": others,
        "planted_pairs_found": round(float(together), 4),
        "error": round(_error(experts, np.arange(config.experts), x, topic, wanted), 4),
        "error_merged": round(_error(by_function.experts, by_function.home, x, topic, wanted), 4),
        "error_pruned": round(_error(pruned.experts, pruned.home, x, topic, wanted), 4),
        "error_merged_by_chance": round(_error(by_chance.experts, by_chance.home, x, topic, wanted), 4),
        "report": by_function.report,
        "seed": config.seed,
    }


def _error(experts: Experts, home: np.ndarray, x: Tensor, topic: Tensor, wanted: Tensor) -> float:
    """Squared error over the target's variance: 0 is perfect, 1 knows nothing."""
    where = home[topic.numpy()]
    found = np.zeros(tuple(x.shape), np.float32)
    for expert in np.unique(where):
        rows = where == expert
        inner = x.numpy()[rows] @ experts.w1[expert].T
        found[rows] = (inner / (1 + np.exp(-inner))) @ experts.w2[expert].T
    return float(((found - wanted.numpy()) ** 2).mean() / wanted.numpy().var())


__all__ = ["Reduced", "TwoHundred", "run"]
