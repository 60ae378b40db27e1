"""Whether experts are specialists: switch off the two that a line of business uses most, and see whom it hurts.

A pair counts as specialised when its absence costs its own workload answers beyond chance (lower 95 % bound above nothing) and
at least three times what it costs the others, on average. The control are pairs drawn at random from the same blocks.
Losses are told twice: in points of accuracy, as the claim is meant, and in nats of cross-entropy, which move long before
an answer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from modelhub.ml.activation.served_encoder import States, upper_all
from modelhub.ml.fairness.intervals import paired_difference
from modelhub.ml.moe.gate import DynamicGate
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.packing import TokenRows

TIMES, RANDOM_PAIRS = 3.0, 6
NEVER = -10.0  # below any probability: an expert with this bias is never among the chosen

Pair = tuple[tuple[int, int], ...]


@contextmanager
def switched_off(gates: Sequence[DynamicGate | None], experts: Pair) -> Iterator[None]:
    """Keep these (block, expert) from being chosen, and put their bias back at the end. `gates`: that of each block."""
    before = [None if gate is None else gate.selection_bias.clone() for gate in gates]
    try:
        for block, expert in experts:
            gate = gates[block]
            if gate is None:
                raise ValueError(f"block {block} has no gate: its feed-forward part is dense")
            gate.selection_bias[expert] = NEVER
        yield
    finally:
        for gate, bias in zip(gates, before, strict=True):
            if gate is not None and bias is not None:
                gate.selection_bias.copy_(bias)


def hottest(loads: np.ndarray, workload: int, count: int = 2) -> Pair:
    """The experts that saw most of a workload's tokens, as (block, expert). Shapes: loads (workloads, layers, E)."""
    flat = loads[workload].ravel().argsort()[::-1][:count]
    return tuple((int(i) // loads.shape[2], int(i) % loads.shape[2]) for i in flat)


def loads_of(counts: np.ndarray, rows: TokenRows) -> np.ndarray:
    """Tokens by workload. Shapes: counts (N, layers, E) -> (workloads, layers, E)."""
    return np.stack(
        [counts[rows.workload == index].sum(axis=0, dtype=np.int64) for index in range(len(rows.names))]
    )


def mutual_information(loads: np.ndarray) -> list[float]:
    """What an expert tells about the workload, in nats, layer by layer, workloads weighing alike; at most log of their number."""
    share = loads / loads.sum(axis=2, keepdims=True).clip(1)

    def entropy(p: np.ndarray) -> np.ndarray:
        return -(p * np.log(p.clip(1e-12))).sum(axis=-1)

    return [float(v) for v in entropy(share.mean(axis=0)) - entropy(share).mean(axis=0)]


def answers(
    model: SparseEncoder, first: int, rows: TokenRows, states: States, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows the deep heads answer right (N,), their cross-entropy (N,), and tokens by expert (N, layers - first, E)."""
    features, counts = upper_all(model, first, states, width)
    right, nats = np.zeros(len(rows), bool), np.zeros(len(rows))
    for index, name in enumerate(rows.names):
        own = np.flatnonzero(rows.workload == index)
        head, y = model.head(name), torch.from_numpy(rows.y[own])
        with torch.no_grad():
            logits = head(torch.from_numpy(features[own]))
        right[own] = (logits.argmax(dim=1) == y).numpy()
        nats[own] = F.cross_entropy(logits, y, reduction="none").numpy()
    return right, nats, counts


def judge(
    model: SparseEncoder, first: int, rows: TokenRows, states: States, width: int, seed: int
) -> dict[str, Any]:
    """Accuracy by workload, how much experts tell about workloads, and what each pair's absence costs whom."""
    right, nats, counts = answers(model, first, rows, states, width)
    loads = loads_of(counts, rows)

    gates = [block.experts.gate for block in model.blocks[first:]]

    def now() -> dict[str, Any]:
        after, later, _ = answers(model, first, rows, states, width)
        return {
            name: _cost(right, after, nats, later, rows.workload == index)
            for index, name in enumerate(rows.names)
        }

    def costs(pair: Pair) -> dict[str, Any]:
        with switched_off(gates, pair):
            return now()

    pairs = {name: hottest(loads, index) for index, name in enumerate(rows.names)}
    rng = np.random.default_rng((seed, 11))
    blocks = sorted({tuple(block for block, _ in pair) for pair in pairs.values()})
    drawn = [
        tuple((block, int(rng.integers(loads.shape[2]))) for block in blocks[i % len(blocks)])
        for i in range(RANDOM_PAIRS)
    ]
    random = [costs(pair) for pair in drawn]
    silenced = {}
    for number, block in enumerate(model.blocks[first:], first):
        block.experts.silent = True
        silenced[str(number)] = {name: round(cost["points"], 2) for name, cost in now().items()}
        block.experts.silent = False
    workloads = {}
    for index, (name, pair) in enumerate(pairs.items()):
        own = verdict(costs(pair), name)
        share = sum(loads[index][at] for at in pair) / max(1, loads[index].sum())
        beside = [verdict(each, name) for each in random]
        workloads[name] = {
            "experts": [[first + block, expert] for block, expert in pair],
            "share_of_tokens": round(float(share), 4),
            **own,
            "random_own_points": [each["own_points"] for each in beside],
            "random_own_nats": [each["own_nats"] for each in beside],
        }
    return {
        "accuracy": round(float(right.mean()), 5),
        "by_workload": {
            name: round(float(right[rows.workload == i].mean()), 5) for i, name in enumerate(rows.names)
        },
        "rows": len(rows),
        "mutual_information": [round(value, 4) for value in mutual_information(loads)],
        "workloads": workloads,
        "block_silenced_points": silenced,  # no pair of a block's experts can cost more than all of them
        "met": sum(row["met"] for row in workloads.values()),
        "met_nats": sum(row["met_nats"] for row in workloads.values()),
    }


def _cost(
    right: np.ndarray, after: np.ndarray, nats: np.ndarray, later: np.ndarray, own: np.ndarray
) -> dict[str, float]:
    points, rise = paired_difference(right[own], after[own]), paired_difference(later[own], nats[own])
    return {
        "points": 100 * points.value,
        "points_low": 100 * points.low,
        "nats": rise.value,
        "nats_low": rise.low,
    }


def verdict(costs: dict[str, dict[str, float]], own: str) -> dict[str, Any]:
    """What a pair's absence costs its workload and the others, in points and in nats, and whether it is theirs."""
    found: dict[str, Any] = {}
    for unit, digits in (("points", 2), ("nats", 4)):
        mine = costs[own][unit]
        others = float(np.mean([cost[unit] for name, cost in costs.items() if name != own]))
        found |= {
            f"own_{unit}": round(mine, digits),
            f"own_{unit}_low": round(costs[own][f"{unit}_low"], digits),
            f"others_{unit}": round(others, digits),
            f"met{'_nats' * (unit == 'nats')}": costs[own][f"{unit}_low"] > 0
            and mine >= TIMES * max(0.0, others),
        }
    return found


def brief(report: dict[str, Any]) -> dict[str, Any]:
    """A line about a run."""
    units = ("own_points", "others_points", "own_nats", "others_nats")
    kept = ("accuracy", "mutual_information", "met", "met_nats", "train_cpu_s")
    told = {key: report[key] for key in kept if key in report}
    return told | {name: [row[unit] for unit in units] for name, row in report["workloads"].items()}
