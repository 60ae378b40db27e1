"""Experts taught to be specialists: the last blocks learn which line of business a token belongs to, the rest stays frozen.

`python -m modelhub.ml.activation.specialise --out FILE` runs it on the shipped model and goes on where it was cut; nothing that
ships is changed. To the loss, which keeps the answers of the model as it was, the gates add what experts tell about workloads:

    spread · H(E) − focus · H(E | W)    (equal weights: their mutual information)

W is the workload of a token, E an expert, both entropies over the gate's own probabilities in a batch. Beside it stand the
same steps without that term, and the model as it ships. Then an expert pair is switched off: see `specialised`.
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
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelhub import artifacts
from modelhub.ml.activation import specialised
from modelhub.ml.activation.served_encoder import States, load, lower, upper, upper_all
from modelhub.ml.moe.gate import DynamicGate
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.packing import Batch, TokenRows
from modelhub.ml.train.encoder_loop import HeadMap

ARMS = ("shipped", "unspecialised", "gates", "experts")
WORDS = {
    "shipped": "as shipped",
    "unspecialised": "gates, experts and heads of the last blocks, without the term",
    "gates": "gates of the last blocks alone, with the term",
    "experts": "gates, experts and heads of the last blocks, with the term",
}
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Config:
    """`rows` of each workload are learnt from, `batch` of each a step; `judged` of each are judged."""

    seeds: tuple[int, ...] = (1, 2, 3)
    arms: tuple[str, ...] = ARMS
    blocks: int = 2
    rows: int = 600
    judged: int = 250
    steps: int = 120
    batch: int = 8
    rate: float = 3e-4
    gate_rate: float = 3e-3
    head_rate: float = 3e-4
    weight: float = 0.3
    spread: float = 1.0
    focus: float = 1.0
    width: int = 256


@dataclass(slots=True)
class Ground:
    """What all runs share: the model as it ships, and the states that its last blocks are given."""

    model: SparseEncoder
    first: int
    train: TokenRows
    val: TokenRows
    train_states: States
    val_states: States
    targets: Tensor  # (N, L) probabilities of the model as it ships, by its own head


def informed(probabilities: Tensor, owner: Tensor, workloads: int, spread: float, focus: float) -> Tensor:
    """spread · H(E) − focus · H(E|W), workloads weighing alike. Shapes: probabilities (T, E), owner (T,), -1 for filling."""
    used = owner >= 0
    total = probabilities.new_zeros(workloads, probabilities.size(1))
    total = total.index_add(0, owner[used], probabilities[used])
    by_workload = total / total.sum(dim=1, keepdim=True).clamp_min(1e-9)
    by_workload = by_workload[total.sum(dim=1) > 0]
    inside = _entropy(by_workload).mean()
    return spread * _entropy(by_workload.mean(dim=0)) - focus * inside


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp_min(1e-9).log()).sum(dim=-1)


def trained(ground: Ground, arm: str, config: Config, seed: int) -> SparseEncoder:
    """A copy of the model whose last blocks learnt on; `shipped` is the model itself. Raises ValueError for another arm."""
    if arm not in ARMS:
        raise ValueError(f"arm {arm!r} is none of {', '.join(ARMS)}")
    if arm == "shipped":
        return ground.model
    model = deepcopy(ground.model).requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(model, ground.first, arm, config), weight_decay=0.0)
    heads, weight = HeadMap(model, "cpu"), 0.0 if arm == "unspecialised" else config.weight
    rng = np.random.default_rng((seed, 7))
    torch.manual_seed(seed)
    model.train()
    own = [np.flatnonzero(ground.train.workload == i) for i in range(len(ground.train.names))]
    seen: list[tuple[DynamicGate, Tensor]] = []
    hooks = [
        gate.register_forward_pre_hook(lambda gate, given: seen.append((gate, given[0])))
        for gate in _gates(model, ground.first)
    ]
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, 20 * (step + 1) / config.steps) * (1 - step / config.steps)
        which = np.concatenate([rng.choice(rows, config.batch) for rows in own])
        seen.clear()
        x, batch = ground.train_states.batch(which, config.width)
        pooled, _ = upper(model, ground.first, x, batch)
        workload = torch.from_numpy(ground.train.workload[which])
        logits = heads.logits(model, model.dropout(model.features(pooled)), workload)
        loss = -(ground.targets[which].float() * logits.log_softmax(dim=1)).sum(dim=1).mean()
        if weight:
            owner = owners(batch, workload)
            told = [
                informed(gate.logits(given).softmax(dim=-1), owner, len(own), config.spread, config.focus)
                for gate, given in seen
            ]
            loss = loss - weight * torch.stack(told).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    for hook in hooks:
        hook.remove()
    return model.eval()


def owners(batch: Batch, workload: Tensor) -> Tensor:
    """The workload of each token, -1 for filling. Shapes: workload (texts,) -> (S · T,)."""
    segment = batch.segment.flatten()
    return torch.where(segment < 0, -1, workload[segment.clamp_min(0)])


def _gates(model: SparseEncoder, first: int) -> list[DynamicGate]:
    return [block.experts.gate for block in model.blocks[first:] if block.experts.gate is not None]


def _groups(model: SparseEncoder, first: int, arm: str, config: Config) -> list[dict[str, Any]]:
    found: dict[str, list[Tensor]] = {"gate": [], "expert": [], "head": []}
    for name, parameter in model.named_parameters():
        late = name.startswith("layers.") and int(name.split(".")[1]) >= first
        if late and ".gate." in name:
            found["gate"].append(parameter)
        elif arm != "gates" and late and ".experts." in name:
            found["expert"].append(parameter)
        elif arm != "gates" and name.startswith(("heads.", "norm.")):
            found["head"].append(parameter)
    peaks = {"gate": config.gate_rate, "expert": config.rate, "head": config.head_rate}
    for own in found.values():
        for held in own:
            held.requires_grad_(True)
    return [{"params": own, "peak": peaks[kind]} for kind, own in found.items() if own]


# --- the ground and the runs --------------------------------------------------------------------------------------------


def first_of_each(rows: TokenRows, count: int, seed: int | None = None) -> np.ndarray:
    """Positions of at most so many rows of each workload: the first ones, or drawn by a seed."""
    found = []
    for index in range(len(rows.names)):
        own = np.flatnonzero(rows.workload == index)
        if seed is not None:
            own = np.random.default_rng((seed, index)).permutation(own)
        found.append(np.sort(own[:count]))
    return np.concatenate(found)


def prepare(directory: Path, config: Config, progress: Progress | None = None) -> Ground:
    """Read the model and the corpus, and compute what is frozen once."""
    from modelhub.ml.text.pretrained import load_corpus

    model, (trunk, rows) = load(directory).model, load_corpus()
    first, embeddings = model.config.layers - config.blocks, trunk.embeddings()
    train = rows["train"].take(first_of_each(rows["train"], config.rows, seed=0))
    val = rows["val"].take(first_of_each(rows["val"], config.judged))
    found = [
        lower(model, embeddings, part, first, width=config.width, progress=progress)[0]
        for part in (train, val)
    ]
    features, _ = upper_all(model, first, found[0], config.width)
    with torch.no_grad():
        logits = HeadMap(model, "cpu").logits(
            model, torch.from_numpy(features), torch.from_numpy(train.workload)
        )
    return Ground(model, first, train, val, found[0], found[1], logits.softmax(dim=1).half())


def run_once(ground: Ground, arm: str, config: Config, seed: int) -> dict[str, Any]:
    """Train one arm and judge it. Gives what `specialised.judge` gives, and the seconds it took."""
    began = time.process_time()
    model = trained(ground, arm, config, seed)
    seconds = time.process_time() - began
    report = specialised.judge(model, ground.first, ground.val, ground.val_states, config.width, seed)
    return {"arm": arm, "seed": seed, "train_cpu_s": round(seconds, 1), **report}


def run_all(
    ground: Ground, config: Config, work: Path, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Every arm and seed; what `work` holds already isn't run again. The model as it ships has no seed but the first."""
    work.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in config.seeds:
        for arm in config.arms:
            if arm == "shipped" and seed != config.seeds[0]:
                continue
            kept = work / f"{arm}-{seed}.json"
            if not kept.is_file():
                artifacts.write_json(kept, run_once(ground, arm, config, seed))
            found.append(json.loads(kept.read_text("utf-8")))
            if progress is not None:
                progress(f"{arm}, seed {seed}: {json.dumps(specialised.brief(found[-1]))}")
    return found


def run_key(directory: Path, config: Config) -> str:
    """A name for the runs of this model under this configuration."""
    body = artifacts.load_manifest(directory)["files"]["body"]["sha256"]
    kept = {name: value for name, value in asdict(config).items() if name not in ("seeds", "arms")}
    return hashlib.sha256(json.dumps([body, kept]).encode()).hexdigest()[:16]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the arms, print each, keep the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="txt-base")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=artifacts.home() / "train" / "specialise")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(Config().seeds))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    for name in ("blocks", "steps", "weight", "spread", "focus", "gate_rate", "rate", "judged", "rows"):
        kind = type(getattr(Config(), name))
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Config(), name))
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    torch.set_num_threads(1)
    directory = artifacts.find(given.pop("model"))
    out, work = given.pop("out"), given.pop("work")
    given |= {name: tuple(given[name]) for name in ("seeds", "arms")}
    config = Config(**given)

    def told(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    runs = run_all(prepare(directory, config, told), config, work / run_key(directory, config), told)
    artifacts.write_json(out, {"config": asdict(config), "runs": runs})


if __name__ == "__main__":
    main()
