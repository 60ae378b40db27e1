"""What serving costs inside one process: adapters taken in and mixed, nodes in whole numbers, expert counts."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import Results
from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.serving.runners.lm import CausalLM
from modelhub.serving.runners.text import TextClassifier
from modelhub.serving.runtime import CPU, executed

CONCURRENT = 16
REPEATS = 3
TOKENS = 64
PROMPTS = [
    "def mean(values):\n    ",
    "import os\nimport sys\n",
    "class Foo(",
    "return [x for x in ",
    "# The list of",
    "async def ",
]
HEADS = ("support-intent", "support-sentiment", "terms-review", "contract-clauses")


def rows(results: Results) -> None:
    adapter_rows(results)
    int8_rows(results)
    count_rows(results)


def adapter_rows(results: Results) -> None:
    """A head taken in from its files, and a batch of mixed heads against one of a single head."""
    model = TextClassifier(artifacts.find("txt-base"), threads=1)
    texts = datasets.load("support-intent", "val").texts[:64]
    one, mixed = [HEADS[0]] * len(texts), [HEADS[n % len(HEADS)] for n in range(len(texts))]
    model.classify_mixed(mixed, texts)
    ratios = []
    for _ in range(2 * REPEATS + 1):
        times = [
            cpu_seconds(lambda heads=heads: model.classify_mixed(heads, texts)) for heads in (one, mixed)
        ]  # type: ignore[misc]
        ratios.append(times[1] / times[0] - 1)
    how = f"txt-base, {len(texts)} texts: CPU time of a batch over {len(HEADS)} heads against one, less 1; the trunk runs once"
    results.add("mixed_adapter_batch_overhead", ratios, "share", how)
    folder, manifest = artifacts.find("txt-base"), model.manifest
    with tempfile.TemporaryDirectory() as home:
        target = Path(home) / "artifacts" / "txt-base" / "heads" / f"{HEADS[0]}@bench"
        target.mkdir(parents=True)
        shutil.copyfile(artifacts.file_of(folder, manifest, f"head:{HEADS[0]}"), target / "head.onnx")
        own = {"id": target.name, "kind": "text-head", "body_sha256": manifest["files"]["body"]["sha256"],
               "labels": manifest["heads"][HEADS[0]]["labels"]}  # fmt: skip
        artifacts.write_manifest(target, own, {"head": "head.onnx"})
        swaps = []
        before = os.environ.get("SWITCHYARD_HOME")
        os.environ["SWITCHYARD_HOME"] = home
        try:
            for _ in range(2 * REPEATS + 1):
                model.close()
                began = time.perf_counter()
                model.check_head(target.name)
                swaps.append(1000 * (time.perf_counter() - began))
        finally:
            os.environ.pop("SWITCHYARD_HOME")
            if before is not None:
                os.environ["SWITCHYARD_HOME"] = before
    results.add(
        "adapter_swap_ms",
        swaps,
        "ms",
        "txt-base: a fine-tuned head from its files into memory: hashed, checked, opened",
    )


def cpu_seconds(call: Callable[[], Any]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


def int8_rows(results: Results) -> None:
    """Models that are served whose bodies really ran nodes in whole numbers, by ONNX Runtime's own profile."""
    ids = np.array([[101, 2023, 2003, 102]])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    found = {}
    for model_id in ("txt-base", "txt-edge"):
        folder = artifacts.find(model_id)
        manifest = artifacts.load_manifest(folder)
        body = artifacts.file_of(folder, manifest, manifest.get("forms", {}).get("body", ["body"])[0])
        own = feed if model_id == "txt-edge" else {"pooled": np.ones((1, 384), np.float32)}
        try:
            ran = executed(body, 1, [CPU], own)
        except Exception as error:  # a body with other inputs is another model than this row knows
            found[model_id] = f"not asked ({type(error).__name__})"
            continue
        whole = {
            name: count
            for (name, _), count in ran.items()
            if "Quant" in name or "Integer" in name or name == "QMoE"
        }
        found[model_id] = whole or "float32"
    count = sum(isinstance(value, dict) for value in found.values())
    results.add(
        "served_int8_models",
        [float(count)],
        "models",
        f"nodes that ran in whole numbers, by profile: {found}",
    )


def count_rows(results: Results) -> None:
    """What expert counts of one step in sixteen cost the language model, in CPU time of the same tokens."""
    model = CausalLM(artifacts.find("lm-tiny"), threads=1)
    prompts = [model.text_prompt(PROMPTS[n % len(PROMPTS)]) for n in range(CONCURRENT)]

    def run(every: int) -> float:
        batch, step = model.new_batch(), 0
        for n, prompt in enumerate(prompts):
            batch.add(prompt, TOKENS, 1.0, 0.95, n)
        began = time.thread_time()
        while len(batch):
            step += 1
            batch.step((lambda rows, counts: counts.sum(0)) if every and step % every == 0 else None)
        return time.thread_time() - began

    run(0)
    costs = []
    for _ in range(2 * REPEATS + 1):
        plain, counted = run(0), run(16)
        costs.append(counted / plain - 1)
    results.add(
        "expert_count_cost",
        costs,
        "share",
        f"lm-tiny, {CONCURRENT} answers at once, counts of one step in 16",
        at_most=0.01,
    )
