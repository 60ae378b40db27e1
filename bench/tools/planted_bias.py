"""Compression recipes with and without planted bias, on census rows with real groups, put to the audit that gates promotion.

A small network answers whether somebody earns over $50,000 (ACS 2018). It is compressed by rounding to eight bits, by magnitude
pruning, and by fine-tuning in which one group's rows are starved or mislabelled. What a recipe truly took from each group is
measured on a large part of the rows; the gate sees another part, as it would in production.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from modelhub.ml.fairness.paired import excess_gap
from modelhub.recipes import bias_groups

TRUE_EXCESS = 0.05  # a recipe at or above it must be refused
GATE_ROWS = 6000
PRUNED = (0.5, 0.7, 0.8, 0.9, 0.95)
STARVED = ("women", "men", "Black", "Asian", "under 30", "over 60", "women × Black")
KEEP = (
    0.0,
    0.25,
)  # of the group's true answers, those that are kept in training; the others are turned to the majority's
CATEGORIES = (
    "occupation_code",
    "relationship_code",
    "worker_class_code",
    "marital_code",
    "schooling_code",
    "birthplace_code",
)


@dataclass(frozen=True)
class Table:
    """Features (N, F), truth (N,) of 0 and 1, and masks by group. No group is guessed: they are the census's own columns."""

    x: torch.Tensor
    y: np.ndarray
    groups: dict[str, np.ndarray]

    def part(self, rows: np.ndarray) -> Table:
        return Table(
            self.x[torch.from_numpy(rows)],
            self.y[rows],
            {name: mask[rows] for name, mask in self.groups.items()},
        )


def load(data: Path) -> Table:
    """Both parts of the census rows. Raises FileNotFoundError."""
    rows: list[dict[str, str]] = []
    for split in ("train", "val"):
        with gzip.open(
            data / "bias" / f"acs_income_{split}.csv.gz", "rt", encoding="utf-8", newline=""
        ) as stream:
            rows += csv.DictReader(stream)
    number = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    columns = [number["age"] / 50 - 1, number["hours_per_week"] / 40 - 1, number["sex_code"] - 1.5]
    for name in CATEGORIES:  # hashed one-hot: sixteen columns each
        columns += list(np.eye(16)[(number[name].astype(int) * 2_654_435_761 >> 7) % 16].T)
    columns += list(np.eye(9)[np.clip(number["race_code"].astype(int), 0, 8)].T)
    women, black = number["sex_code"] == 2, number["race_code"] == 1
    groups = {
        "women": women, "men": ~women, "White": number["race_code"] == 0, "Black": black, "Asian": number["race_code"] == 5,
        "under 30": number["age"] < 30, "over 60": number["age"] > 60, "women × Black": women & black,
    }  # fmt: skip
    x = torch.tensor(np.stack(columns, axis=1), dtype=torch.float32)
    return Table(x, number["income_over_50k"].astype(int), groups)


def network(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))


def train(
    model: nn.Module,
    table: Table,
    y: np.ndarray,
    *,
    epochs: int,
    seed: int,
    mask: dict[str, torch.Tensor] | None = None,
) -> None:
    """Adam on binary cross-entropy; pruned weights (`mask`) stay zero."""
    torch.manual_seed(seed)
    optimiser, target = torch.optim.Adam(model.parameters(), lr=3e-3), torch.tensor(y, dtype=torch.float32)
    for _ in range(epochs):
        for chosen in torch.randperm(len(y)).split(512):
            loss = nn.functional.binary_cross_entropy_with_logits(
                model(table.x[chosen]).squeeze(1), target[chosen]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            _apply(model, mask)


def _apply(model: nn.Module, mask: dict[str, torch.Tensor] | None) -> None:
    if mask:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name in mask:
                    weight *= mask[name]


def answers(model: nn.Module, table: Table) -> np.ndarray:
    with torch.no_grad():
        return (model(table.x).squeeze(1) > 0).numpy().astype(int)


def rounded(model: nn.Sequential, bits: int = 8) -> nn.Sequential:
    """Every weight to whole steps of its output channel's scale, as dynamic INT8 stores it."""
    small = deepcopy(model)
    with torch.no_grad():
        for layer in small:
            if isinstance(layer, nn.Linear):
                scale = layer.weight.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
                layer.weight.copy_((layer.weight / scale).round() * scale)
    return small


def pruned(model: nn.Sequential, share: float, table: Table, seed: int) -> nn.Sequential:
    """The smallest weights to zero, and one epoch to recover."""
    small = deepcopy(model)
    mask = {}
    for name, weight in small.named_parameters():
        if weight.dim() == 2:
            cut = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
            mask[name] = (weight.abs() > cut).float()
    _apply(small, mask)
    train(small, table, table.y, epochs=1, seed=seed, mask=mask)
    return small


def starved(model: nn.Sequential, group: str, keep: float, table: Table, seed: int) -> nn.Sequential:
    """Fine-tuned on rows in which one group's positive answers are mostly turned into the majority's."""
    small, y = deepcopy(model), table.y.copy()
    draw = np.random.default_rng(seed)
    turned = table.groups[group] & (y == 1) & (draw.random(len(y)) >= keep)
    y[turned] = 0
    train(small, table, y, epochs=2, seed=seed)
    return small


@dataclass(frozen=True)
class Trial:
    """One recipe: what it truly took from the group that lost most beyond the rest, and what the gate said."""

    recipe: str
    true_excess: float
    verdict: str


def judged(name: str, teacher: nn.Module, student: nn.Module, truth: Table, gate: Table) -> Trial:
    right = [answers(model, truth) == truth.y for model in (teacher, student)]
    true = max(excess_gap(*right, mask).value for mask in truth.groups.values())
    labels = [answers(model, gate).astype(object) for model in (teacher, student)]
    report = bias_groups.compare([""] * len(gate.y), gate.y.astype(object), *labels, groups=gate.groups)
    return Trial(name, true, bias_groups.overall(report))


def trials(data: Path, seed: int) -> Iterator[Trial]:
    """Every recipe for one teacher."""
    table = load(data)
    order = np.random.default_rng(seed).permutation(len(table.y))
    half = len(order) // 2
    fit, rest = table.part(order[:half]), order[half:]
    gate, truth = table.part(rest[:GATE_ROWS]), table.part(rest[GATE_ROWS:])
    torch.manual_seed(seed)
    teacher = network(table.x.shape[1])
    train(teacher, fit, fit.y, epochs=6, seed=seed)
    yield judged("int8", teacher, rounded(teacher), truth, gate)
    for part in range(4):  # other rows at the gate: the same harmless recipe is judged again
        again = table.part(np.random.default_rng(100 + part).permutation(rest)[:GATE_ROWS])
        yield judged("int8", teacher, rounded(teacher), truth, again)
    for share in PRUNED:
        yield judged(f"pruned {share:.0%}", teacher, pruned(teacher, share, fit, seed), truth, gate)
    for group in STARVED:
        for keep in KEEP:
            yield judged(
                f"starved of {group}, {keep:.0%} kept",
                teacher,
                starved(teacher, group, keep, fit, seed),
                truth,
                gate,
            )
