"""Every number the replay rests on: its value, how far it may be off, where it is from. All of them can be changed.

`origin`: measured (by our own benchmarks), trace (public data shipped or read), price (a dated book), assumption (nobody
measured it here: the interval is wide on purpose).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

BOOK = "llm-prices (github.com/simonw/llm-prices), 2026-08-05"


@dataclass(frozen=True, slots=True)
class Assumption:
    """One number. `low` and `high` are what the tornado tries."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    origin: str
    source: str


_LIST = (
    Assumption("small_usd_per_mtok_in", 0.10, 0.05, 0.25, "USD/Mtok", "price", f"GPT-4.1 Nano; {BOOK}"),
    Assumption("small_usd_per_mtok_out", 0.40, 0.20, 1.25, "USD/Mtok", "price", f"GPT-4.1 Nano; {BOOK}"),
    Assumption("small_usd_per_mtok_cached", 0.025, 0.01, 0.1, "USD/Mtok", "price", f"GPT-4.1 Nano; {BOOK}"),
    Assumption("large_usd_per_mtok_in", 1.25, 1.25, 5.00, "USD/Mtok", "price", f"GPT-5.1, high: GPT-5.5; {BOOK}"),
    Assumption("large_usd_per_mtok_out", 10.0, 8.0, 30.0, "USD/Mtok", "price", f"GPT-5.1, high: GPT-5.5; {BOOK}"),
    Assumption("large_usd_per_mtok_cached", 0.125, 0.1, 0.5, "USD/Mtok", "price", f"GPT-5.1; {BOOK}"),
    Assumption("gpu_usd_per_hour", 2.50, 1.50, 4.50, "USD/h", "assumption", "cloud rate of one 80 GB accelerator, reserved"),
    Assumption("cpu_usd_per_hour", 0.085, 0.04, 0.20, "USD/h", "price", "AWS EC2 on-demand list price, c6i.large, us-east-1"),
    Assumption("cpu_threads", 2, 1, 4, "threads", "price", "vCPU of the same machine"),
    Assumption("prefill_tokens_per_s", 20_000, 8_000, 40_000, "tok/s", "assumption",
               "one 80 GB accelerator, open sparse model of the Mixtral 8x7B class in INT8, batched; not measured by us"),
    Assumption("decode_tokens_per_s", 2_500, 1_000, 5_000, "tok/s", "assumption", "the same"),
    Assumption("utilisation_cap", 0.70, 0.50, 0.85, "share", "assumption",
               "of a ten-minute window that may be busy, so that waiting stays short"),
    Assumption("headroom", 1.25, 1.0, 1.6, "×", "assumption", "capacity kept above the highest bound demand seen so far"),
    Assumption("chat_rate", 1.0, 0.25, 4.0, "×", "trace", "customer-service chat: the Azure 2023 conversation trace's own rate"),
    Assumption("code_rate", 1.0, 0.25, 4.0, "×", "trace", "engineering: the Azure 2023 code trace's own rate"),
    Assumption("documents_rate", 0.10, 0.03, 0.30, "×", "trace", "legal documents: a tenth of the Mooncake trace's rate"),
    Assumption("text_rate", 1.0, 0.25, 4.0, "requests/s", "assumption", "mean rate of each classification workload"),
    Assumption("tabular_rate", 2.0, 0.5, 8.0, "requests/s", "assumption", "mean rate of each prediction workload"),
    Assumption("prefix_cache_share", 0.347, 0.0, 0.5, "share", "trace",
               "512-token blocks seen before in the Mooncake trace; both sides take it off the input of documents"),
    Assumption("floor_text", 0.96, 0.90, 0.99, "share", "assumption", "least accuracy, of the best evaluated deployment"),
    Assumption("floor_chat", 0.75, 0.70, 0.95, "share", "assumption",
               "the same for chat; what the open model lacks is made up by the large one where work may leave"),
)  # fmt: skip
DEFAULTS: Mapping[str, Assumption] = {one.name: one for one in _LIST}


def values(changes: Mapping[str, float] | None = None) -> dict[str, float]:
    """Name → number, with some changed. ValueError for a name that isn't one, or a value that can't be."""
    found = {name: one.value for name, one in DEFAULTS.items()}
    for name, value in (changes or {}).items():
        if name not in found:
            raise ValueError(f"{name!r} is no assumption: {', '.join(DEFAULTS)}.")
        if not 0 <= value < 1e9:
            raise ValueError(f"{name} = {value:g}: expected a number from 0 to 10⁹.")
        found[name] = value
    for name in ("prefill_tokens_per_s", "decode_tokens_per_s", "utilisation_cap", "cpu_threads"):
        if found[name] <= 0:
            raise ValueError(f"{name} must be above 0.")
    if found["utilisation_cap"] > 1 or found["prefix_cache_share"] > 1:
        raise ValueError("utilisation_cap and prefix_cache_share are shares: from 0 to 1.")
    return found


def with_measured(measured: Mapping[str, float], source: str) -> dict[str, Assumption]:
    """The list with some values measured afresh; their interval moves along."""
    out = dict(DEFAULTS)
    for name, value in measured.items():
        old = out[name]
        scale = value / old.value if old.value else 1.0
        out[name] = replace(old, value=value, low=old.low * scale, high=old.high * scale, source=source)
    return out
