"""The most a device gives: copying memory, and large matrix products in each dtype. Everything else is judged against it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelhub import artifacts
from modelhub.hal.operators import OPERATORS
from modelhub.hal.profile import CapabilityProfile, ProfileInvalid, cpu_profile, read_profile, today
from modelhub.hal.registry import Registry

COPY_BYTES = 256 * 1024**2  # past any cache that one core sees for itself
SIDE, REPEATS = 1024, 5
FILE = "profile-cpu.json"


def copy_gb_s(
    nbytes: int = COPY_BYTES, repeats: int = REPEATS, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Bytes read and written a second by one thread's plain copy, best of the repeats, in GB/s (10⁹)."""
    source, target = np.ones(nbytes // 8), np.zeros(nbytes // 8)
    best = float("inf")
    for _ in range(repeats):
        began = clock()
        np.copyto(target, source)
        best = min(best, clock() - began)
    return 2 * source.nbytes / best / 1e9


def matmul_gflop_s(
    registry: Registry, device: str, *, side: int = SIDE, repeats: int = REPEATS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:  # fmt: skip
    """dtype → GFLOP/s of the quickest present backend on a square product; a backend that fails is passed over."""
    op = OPERATORS["matmul"]
    dims = {"M": side, "K": side, "N": side}
    sample = op.sample(dims)
    best: dict[str, float] = {}
    for each in registry.candidates("matmul", dims, device=device):
        if each.backend in ("numpy", "onnx-reference"):  # float64 inside, or by the book: no ceiling
            continue
        try:
            prepared = each.prepare({"b": sample["b"]}, {}, dims)
            loaded = prepared.load(sample["a"])
            prepared.run(loaded)
            prepared.synchronise()
            for _ in range(repeats):
                began = clock()
                prepared.run(loaded)
                prepared.synchronise()
                speed = op.flops(dims) / (clock() - began) / 1e9
                best[each.dtype] = max(best.get(each.dtype, 0.0), speed)
        except Exception:  # a runtime raises whatever it chose; what it can't run is no ceiling
            continue
    return best


def measure(registry: Registry, profile: CapabilityProfile) -> CapabilityProfile:
    """The CPU's profile with its ceilings, measured now."""
    speeds = matmul_gflop_s(registry, "cpu")
    return replace(
        profile, copy_gb_s=copy_gb_s(), matmul_gflop_s=speeds, date=today(), source="measured on this machine"
    )


def this_cpu(home: Path | None = None, thread_count: int | None = None) -> CapabilityProfile:
    """This machine's profile with the ceilings measured before, if they were measured on the machine it still is."""
    found = cpu_profile(thread_count)
    try:
        kept = read_profile(path_of(home))
    except ProfileInvalid:
        return found
    same = (kept.name, kept.cores, kept.isa, kept.threads) == (
        found.name,
        found.cores,
        found.isa,
        found.threads,
    )
    return (
        replace(found, copy_gb_s=kept.copy_gb_s, matmul_gflop_s=kept.matmul_gflop_s, date=kept.date)
        if same
        else found
    )


def path_of(home: Path | None = None) -> Path:
    return (home or artifacts.home()) / "hal" / FILE


def keep(profile: CapabilityProfile, home: Path | None = None) -> Path:
    """Write the profile where `this_cpu` finds it."""
    artifacts.write_json(path_of(home), profile.as_dict())
    return path_of(home)
