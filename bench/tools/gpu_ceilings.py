"""The two numbers every other figure is held against: bytes a second through memory, operations a second through products."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from bench.tools.gpu_clock import time_calls
from bench.tools.gpu_journal import Journal
from modelhub.hal.backends.cuda_torch import products_in

SIDE = 8192
COPY_BYTES = 4 << 30
KINDS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
SHORT = {"float32": "fp32", "tf32": "tf32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8"}


def run(journal: Journal, device: str) -> None:
    journal.case("ceiling copy", lambda: _copy(journal, device))
    for dtype in ("bfloat16", "float16", "tf32", "float32"):
        journal.case(f"ceiling product {dtype}", lambda dtype=dtype: _product(journal, device, dtype))
    journal.case("ceiling product int8", lambda: _whole_product(journal, device))


def _copy(journal: Journal, device: str) -> None:
    size = COPY_BYTES if device == "cuda" else 1 << 22
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = time_calls([lambda: target.copy_(source)], recorded=False)
    rates = [2 * size / ms / 1e6 for ms in times]
    journal.row(
        "gpu_copy_gb_s",
        rates,
        "GB/s",
        f"device-to-device copy of {size / 2**30:g} GiB, bytes read plus bytes written",
    )
    journal.say("fact", key="copy_gb_s", value=statistics.median(rates))


def _product(journal: Journal, device: str, dtype: str) -> None:
    side = SIDE if device == "cuda" else 128
    kind = KINDS[dtype]
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    out = torch.empty(side, side, dtype=kind, device=device)
    with products_in("tf32" if dtype == "tf32" else "ieee"):
        times = time_calls([lambda: torch.mm(a, b, out=out)], recorded=False)
    rates = [2 * side**3 / ms / 1e9 for ms in times]
    how = f"{side}×{side}×{side} product of random numbers through torch (cuBLAS), {dtype}"
    journal.row(f"gpu_matmul_{SHORT[dtype]}_tflop_s", rates, "TFLOP/s", how)
    journal.say("fact", key=f"matmul_{dtype}", value=statistics.median(rates) * 1e3)


def _whole_product(journal: Journal, device: str) -> None:
    side = SIDE if device == "cuda" else 128
    a, b = (torch.randint(-127, 128, (side, side), dtype=torch.int8, device=device) for _ in range(2))
    times = time_calls([lambda: torch._int_mm(a, b.T)], recorded=False)
    rates = [2 * side**3 / ms / 1e9 for ms in times]
    how = f"{side}×{side}×{side} product of random 8-bit whole numbers through torch (cuBLASLt), 32-bit sums"
    journal.row("gpu_matmul_int8_top_s", rates, "TOP/s", how)
    journal.say("fact", key="matmul_int8", value=statistics.median(rates) * 1e3)


def device_facts(journal: Journal) -> None:
    """What the card says of itself, for the recorded profile and the machine's line in the results."""
    if not torch.cuda.is_available():
        return
    found: Any = torch.cuda.get_device_properties(0)
    journal.say(
        "fact", key="device",
        value={
            "name": found.name, "memory_bytes": found.total_memory, "multiprocessors": found.multi_processor_count,
            "l2_bytes": found.L2_cache_size, "capability": f"{found.major}.{found.minor}", "torch": torch.__version__,
            "cuda": torch.version.cuda,
        },
    )  # fmt: skip


class Ceilings:
    """The measured ceilings, read back: how long a piece of work must take at least."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def floor_ms(self, flops: float, bytes_moved: float, dtype: str) -> float | None:
        """The larger of operations over the product's rate and bytes over the copy's; None where they weren't measured."""
        rate, copy = self._facts.get(f"matmul_{dtype}"), self._facts.get("copy_gb_s")
        if not rate or not copy:
            return None
        return max(flops / (rate * 1e9), bytes_moved / (copy * 1e9)) * 1e3

    def share(self, ms: float, flops: float, bytes_moved: float, dtype: str) -> str:
        """For people: how near a time is to what the ceilings allow."""
        floor = self.floor_ms(flops, bytes_moved, dtype)
        if floor is None:
            return "ceilings not measured"
        return f"{floor / ms:.0%} of the ceiling ({floor * 1e3:.1f} µs)"
