"""Where experts should lie: replicas for hot ones, an even load on every device, and vLLM's settings for it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """`devices[d]` lists the experts held by device d, a replicated one on several. Imbalance: the busiest device's load
    over the mean, before (experts in order, no replicas) and after; every replica carries an even part of its expert."""

    layer: int
    devices: tuple[tuple[int, ...], ...]
    replicas: tuple[int, ...]
    imbalance_before: float
    imbalance_after: float


def plan_layer(layer: int, counts: np.ndarray, *, devices: int, redundant: int = 0) -> LayerPlan:
    """Replicate the hottest experts `redundant` times in all, then place the heaviest first on the least loaded device.

    Every device holds equally many slots: (E + redundant) / devices. Greedy as in DeepSeek's expert-parallel load
    balancer (EPLB). Raises ValueError when slots don't divide evenly. Shapes: counts (E,).
    """
    load = np.asarray(counts, np.float64)
    slots = len(load) + redundant
    if devices < 1 or redundant < 0 or slots % devices:
        raise ValueError(
            f"{len(load)} experts and {redundant} replicas make {slots} slots, which {devices} devices can't share "
            f"evenly: choose a number of replicas that makes the sum a multiple of {devices}"
        )
    replicas = _replicate(load, redundant)
    held, carried = _packed(load, replicas, devices)
    return LayerPlan(
        layer,
        tuple(tuple(sorted(experts)) for experts in held),
        tuple(int(r) for r in replicas),
        _in_order(load, devices),
        _imbalance(np.array(carried)),
    )


def _replicate(load: np.ndarray, redundant: int) -> np.ndarray:
    """One more replica, each time, for the expert whose replicas carry most."""
    replicas = np.ones(len(load), np.int64)
    for _ in range(redundant):
        replicas[int(np.argmax(load / replicas))] += 1
    return replicas


def _packed(load: np.ndarray, replicas: np.ndarray, devices: int) -> tuple[list[list[int]], list[float]]:
    """Heaviest slot first to the least loaded device with room; two replicas of one expert avoid the same device."""
    room = int(replicas.sum()) // devices
    parts = sorted(
        ((load[e] / replicas[e], e) for e in range(len(load)) for _ in range(replicas[e])),
        key=lambda p: (-p[0], p[1]),
    )
    heap = [(0.0, d) for d in range(devices)]
    held: list[list[int]] = [[] for _ in range(devices)]
    carried = [0.0] * devices
    for part, expert in parts:
        passed, chosen = [], None
        while heap:
            entry = heapq.heappop(heap)
            if expert in held[entry[1]]:
                passed.append(entry)
                continue
            chosen = entry
            break
        if chosen is None:  # more replicas than devices with room: two on one device are harmless
            chosen = passed.pop(0)
        device = chosen[1]
        held[device].append(expert)
        carried[device] += part
        if len(held[device]) < room:
            heapq.heappush(heap, (carried[device], device))
        for entry in passed:
            heapq.heappush(heap, entry)
    return held, carried


def _in_order(load: np.ndarray, devices: int) -> float:
    """Experts 0, 1, 2 … in equal runs, as a server without a plan lays them."""
    return _imbalance(np.array([part.sum() for part in np.array_split(load, devices)]))


def _imbalance(carried: np.ndarray) -> float:
    mean = carried.mean()
    return float(carried.max() / mean) if mean > 0 else 1.0


def vllm_settings(
    plans: list[LayerPlan], *, window_size: int = 1000, step_interval: int = 3000
) -> dict[str, Any]:
    """The plan as `vllm serve --enable-expert-parallel --enable-eplb --eplb-config` takes it.

    vLLM measures loads itself and moves experts while it serves: what our counts decide is how many redundant experts
    pay. `expert_map` is for engines that take a placement outright (SGLang's `--init-expert-location`).
    """
    redundant = max((sum(plan.replicas) - len(plan.replicas) for plan in plans), default=0)
    return {
        "enable_expert_parallel": True,
        "enable_eplb": True,
        "eplb_config": {
            "num_redundant_experts": redundant,
            "window_size": window_size,
            "step_interval": step_interval,
            "log_balancedness": True,
        },
        "expert_map": {
            "physical_to_logical_map": [[e for device in plan.devices for e in device] for plan in plans]
        },
    }
