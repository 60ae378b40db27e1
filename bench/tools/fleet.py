"""Mixed hardware: shares by capability against equal shares, simulated over recorded devices and tried with two CPU processes.

The trial trains one sparse network in two processes of unequal strength. Where there are cores for it, they have unequal thread
counts; on two cores each has one, and the weaker shares its core with three processes that are always busy, so that it has a
quarter of it. With shares by speed s1 and s2 the most that can be gained is (s1 + s2) / (2 · min) − 1: 1.8 to 1 is what +40 %
takes before any fixed cost. One busy neighbour had left 6,809 against 6,223 rows a second, hence +4 %, at a recorded load of
2.2: the stronger core was not its own either. What each process got of its core is therefore part of the row, and a trial whose
speeds don't allow the target is told and not judged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.common import ROOT, Results
from modelhub.hal import planner_training, profiles
from modelhub.hal.planner import EFFICIENCY

FLEET = ("nvidia-h100-sxm", "nvidia-a100-80gb", "amd-mi250x", "ascend-910b")
FLOPS_PER_ROW = 6 * 100e6 * 128  # a training row of 128 tokens through 100 million active weights
BATCHES = (256, 512, 1024)
GRADIENT_BYTES, LINK_GB_S = 2 * 100e6, 25.0
REPEATS, AT_LEAST, TIMEOUT_S = 7, 0.40, 240
MOST_THREADS = 4  # more threads than that don't quicken so small a network
BUSY, NEIGHBOURS = "while True: pass", 3


def main() -> None:
    results = Results("fleet")
    rows(results)
    results.write()


def rows(results: Results) -> None:
    simulated_rows(results)
    trial_rows(results)


# --- simulated ------------------------------------------------------------------------------------------------------------


def simulated_rows(results: Results) -> None:
    """A step of several sizes over four kinds of accelerators, by the vendors' peaks."""
    members = planner_training.members_of(
        {name: profiles.load(name) for name in FLEET}, flops_per_row=FLOPS_PER_ROW, efficiency=EFFICIENCY
    )
    gains = [
        planner_training.simulate(rows, members, gradient_bytes=GRADIENT_BYTES, link_gb_s=LINK_GB_S).gain for rows in BATCHES
    ]  # fmt: skip
    how = (
        f"SIMULATED from vendors' figures: training rows a second with shares by capability over equal shares, less one; "
        f"{', '.join(FLEET)}; steps of {', '.join(map(str, BATCHES))} rows, gradients added over {LINK_GB_S:g} GB/s"
    )
    results.add("mixed_hardware_gain_simulated", gains, "share", how, at_least=AT_LEAST)


# --- tried ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strength:
    """Which cores a process may use and with how many threads; `neighbours`: busy processes that live on them, too."""

    cores: tuple[int, ...]
    threads: int
    neighbours: int = 0


def strengths(cores: tuple[int, ...]) -> tuple[Strength, Strength]:
    """Two processes of unequal strength on these cores. Raises ValueError for a single core."""
    if len(cores) < 2:
        raise ValueError("the trial needs two cores: on one, no process is stronger than another")
    if len(cores) == 2:
        return Strength(cores[:1], 1), Strength(cores[1:], 1, NEIGHBOURS)
    many = cores[1 : 1 + MOST_THREADS]
    return Strength(many, len(many)), Strength(cores[:1], 1)


def trial_rows(results: Results) -> None:
    try:
        pair = strengths(tuple(sorted(os.sched_getaffinity(0))))
        found = trial(pair, REPEATS)
    except (ValueError, AttributeError, RuntimeError, subprocess.SubprocessError) as error:
        results.not_run("mixed_hardware_gain_trial", "share", f"{type(error).__name__}: {error}")
        return
    trial_row(results, pair, found)
    how = "what the planner foresaw from the two measured speeds and fixed costs"
    results.add("mixed_hardware_gain_foreseen", [found["foreseen"]], "share", how, control=True)
    for name, times in found["step_s"].items():
        results.add(
            f"mixed_hardware_step_{name}",
            [t * 1e3 for t in times],
            "ms",
            f"a step with {name} shares",
            control=True,
        )


def allowed(speeds: Sequence[float]) -> float:
    """The most that shares by speed can gain over equal ones, before any fixed cost: equal shares wait for the slowest."""
    return sum(speeds) / (len(speeds) * min(speeds)) - 1


def trial_row(results: Results, pair: tuple[Strength, ...], found: dict[str, Any]) -> None:
    """The trial, judged only where the two processes were unequal enough for the target to be within reach."""
    gains = [a / b - 1 for a, b in zip(found["step_s"]["equal"], found["step_s"]["planned"], strict=True)]
    most = allowed(found["rows_per_s"])
    speeds = ", ".join(f"{value:,.0f}" for value in found["rows_per_s"])
    got = ", ".join(f"{value:.2f}" for value in found["cpu_share"])
    words = [
        f"{each.threads} thread{'s' * (each.threads > 1)}"
        + f" on a core shared with {each.neighbours} busy processes" * bool(each.neighbours)
        for each in pair
    ]
    how = (
        f"TRIED: two CPU processes ({'; '.join(words)}) train one sparse network on the same batches; rows a second with shares "
        f"by their measured speeds ({speeds} rows a second; CPU seconds a second: {got}) over equal shares, less one, in turns; "
        f"weights agree to "
        f"{found['weights_apart']:.0e}; planned {found['shares']['planned']}"
    )
    within = most >= AT_LEAST
    if not within:
        how += f"; not judged: such speeds allow {most:+.0%} at most, for the stronger core was not its own"
    results.add("mixed_hardware_gain_trial", gains, "share", how, at_least=AT_LEAST, judged=within)
    told = "the most that shares by these speeds can gain over equal ones, before fixed costs"
    results.add("mixed_hardware_gain_allowed", [most], "share", told, control=True)


def trial(pair: tuple[Strength, ...], repeats: int) -> dict[str, Any]:
    """What the first member found. RuntimeError with the end of the log when a member fails or shares change what is learned."""
    with tempfile.TemporaryDirectory() as folder, neighbours(pair):
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.tools.fleet_member", str(rank), str(len(pair)), f"{folder}/meet",
                 ",".join(map(str, each.cores)), str(each.threads), str(repeats)],
                cwd=ROOT, env=_environment(each.threads), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for rank, each in enumerate(pair)
        ]  # fmt: skip
        try:
            said = [process.communicate(timeout=TIMEOUT_S) for process in processes]
        finally:
            for process in processes:
                process.kill()
    for process, (_, errors) in zip(processes, said, strict=True):
        if process.returncode:
            raise RuntimeError(f"a member ended with {process.returncode}: {errors[-500:]}")
    found: dict[str, Any] = json.loads(said[0][0].splitlines()[-1])
    if found["weights_apart"] > 1e-4:
        raise RuntimeError(f"shares changed what was learned: weights are {found['weights_apart']:.1e} apart")
    return found


def _environment(threads: int) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }


@contextmanager
def neighbours(pair: tuple[Strength, ...]) -> Iterator[None]:
    """Busy processes on each shared core, for as long as the block lasts."""
    busy = []
    try:
        for each in pair:
            for _ in range(each.neighbours):
                process = subprocess.Popen([sys.executable, "-c", BUSY])
                busy.append(process)
                os.sched_setaffinity(process.pid, set(each.cores))
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
