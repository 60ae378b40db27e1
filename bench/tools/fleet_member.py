"""One member of a data-parallel training run: `python -m bench.tools.fleet_member RANK SIZE FILE CORES THREADS REPEATS`.

Every member holds the same network and takes its share of each batch; gradients are added over all and the same step is taken
everywhere. Shares change who trains which row, never what is learned; the run proves that of itself and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional as F

from modelhub.hal.planner_training import Member, equal_shares, planned_shares, simulate
from modelhub.ml.moe.model import GatingClassifier, GatingConfig, build

ROWS, LABELS, STEPS = 1024, 20, 4
CALIBRATE_S = 3.0
# No dropout: what a row gives must not depend on who trains it.
SHAPE = GatingConfig(width=256, layers=2, experts=32, hidden=128, dropout=0.0, input_dropout=0.0)


class Trainer:
    """The network, its optimiser and the data, the same on every member."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(8, ROWS, SHAPE.width, generator=generator)
        centres = torch.randn(LABELS, SHAPE.width, generator=generator)
        self.y = (self.x @ centres.T).argmax(-1)
        self.reset()

    def reset(self) -> None:
        """The weights at the start."""
        torch.manual_seed(4)
        self.model: GatingClassifier = build(SHAPE, {"task": LABELS})
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)

    def gradients(self, batch: int, start: int, stop: int) -> float:
        """Gradients of this member's rows, as their part of the whole batch's mean. Gives their part of the loss."""
        self.optimizer.zero_grad()
        if start == stop:
            return 0.0
        logits = self.model(self.x[batch, start:stop], "task")
        loss = F.cross_entropy(logits, self.y[batch, start:stop], reduction="sum") / ROWS
        loss.backward()
        return float(loss.detach())

    def step(self, index: int, shares: dict[str, int]) -> float:
        """One step of the whole group. Gives this member's part of the loss."""
        batch = index % len(self.x)
        start = sum(shares[str(each)] for each in range(self.rank))
        loss = self.gradients(batch, start, start + shares[str(self.rank)])
        held = [p for p in self.model.parameters() if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).ravel() for p in held])
        dist.all_reduce(flat)
        for p, part in zip(held, flat.split([p.numel() for p in held]), strict=True):
            p.grad = part.view_as(p)
        self.optimizer.step()
        return loss

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().ravel() for p in self.model.parameters()])


def speed(trainer: Trainer) -> tuple[float, float, float]:
    """Rows a second, seconds a step costs whatever its rows, and the CPU seconds it got of each, while the others measure
    themselves, too: two sizes, a line."""
    small, large = ROWS // 8, ROWS // 2
    took: dict[int, list[float]] = {small: [], large: []}
    trainer.gradients(0, 0, large)
    dist.barrier()
    started, used = time.perf_counter(), time.process_time()
    until = started + CALIBRATE_S
    while time.perf_counter() < until or len(took[large]) < 3:
        for rows in took:
            began = time.perf_counter()
            trainer.gradients(0, 0, rows)
            took[rows].append(time.perf_counter() - began)
    got = (time.process_time() - used) / (time.perf_counter() - started)
    low, high = (
        statistics.mean(took[small]),
        statistics.mean(took[large]),
    )  # a shared core gives its time in slices: no medians
    slope = max((high - low) / (large - small), 1e-9)
    return 1 / slope, max(0.0, low - slope * small), got


def measure(trainer: Trainer, size: int, repeats: int) -> dict[str, Any]:
    """Speeds, shares by them, then both kinds of shares in turns; and the proof that both learn the same."""
    speeds: list[Any] = [None] * size
    dist.all_gather_object(speeds, speed(trainer))
    members = [Member(str(rank), *value[:2]) for rank, value in enumerate(speeds)]
    plans = {"equal": equal_shares(ROWS, members), "planned": planned_shares(ROWS, members)}
    learned = {}
    for name, shares in plans.items():
        trainer.reset()
        for index in range(2):
            trainer.step(index, shares)
        learned[name] = trainer.weights()
    apart = float((learned["equal"] - learned["planned"]).abs().max() / learned["equal"].abs().max())
    times: dict[str, list[float]] = {name: [] for name in plans}
    losses = []
    for turn in range(repeats):
        for name in sorted(plans, reverse=turn % 2 == 1):
            dist.barrier()
            began = time.perf_counter()
            for index in range(STEPS):
                loss = torch.tensor([trainer.step(turn * STEPS + index, plans[name])])
            dist.barrier()
            times[name].append((time.perf_counter() - began) / STEPS)
            dist.all_reduce(loss)
            losses.append(float(loss))
    return {
        "rows_per_s": [each.rows_per_s for each in members], "cpu_share": [value[2] for value in speeds],
        "foreseen": simulate(ROWS, members, simulated=False).gain,
        "shares": plans, "step_s": times, "weights_apart": apart, "losses": losses,
        "threads": torch.get_num_threads(), "cores": sorted(os.sched_getaffinity(0)),
    }  # fmt: skip


def main() -> None:
    rank, size, file, cores, threads, repeats = sys.argv[1:7]
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    torch.set_num_threads(int(threads))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=int(rank), world_size=int(size))
    try:
        found = measure(Trainer(int(rank)), int(size), int(repeats))
        print(json.dumps({"rank": int(rank), **found}), flush=True)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
