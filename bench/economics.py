"""The economics replay with every fact measured or read afresh: hybrid against single sides, random split and hindsight."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.common import ROOT, Results, Row
from bench.tools import arrivals
from costs.economics.answers import (
    SINGLE_SIDE,
    Ratio,
    accuracy_delta_points,
    cheapest_single_side,
    ratios,
    replay,
    tornado,
)
from costs.economics.assumptions import with_measured
from costs.economics.plans import Outcome
from costs.economics.streams import SHIPPED, WINDOW_S, WINDOWS, Facts, read_shapes
from modelhub import artifacts
from modelhub.ml import datasets, trunk
from modelhub.ml.tabular import data as tabular_data
from modelhub.serving.runners.tabular import TabularModel
from modelhub.serving.runners.text import TextClassifier

DATA = Path(os.environ.get("SWITCHYARD_DATA", ROOT.parent / "shared" / "data"))
SHIPPED_TRACE = ROOT / "data" / "traces" / "servegen_week.csv.gz"
FLOORS = (0.75, 0.80, 0.85, 0.90, 0.95, 1.0)
MIXES = 20  # other tenants in the six places
TARGETS = {
    "share_of_all_external_large": 0.30,
    "share_of_cheapest_single_side": 0.80,
    "ratio_to_hindsight": 1.25,
}
CPU_REPEATS, CPU_ROWS = 3, 120
INTERVAL = (
    "95 % interval over six resampled days, widened as Student's is (Hesterberg 2015); ten-minute rates of six ServeGen "
    "tenants, mean sizes and rates of chat from the Azure 2023 and Mooncake traces; machines planned anew each midnight"
)


def main() -> None:
    results = Results("economics")
    facts, changes = measured(results)
    shapes = read_shapes(SHIPPED_TRACE)
    outcomes = replay(changes, facts=facts, shapes=shapes)
    plan_rows(results, outcomes)
    ratio_rows(results, outcomes)
    delta = accuracy_delta_points(outcomes)
    results.rows.append(_row(
        "accuracy_delta_points", delta, "points",
        "hybrid less all external large, share right over all requests, at the default floors (chat: 0.75 of the best); "
        "where the large model was never measured (text, tables) it is taken to be as good as the best measured",
    ))  # fmt: skip
    floor_rows(results, facts, changes, shapes)
    tenant_rows(results, facts, changes)
    tornado_rows(results, facts, changes, shapes)
    arrivals.add_rows(results, changes)
    arrivals.text_rows(results, one_by_one())
    foresight_rows(results)
    results.write()


def _row(
    metric: str, value: float | None, unit: str, how: str, low: float | None = None, high: float | None = None, n: int = 1
) -> Row:  # fmt: skip
    print(
        f"  {metric:44} {value if value is None else round(value, 4)!s:>12} {unit:7} [{low} … {high}]",
        flush=True,
    )
    return Row(metric, value, unit, low, high, n, how)


# --- facts ----------------------------------------------------------------------------------------------------------


def measured(results: Results) -> tuple[tuple[Facts, ...], dict[str, float]]:
    """The shipped facts with what this machine and the data sets say now; the traces are read where they lie."""
    seconds = service_seconds()
    facts = [replace(one, private_s=seconds.get(one.workload, one.private_s)) for one in SHIPPED]
    changes: dict[str, float] = {}
    if (DATA / "traces").is_dir():
        sizes, prefix = trace_sizes()
        facts = [replace(one, **sizes.get(one.workload, {})) for one in facts]
        changes["prefix_cache_share"] = prefix
    if (DATA / "routing").is_dir():
        right = chat_accuracies()
        facts = [replace(one, **right.get(one.workload, {})) for one in facts]
    for one in facts:
        took = (
            "not measured (tokens ÷ assumed speed)"
            if one.private_s is None
            else f"{1000 * one.private_s:.3f} ms"
        )
        results.controls.append(_row(
            f"fact_{one.workload}", one.private, "share",
            f"{one.lob}, {one.kind}, {'bound' if one.bound else 'may leave'}: right at home; small {one.small}, large "
            f"{one.large}; {one.tokens_in:.0f} tokens in, {one.tokens_out:.0f} out, {one.rate:.2f} a second; at home {took}",
        ))  # fmt: skip
    return tuple(facts), changes


def service_seconds() -> dict[str, float]:
    """Thread CPU seconds an answer takes at home, one by one; the median of repeats."""
    base = TextClassifier(
        artifacts.find("txt-base"), trunk_dir=trunk.ensure_trunk(artifacts.home()), threads=1
    )
    table = TabularModel(artifacts.find("tabular-base"), threads=1)
    found = {}
    for workload in datasets.TEXT_WORKLOADS:
        texts = datasets.load(workload, "val").texts[:CPU_ROWS]
        found[workload] = _each(lambda text, w=workload: base.classify(w, [text]), texts)
    for one in SHIPPED:
        if one.kind == "tabular":
            records = tabular_data.load(one.workload, "val")[0][:CPU_ROWS]
            found[one.workload] = _each(lambda record, w=one.workload: table.predict(w, [record]), records)
    return found


def one_by_one() -> list[float]:
    """Thread CPU seconds of each of some answers of `support-intent` at home, the median of repeats."""
    base = TextClassifier(
        artifacts.find("txt-base"), trunk_dir=trunk.ensure_trunk(artifacts.home()), threads=1
    )
    return [_each(lambda t: base.classify("support-intent", [t]), [text])
            for text in datasets.load("support-intent", "val").texts[:CPU_ROWS]]  # fmt: skip


def _each(ask: Callable[[Any], Any], inputs: list[Any]) -> float:
    took = []
    for _ in range(CPU_REPEATS):
        began = time.process_time()
        for one in inputs:
            ask(one)
        took.append((time.process_time() - began) / len(inputs))
    return float(np.median(took))


def trace_sizes() -> tuple[dict[str, dict[str, float]], float]:
    """Mean tokens and rates of the chat traces; the share of Mooncake's prefix blocks that were seen before."""
    out: dict[str, dict[str, float]] = {}
    for workload, name in (("code-chat", "code"), ("customer-chat", "conv")):
        rows = pd.read_csv(DATA / "traces" / f"azure_llm_2023_{name}_part1.csv.gz")
        out[workload] = {
            "tokens_in": float(rows.context_tokens.mean()), "tokens_out": float(rows.generated_tokens.mean()),
            "rate": len(rows) / float(rows.arrival_s.max()),
        }  # fmt: skip
    seen: set[int] = set()
    blocks = hits = requests = tokens_in = tokens_out = last_ms = 0
    with gzip.open(DATA / "traces" / "mooncake_conversation_part1.jsonl.gz", "rt") as stream:
        for line in stream:
            one = json.loads(line)
            requests, last_ms = requests + 1, max(last_ms, one["timestamp"])
            tokens_in, tokens_out = tokens_in + one["input_length"], tokens_out + one["output_length"]
            blocks += len(one["hash_ids"])
            hits += sum(block in seen for block in one["hash_ids"])
            seen.update(one["hash_ids"])
    out["contract-documents"] = {
        "tokens_in": tokens_in / requests, "tokens_out": tokens_out / requests, "rate": 1000 * requests / last_ms,
    }  # fmt: skip
    return out, hits / blocks


def chat_accuracies() -> dict[str, dict[str, float]]:
    """Shares right of the open sparse model and of the large one, per-prompt tables: MMLU, and MBPP for code."""
    mmlu = pd.concat(
        pd.read_csv(DATA / "routing" / f"mmlu_mixtral_gpt4_{part}.csv.gz") for part in ("train", "val")
    )
    bench = pd.concat(
        pd.read_csv(DATA / "routing" / f"routerbench_11_models_{part}.csv.gz") for part in ("train", "val")
    )
    code = bench[bench.dataset == "mbpp"]
    small, large = float(mmlu.mixtral_8x7b_correct.mean()), float(mmlu.gpt_4_1106_correct.mean())
    open_code = float(code["mixtral-8x7b-chat:score"].mean())
    return {
        "customer-chat": {"private": small, "small": small, "large": large},
        "contract-documents": {"private": small},
        "code-chat": {
            "private": open_code, "small": open_code, "large": float(code["gpt-4-1106-preview:score"].mean()),
        },
    }  # fmt: skip


# --- figures --------------------------------------------------------------------------------------------------------


def plan_rows(results: Results, outcomes: Mapping[str, Outcome]) -> None:
    for name, one in outcomes.items():
        notes = [] if one.lawful else ["breaks residency: a yardstick"]
        notes += [] if one.floors else ["misses a floor"]
        results.controls.append(_row(
            f"usd_{name}", one.total_usd, "USD",
            f"six days; machines {sum(one.machines_usd):.2f} USD; right {one.right:.4f}; bound work that waited "
            f"{one.late_share:.5f}; {'; '.join(notes) or 'keeps residency and every floor'}; range: its days",
            min(one.usd), max(one.usd), len(one.usd),
        ))  # fmt: skip


def ratio_rows(results: Results, outcomes: Mapping[str, Outcome]) -> None:
    single = cheapest_single_side(outcomes)
    for name, ratio in ratios(outcomes).items():
        how = (
            f"hybrid ÷ {_against(name, single)}; {INTERVAL}; chat held to 0.75 of the best (rows chat_floor_* say what more "
            "costs); accelerator speed is an assumption: simulated"
        )
        target = TARGETS[name]
        row = _row(name, *(_ends(ratio)[:1]), "x", how, *_ends(ratio)[1:], len(outcomes["hybrid"].usd))
        met = None if ratio is None else ratio.value <= target
        results.rows.append(replace(row, target=f"<= {target:g}", met=met))


def _ends(ratio: Ratio | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if ratio is None else (ratio.value, ratio.low, ratio.high)


def _against(name: str, single: Outcome | None) -> str:
    if name == "share_of_cheapest_single_side":
        return f"the cheapest of {', '.join(SINGLE_SIDE)} that keeps residency and floors ({single.plan if single else 'none'})"
    return "all external at the large model's price" if "large" in name else "the best in hindsight"


def floor_rows(
    results: Results, facts: tuple[Facts, ...], changes: Mapping[str, float], shapes: Mapping[str, np.ndarray]
) -> None:
    """Accuracy beside cost: the front as the chat floor rises; hard work drawn at random for the large model."""
    for floor in FLOORS:
        outcomes = replay({**changes, "floor_chat": floor}, facts=facts, shapes=shapes)
        ratio = ratios(outcomes)["share_of_all_external_large"]
        results.controls.append(_row(
            f"share_of_all_external_large_chat_floor_{round(100 * floor)}", *_ends(ratio)[:1], "x",
            f"chat held to {floor:g} of the best: {accuracy_delta_points(outcomes):+.2f} points to all large; {INTERVAL}",
            *_ends(ratio)[1:], len(outcomes["hybrid"].usd),
        ))  # fmt: skip


def tenant_rows(results: Results, facts: tuple[Facts, ...], changes: Mapping[str, float]) -> None:
    """The same with other tenants of the trace in the six places: is it the shapes we happened to choose?"""
    path = DATA / "traces" / "servegen_m_small_rates_week1.csv.gz"
    if not path.is_file():
        return
    rows = pd.read_csv(path)
    weeks = {}
    for client, part in rows.groupby("client"):
        week = np.zeros(WINDOWS)
        week[(part.start_s // WINDOW_S).astype(int) % WINDOWS] = part.rate_rps
        if np.count_nonzero(week) >= 700:
            weeks[str(client)] = week / week.mean()
    names, places = sorted(weeks), sorted({one.client for one in facts})
    draw = np.random.default_rng(20_260)
    found: dict[str, list[float]] = {name: [] for name in TARGETS}
    for _ in range(MIXES):
        chosen = dict(zip(places, draw.choice(names, len(places), replace=False), strict=True))
        shapes = {place: weeks[client] for place, client in chosen.items()}
        for name, ratio in ratios(replay(changes, facts=facts, shapes=shapes), resamples=1).items():
            if ratio is not None:
                found[name].append(ratio.value)
    for name, values in found.items():
        results.add(
            f"{name}_other_tenants", values, "x", f"median of {MIXES} draws of six of the trace's {len(names)} busy tenants",
            control=True,
        )  # fmt: skip


def tornado_rows(
    results: Results, facts: tuple[Facts, ...], changes: Mapping[str, float], shapes: Mapping[str, np.ndarray]
) -> None:
    assumptions = with_measured(changes, "read from the trace")
    for name in TARGETS:
        for bar in tornado(name, changes, assumptions=assumptions, facts=facts, shapes=shapes)[:5]:
            one, ends = bar.assumption, [x for x in (bar.at_low, bar.at_high) if x is not None]
            results.controls.append(_row(
                f"tornado_{name}_{one.name}", bar.base, "x",
                f"at {one.low:g} {one.unit}: {bar.at_low}; at {one.high:g}: {bar.at_high} ({one.origin}: {one.source})",
                min(ends, default=None), max(ends, default=None),
            ))  # fmt: skip


def foresight_rows(results: Results) -> None:
    """Forecast and anomaly detection on months built from the traces."""
    from bench.foresight_tools import add_rows

    add_rows(results)


if __name__ == "__main__":
    main()
