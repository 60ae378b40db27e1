"""The data loop, closed: weak busy experts → their slices → cleaned and oversampled rows → training → what it changed.

`python -m modelhub.ml.activation.loop --out FILE [--write]` runs it on the shipped model and goes on where it was cut.

Validation rows are halved: one half names the experts and slices, the other judges; then the halves change places. Extra rows
come from training rows only. Beside every run stands one with as many random rows, from the same start, seed and steps. What
is trained further: the experts and gates of the last blocks, the last norm and the heads; everything below is frozen, and its
states are computed once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelhub import artifacts
from modelhub.ml.activation import loop_rows
from modelhub.ml.activation.cards import Rows
from modelhub.ml.activation.loop_rows import Chosen, Finding
from modelhub.ml.activation.served_encoder import (
    Served,
    States,
    load,
    lower,
    observed,
    right_answers,
    upper,
    upper_all,
    wide_logits,
)
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.packing import TokenRows
from modelhub.ml.train.encoder_loop import HeadMap

ARMS = ("weak_rows", "random_rows")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """`extra` rows are drawn for each arm; each step learns from `batch` of them and as many usual ones."""

    seeds: tuple[int, ...] = (1, 2, 3)
    experts: int = 3
    extra: int = 720
    pool: int = 4000
    steps: int = 60
    batch: int = 24
    blocks: int = 2
    rate: float = 2e-4
    head_rate: float = 1e-3
    smoothing: float = 0.05
    width: int = 256


@dataclass(slots=True)
class Ground:
    """Everything the runs share: where they start, the states below the trained blocks, who answers what before."""

    served: Served
    first: int
    train: TokenRows
    val: TokenRows
    seen: Rows
    val_states: States
    train_states: States
    place: dict[int, int]  # position of a training row → its place among the states
    pool: np.ndarray  # training rows drawn at random, once: the usual ones
    sides: dict[str, np.ndarray]


def trained_further(
    model: SparseEncoder,
    ground: Ground,
    extra: np.ndarray,
    usual: np.ndarray,
    config: LoopConfig,
    seed: int,
) -> SparseEncoder:
    """A copy of the model, trained on the extra rows and usual ones side by side; rates fall to nothing."""
    model = deepcopy(model).requires_grad_(False)
    groups = _trainable(model, ground.first)
    optimizer = torch.optim.AdamW(
        [
            {"params": groups["experts"], "peak": config.rate},
            {"params": groups["heads"], "peak": config.head_rate},
        ],
        lr=config.rate,
        weight_decay=0.01,
    )
    heads = HeadMap(model, "cpu")
    rng = np.random.default_rng((seed, 3))
    torch.manual_seed(seed)
    model.train()
    turns = np.concatenate(
        [rng.permutation(extra) for _ in range(1 + config.steps * config.batch // len(extra))]
    )
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * (1 - step / config.steps)
        drawn = turns[step * config.batch : (step + 1) * config.batch]
        which = np.concatenate([rng.choice(usual, config.batch), drawn])
        x, batch = ground.train_states.batch(np.array([ground.place[int(i)] for i in which]), config.width)
        pooled, _ = upper(model, ground.first, x, batch)
        y, workload = (torch.from_numpy(values[which]) for values in (ground.train.y, ground.train.workload))
        logits = heads.logits(model, model.dropout(model.features(pooled)), workload)
        loss = heads.loss(logits, y, workload, config.smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return model.eval()


def _trainable(model: SparseEncoder, first: int) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {"experts": [], "heads": []}
    for name, parameter in model.named_parameters():
        layer = int(name.split(".")[1]) if name.startswith("layers.") else -1
        if layer >= first and ".experts." in name:
            found["experts"].append(parameter.requires_grad_(True))
        elif name.startswith(("heads.", "norm.")):
            found["heads"].append(parameter.requires_grad_(True))
    return found


def run_once(
    ground: Ground, finding: Finding, rows: np.ndarray, usual: np.ndarray, config: LoopConfig, seed: int
) -> np.ndarray:
    """Which judged rows are right after training on these rows. Gives (judged,) of bool."""
    model = trained_further(ground.served.model, ground, rows, usual, config, seed)
    features, _ = upper_all(model, ground.first, ground.val_states, config.width)
    return right_answers(model, ground.val, features, ground.sides)[finding.judged]


def close_loop(
    ground: Ground, config: LoopConfig, work: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Both directions, both arms, every seed. Runs that `work` holds already are not run again."""
    work.mkdir(parents=True, exist_ok=True)
    findings, chosen, usual = plan(ground.seen, ground.train, ground.val, config)
    assert ground.seen.correct is not None
    after: dict[str, dict[int, list[np.ndarray]]] = {arm: {seed: [] for seed in config.seeds} for arm in ARMS}
    for which, finding in enumerate(findings):
        for seed in config.seeds:
            arms = {"weak_rows": chosen[which][seed].extra, "random_rows": usual[which][seed]}
            for arm, extra in arms.items():
                kept = work / f"{which}-{seed}-{arm}.npy"
                if not kept.is_file():
                    began = time.process_time()
                    # leaving suspect rows out is part of the treatment; the control learns from rows as they are
                    left_out = chosen[which][seed].suspect if arm == "weak_rows" else ground.pool[:0]
                    pool = np.setdiff1d(ground.pool, left_out)
                    found = run_once(ground, finding, extra, pool, config, seed)
                    np.save(kept.with_suffix(".part.npy"), found)
                    kept.with_suffix(".part.npy").replace(kept)
                    if progress is not None:
                        progress(f"half {which}, seed {seed}, {arm}: {time.process_time() - began:.0f} s")
                after[arm][seed].append(np.load(kept))
    before = np.concatenate([ground.seen.correct[f.judged] for f in findings])
    on = np.concatenate([f.on_slices for f in findings])
    changes = {
        arm: changed(before, [np.concatenate(found[seed]) for seed in config.seeds], on)
        for arm, found in after.items()
    }
    return {
        "config": asdict(config),
        "trained": f"experts and gates of the last {config.blocks} blocks, the last norm and every head",
        "before": {"overall": float(before.mean()), "slices": float(before[on].mean())},
        "rows": {"judged": len(before), "on_slices": int(on.sum())},
        "findings": [_finding(f, chosen[i]) for i, f in enumerate(findings)],
        "changes": changes,
    }


def plan(
    seen: Rows, train: TokenRows, val: TokenRows, config: LoopConfig
) -> tuple[list[Finding], list[dict[int, Chosen]], list[dict[int, np.ndarray]]]:
    """What each half finds, the rows chosen for it by seed, and the random rows of the control by seed."""
    half = loop_rows.halves(val)
    findings = [loop_rows.find(seen, half, which, config.experts) for which in (0, 1)]
    chosen = [
        {seed: loop_rows.choose(train, f.slices, config.extra, seed) for seed in config.seeds}
        for f in findings
    ]
    control = [
        {seed: loop_rows.random_rows(train, config.extra, seed + 100 * w) for seed in config.seeds}
        for w in (0, 1)
    ]
    return findings, chosen, control


def changed(before: np.ndarray, after: list[np.ndarray], on: np.ndarray) -> dict[str, Any]:
    """Points gained on the slices, elsewhere and over all, seed by seed, with their medians and ranges."""
    places = {"slices": on, "elsewhere": ~on, "overall": np.ones(len(on), bool)}
    found = {}
    for name, mask in places.items():
        by_seed = [round(100 * float(one[mask].mean() - before[mask].mean()), 3) for one in after]
        found[name] = {
            "by_seed": by_seed,
            "median": median(by_seed),
            "low": min(by_seed),
            "high": max(by_seed),
        }
    return found


def _finding(finding: Finding, chosen: dict[int, Chosen]) -> dict[str, Any]:
    one = next(iter(chosen.values()))
    return {
        "experts": [
            {
                "layer": w.layer, "expert": w.expert, "load": round(w.load, 5), "accuracy": round(w.accuracy, 4),
                "rows": w.rows,
            }
            for w in finding.weakest
        ],
        "slices": [dict(zip(("head", "label"), name.split("\t"), strict=True)) for name in finding.slices],
        "training_rows": len(one.own) + len(one.suspect),
        "left_out": len(one.suspect),
    }  # fmt: skip


def prepare(directory: Path, config: LoopConfig, progress: Progress | None = None) -> Ground:
    """Read the model and the corpus, and compute what is frozen once."""
    from modelhub.ml import trunk as trunks
    from modelhub.ml.text.pretrained import load_corpus

    served, (trunk, rows) = load(directory), load_corpus()
    first = served.model.config.layers - config.blocks
    train, val, embeddings = rows["train"], rows["val"], trunk.embeddings()
    val_states, low = lower(served.model, embeddings, val, first, width=config.width, progress=progress)
    features, high = upper_all(served.model, first, val_states, config.width)
    sides = wide_logits(served, "val", trunks.find_weights() / "tokenizer.json")
    right = right_answers(served.model, val, features, sides)
    seen = observed(val, np.concatenate([low, high], axis=1), right, config.width)
    _, chosen, control = plan(seen, train, val, config)
    pool = np.random.default_rng(0).choice(len(train), min(config.pool, len(train)), replace=False)
    wanted = [
        pool,
        *(c.extra for by in chosen for c in by.values()),
        *(c for by in control for c in by.values()),
    ]
    held = np.unique(np.concatenate(wanted))
    states, _ = lower(
        served.model, embeddings, train.take(held), first, width=config.width, progress=progress
    )
    place = {int(row): i for i, row in enumerate(held)}
    return Ground(served, first, train, val, seen, val_states, states, place, np.sort(pool), sides)


def run_key(directory: Path, config: LoopConfig) -> str:
    """A name for the runs of this model under this configuration: what another one kept is never taken for its own."""
    body = artifacts.load_manifest(directory)["files"]["body"]["sha256"]
    return hashlib.sha256(json.dumps([body, asdict(config)]).encode()).hexdigest()[:16]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the loop, print what changed, keep the report; `--write` puts it into the model's manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="txt-base")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=artifacts.home() / "train" / "data-loop")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(LoopConfig().seeds))
    parser.add_argument("--extra", type=int, default=LoopConfig().extra)
    parser.add_argument("--steps", type=int, default=LoopConfig().steps)
    parser.add_argument(
        "--write", action="store_true", help="put the report into the manifest's section `experts`"
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def told(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    config = LoopConfig(seeds=tuple(given.seeds), extra=given.extra, steps=given.steps)
    directory, began = artifacts.find(given.model), time.process_time()
    work = given.work / run_key(directory, config)
    report = close_loop(prepare(directory, config, told), config, work, told)
    report["cpu_s"] = round(time.process_time() - began)
    artifacts.write_json(given.out, report)
    if given.write:
        manifest = artifacts.load_manifest(directory)
        experts = manifest.get("experts", {}) | {"loop": report}
        artifacts.write_json(directory / artifacts.MANIFEST, manifest | {"experts": experts})
    print(json.dumps(report["changes"], indent=1))


if __name__ == "__main__":
    main()
