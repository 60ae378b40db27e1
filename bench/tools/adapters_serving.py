"""Many adapters in one server: what a swap takes, what a mixed batch costs, whether it is exact.

Times are the computing thread's own processor time, the forms in turn. `python -m bench.tools.adapters_serving` runs it alone.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from bench.common import Results
from bench.tools.adapters_common import encode, files, one_core, seeds
from modelhub import artifacts
from modelhub.ml import datasets, features, tokens
from modelhub.ml.adapters.finetune import BLOCKS
from modelhub.ml.adapters.inject import Adapter, AdapterShape
from modelhub.ml.adapters.stored import AdapterFile
from modelhub.ml.moe.encoder_graph import write_encoder
from modelhub.ml.text.adapted_graph import write_adapted
from modelhub.ml.text.torch_form import read_encoder
from modelhub.serving.runners.adapters import Adapters
from modelhub.serving.runtime import GraphSession, How

TEXTS, ADAPTERS, TURNS = 64, 8, 9
MOST_SWAP_MS, MOST_MIXED_PCT, EXACT = 2.0, 15.0, 1e-5


def rows(results: Results) -> None:
    """swap_ms, mixed_batch_pct, adapters_exact, with the costs of one adapter and of loading beside."""
    one_core()
    body, trunk_dir = files()
    with tempfile.TemporaryDirectory(prefix="switchyard-adapters-") as folder:
        home, kept = Path(folder), os.environ.get("SWITCHYARD_HOME")
        os.environ["SWITCHYARD_HOME"] = folder  # the adapted graph is written there
        try:
            bench = Bench(body, trunk_dir, home)
            bench.swaps(results)
            bench.mixed(results)
            bench.exact(results)
        finally:
            if kept is None:
                os.environ.pop("SWITCHYARD_HOME", None)
            else:
                os.environ["SWITCHYARD_HOME"] = kept


def some_adapter(seed: int, width: int = 384, method: str = "lora") -> AdapterFile:
    """Weights of the size of learned ones; their values change nothing about time."""
    shape = AdapterShape(method, BLOCKS)  # type: ignore[arg-type]
    rng, arrays = np.random.default_rng(seed), Adapter(shape, width, seed).arrays()
    for name in ("qkv_up", "out_up", "w2"):
        if name in arrays:
            arrays[name] = (0.03 * rng.standard_normal(arrays[name].shape)).astype(np.float32)
    return AdapterFile(method, BLOCKS, arrays)


class Bench:
    """A body, a batch of bank customers' questions, and adapters."""

    def __init__(self, body: Path, trunk_dir: Path, home: Path) -> None:
        self.body, self.home = body, home
        manifest = artifacts.load_manifest(body.parent)
        self.plain = GraphSession(body, How(model="txt-base"))
        self.bank = Adapters(body, manifest, How(model="txt-base"))
        ids = encode(trunk_dir, datasets.load("support-intent", "val").texts[:TEXTS])
        batch, mask = tokens.pad(ids)
        embedded = features.open_session(trunk_dir / "embed.onnx").run(["embedded"], {"input_ids": batch})[0]
        self.feed = {"embedded": embedded, "attention_mask": mask}
        self.adapters = [some_adapter(seed) for seed in range(ADAPTERS)]
        self.places = [self.bank.put(f"w@{i}", adapter) for i, adapter in enumerate(self.adapters)]

    # ------------------------------------------------------------------ swapping
    def swaps(self, results: Results) -> None:
        from_file, checked = [], []
        for seed in range(24):
            folder = self.home / "artifacts" / "txt-base" / "heads" / f"w@s{seed}"
            folder.mkdir(parents=True)
            own = some_adapter(100 + seed)
            save_file(own.arrays, str(folder / "adapter.safetensors"))
            told = {"id": folder.name, "kind": "text-head", "head": "w", "adapter": {"method": "lora", "blocks": BLOCKS},
                    "body_sha256": artifacts.digest(self.body)}  # fmt: skip
            artifacts.write_manifest(folder, told, {"adapter": "adapter.safetensors"})
        for seed in range(24):
            path = self.home / "artifacts" / "txt-base" / "heads" / f"w@s{seed}" / "adapter.safetensors"
            from_file.append(
                _ms(lambda p=path: self.bank.put("w@0", AdapterFile("lora", BLOCKS, load_file(str(p)))))
            )
        for seed in range(24):
            checked.append(_ms(lambda s=seed: self.bank.places_of([f"w@s{s}"])))
        how = (
            f"processor milliseconds from an adapter's file to its weights in the place of another, so that the next batch "
            f"answers with it; LoRA r=8 in {BLOCKS} blocks, {self.adapters[0].size / 1024:.0f} KiB; thirds of 24 swaps"
        )
        results.add(
            "swap_ms", [statistics.median(from_file[i::3]) for i in range(3)], "ms", how, at_most=MOST_SWAP_MS
        )
        results.add("swap_checked_ms", [statistics.median(checked[i::3]) for i in range(3)], "ms",
                    "the same into a place of its own, every file checked against its manifest first", control=True)  # fmt: skip

    # ------------------------------------------------------------------ mixing
    def mixed(self, results: Results) -> None:
        mixes = {
            "mixed": [self.places[i % ADAPTERS] if i % (ADAPTERS + 1) else 0 for i in range(TEXTS)],
            "one": [self.places[1]] * TEXTS,
        }
        found: dict[str, list[float]] = {name: [] for name in mixes}
        for _ in seeds():
            times: dict[str, list[float]] = {name: [] for name in ("plain", *mixes)}
            for _ in range(TURNS):
                times["plain"].append(_ms(lambda: self.plain.run(["features"], self.feed)))
                for name, places in mixes.items():
                    times[name].append(_ms(lambda p=places: self.bank.features(["features"], self.feed, p)))
            base = statistics.median(times["plain"])
            for name in mixes:
                found[name].append(100 * (statistics.median(times[name]) / base - 1))
        how = (
            f"processor time of a batch of {TEXTS} questions whose rows carry {ADAPTERS} adapters and none in turn, over the "
            f"same batch by the body alone; medians of {TURNS}, the forms in turn"
        )
        results.add("mixed_batch_pct", found["mixed"], "%", how, at_most=MOST_MIXED_PCT)
        results.add(
            "one_adapter_pct",
            found["one"],
            "%",
            "the same where every row carries the same adapter",
            control=True,
        )

    # ------------------------------------------------------------------ exactness
    def exact(self, results: Results) -> None:
        """In float32, where no rounding of a batch's activations stands between."""
        state, config = read_encoder(self.body)
        plain = self.home / "float.onnx"
        write_encoder(
            state, plain, layers=config.layers, attention_heads=config.attention_heads, form="moe", half=False
        )
        session = features.open_session(write_adapted(plain, self.home / "adapted.onnx", ["lora"], BLOCKS))
        stacks: dict[str, np.ndarray] = {}
        for entry in session.get_inputs():
            part, _, layer = entry.name.partition(".")
            if layer:
                own = [a.arrays[part][int(layer) - config.layers + BLOCKS] for a in self.adapters]
                stacks[entry.name] = np.stack([np.zeros_like(own[0]), *own])
        places = np.arange(TEXTS) % (ADAPTERS + 1)
        mixed = _run(session, self.feed, stacks, places)
        gaps = []
        for third in range(3):
            rows = range(third, TEXTS, 3)
            alone = [
                _run(session, {k: v[i : i + 1] for k, v in self.feed.items()}, stacks, places[i : i + 1])
                for i in rows
            ]
            gaps.append(float(np.abs(np.concatenate(alone) - mixed[list(rows)]).max()))
        how = f"largest difference of a feature, {TEXTS} rows of {ADAPTERS} adapters and none in one batch against alone, float32"
        results.add("mixed_batch_largest_difference", gaps, "", how, at_most=EXACT)


def _run(
    session: Any, feed: dict[str, np.ndarray], stacks: dict[str, np.ndarray], places: np.ndarray
) -> np.ndarray:
    return session.run(["features"], {**feed, **stacks, "adapter": places.astype(np.int64)})[0]


def _ms(call: Callable[[], Any]) -> float:
    started = time.thread_time()
    call()
    return 1000 * (time.thread_time() - started)


if __name__ == "__main__":
    rows(Results("adapters"))
