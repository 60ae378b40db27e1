"""Public arrival traces replayed request by request: `python -m bench.tools.arrivals [--write]` prints what an hour of each
costs, or writes the file of arrivals that ships.

Azure 2023 code and conversation (CC BY 4.0) and Mooncake conversation (Apache-2.0); of Mooncake's prefix blocks each request
is told which were seen before.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np

from bench.common import ROOT, Results
from costs.economics.arrivals import Requests, cheapest, machines_for, overflow, read_requests
from costs.economics.assumptions import values
from costs.planning.queueing import Planner, Trace

SOURCES = Path(os.environ.get("SWITCHYARD_DATA", ROOT.parent / "shared" / "data")) / "traces"
SHIPPED = ROOT / "data" / "traces" / "chat_arrivals.csv.gz"
COLUMNS = ("trace", "arrival_s", "tokens_in", "cached_tokens", "tokens_out")
BLOCK = 512  # tokens of one of Mooncake's prefix blocks
PATIENCE_S, SHARE = 1.0, 0.95
TEXT_TARGET_MS, FACTORS = 25.0, (10, 30, 100)
KNOWN = 0.2  # the part of an hour that a plan may learn from


def source_rows() -> Iterator[tuple[str, float, int, int, int]]:
    """Every request of the three traces, in their order."""
    for name in ("code", "conv"):
        with gzip.open(
            SOURCES / f"azure_llm_2023_{name}_part1.csv.gz", "rt", encoding="utf-8", newline=""
        ) as stream:
            for row in csv.DictReader(stream):
                yield (
                    f"azure-{name}",
                    float(row["arrival_s"]),
                    int(row["context_tokens"]),
                    0,
                    int(row["generated_tokens"]),
                )
    seen: set[int] = set()
    with gzip.open(SOURCES / "mooncake_conversation_part1.jsonl.gz", "rt") as stream:
        for line in stream:
            one = json.loads(line)
            known = next(
                (i for i, block in enumerate(one["hash_ids"]) if block not in seen), len(one["hash_ids"])
            )
            seen.update(one["hash_ids"])
            cached = min(known * BLOCK, one["input_length"])
            yield "mooncake", one["timestamp"] / 1000, one["input_length"], cached, one["output_length"]


def write() -> None:
    """The file that ships: the same bytes for the same traces."""
    with SHIPPED.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        packed.write((",".join(COLUMNS) + "\n").encode())
        for trace, at, *tokens in source_rows():
            packed.write(f"{trace},{at:.3f},{','.join(map(str, tokens))}\n".encode())


def add_rows(results: Results, changes: Mapping[str, float] | None = None) -> None:
    """Controls for each trace: machines by queue and by averages, and what the hour costs one way and another."""
    numbers = values(changes)
    for name, requests in read_requests(SHIPPED).items():
        _replay(results, name, requests, numbers)


def _replay(results: Results, name: str, requests: Requests, numbers: Mapping[str, float]) -> None:
    services = requests.services_s(numbers)
    load = float(services.sum()) / requests.span_s
    needed = machines_for(requests, numbers, wait_s=PATIENCE_S, share=SHARE)
    hours = f"{len(services)} requests of {requests.span_s / 60:.0f} minutes, one by one; accelerator speed is an assumption"
    results.add(
        f"arrivals_{name}_machines", [needed], "machines",
        f"{SHARE:.0%} begin within {PATIENCE_S:g} s by an exact queue; {ceil(load)} by averages (load {load:.2f}); {hours}",
        control=True,
    )  # fmt: skip
    large, small = (float(requests.usd(size, numbers).sum()) for size in ("large", "small"))
    planned = cheapest(requests.first(KNOWN), numbers, patience_s=PATIENCE_S).machines
    hybrid = overflow(requests, planned, numbers, patience_s=PATIENCE_S)
    best = cheapest(requests, numbers, patience_s=PATIENCE_S)
    home = needed * numbers["gpu_usd_per_hour"] * requests.span_s / 3600
    plan = (
        f"{planned} machines by the first {KNOWN:.0%} of the arrivals, who would wait over {PATIENCE_S:g} s goes to the small "
        f"vendor ({hybrid.out / len(services):.1%}): {hybrid.usd:.3f} USD; all large {large:.3f}, all small {small:.3f}, all at "
        f"home {home:.3f}; {hours}; how right the answers are isn't in it"
    )
    for metric, value in (("share_of_all_external_large", hybrid.usd / large), ("ratio_to_hindsight", hybrid.usd / best.usd),
                          ("share_of_cheapest_single_side", hybrid.usd / min(small, home))):  # fmt: skip
        results.add(f"arrivals_{name}_{metric}", [value], "x", plan, control=True)


def text_rows(results: Results, services_s: Sequence[float]) -> None:
    """Measured seconds of a text answer at home before the Azure conversation's arrivals, faster and faster: threads that
    keep 95 in 100 answers within the target, by queue and by averages."""
    arrivals = read_requests(SHIPPED)["azure-conv"].arrivals_s
    taken = np.random.default_rng(20_260).choice(np.asarray(services_s), len(arrivals))
    planner = Planner(Trace(arrivals, taken), target_ms=TEXT_TARGET_MS, percentile=95)
    for factor in FACTORS:
        needed = planner.smallest(factor)
        load = planner.trace.load * factor
        outcome = planner.at(factor, needed) if needed else None
        results.add(
            f"arrivals_text_threads_{factor}x", [needed or 0], "threads",
            f"95 % of answers within {TEXT_TARGET_MS:g} ms at {factor} times the Azure 2023 conversation's arrivals, one by one, "
            f"{len(services_s)} measured answers of txt-base (mean {1000 * float(np.mean(services_s)):.2f} ms); averages say "
            f"{ceil(load)} (load {load:.2f}); p95 then {outcome.response_ms[95] if outcome else 0:.1f} ms",
            control=True,
        )  # fmt: skip


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    add_rows(Results("arrivals"))
