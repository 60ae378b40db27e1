"""`python -m modelhub.ml.train.encoder --variant upcycled --seed 1`: one encoder, trained, judged and written down.

Variants: the three sparse trunks, and for each `-dense-total`, `-dense-active`, `-random-router`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from modelhub.ml.text.encoder import (
    EncoderConfig,
    SparseEncoder,
    count_parameters,
    flops_per_token,
    mean_by_text,
)
from modelhub.ml.text.packing import TokenRows, pack
from modelhub.ml.text.pretrained import Pretrained, load_corpus, states
from modelhub.ml.text.split import folds
from modelhub.ml.text.upcycle import start_from
from modelhub.ml.train.encoder_loop import (
    EncoderTraining,
    Materials,
    evaluate,
    reached_plateau,
    train_encoder,
)

TRUNKS: dict[str, EncoderConfig] = {
    "split": EncoderConfig(kind="split", experts=16, hidden=96, shared=0),
    "upcycled": EncoderConfig(kind="upcycled", experts=36, hidden=96, shared=96),
    "sparse": EncoderConfig(
        kind="sparse",
        start="random",
        width=256,
        layers=3,
        attention_heads=8,
        experts=32,
        hidden=128,
        shared=128,
    ),
}
DEFAULTS, FOLDS, ENOUGH_ROWS = EncoderTraining(), 5, 1000
MEAN_CHOSEN = (
    3.45  # experts a token uses in the trained upcycled network: the dense baseline's width follows from it
)
TEXT_TOKENS = 32  # the length that FLOPs per token are given for


def shape_of(variant: str) -> EncoderConfig:
    """The configuration that a variant's name stands for. Raises KeyError."""
    base, _, beside = variant.partition("-")
    config = TRUNKS[base]
    if not beside:
        return config
    if beside == "random-router":
        return replace(config, random_router=True)
    if beside == "dense-total":
        return config.dense(config.total_hidden)
    if beside == "dense-active":
        return config.dense(round(config.active_hidden(MEAN_CHOSEN)))
    raise KeyError(
        f"{variant!r} is no variant: use {', '.join(TRUNKS)}, with -dense-total, -dense-active, -random-router"
    )


def build(config: EncoderConfig, trunk: Pretrained, rows: TokenRows, seed: int) -> SparseEncoder:
    """An encoder at its start, seeded."""
    torch.manual_seed(seed)
    model = SparseEncoder(config, {name: len(labels) for name, labels in rows.labels.items()})
    if config.start == "pretrained":
        start_from(model, trunk, rows, seed=seed)
    return model


@torch.no_grad()
def pooled_targets(
    trunk: Pretrained, rows: TokenRows, device: str, width: int, kept: Path | None = None
) -> Tensor:
    """The trunk's own pooled state of every row, (N, 384), read from the file `kept` where it stands."""
    if kept is not None and kept.is_file():
        return torch.from_numpy(np.load(kept))
    weights = {name: tensor.to(device) for name, tensor in trunk.weights.items()}
    embeddings, found = trunk.embeddings(device), []
    for which in np.array_split(np.arange(len(rows)), max(1, len(rows) // 256)):
        batch = pack(rows, which, width).to(device)
        found.append(
            mean_by_text(states(weights, embeddings(batch), batch)[0], batch.segment, batch.texts).cpu()
        )
    targets = torch.cat(found)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, targets.numpy())
    return targets


def fold_rows(train: TokenRows, val: TokenRows, fold: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of train and val together to learn from and to judge by, in one fold of the small workloads.

    The others lend their training rows and are not judged. The folds are those of `text.crossval`.
    """
    learn, judge = [], []
    for index in range(len(train.names)):
        mine, held = (
            np.flatnonzero(train.workload == index),
            len(train) + np.flatnonzero(val.workload == index),
        )
        if len(held) >= ENOUGH_ROWS:
            learn.append(mine)
            continue
        whole = np.concatenate([mine, held])
        y = np.concatenate([train.y, val.y])[whole]
        out = folds(y, FOLDS, seed)[fold]
        judge.append(whole[out])
        learn.append(whole[np.setdiff1d(np.arange(len(whole)), out)])
    return np.concatenate(learn), np.concatenate(judge)


def prepare(
    training: EncoderTraining,
    carried: Path | None,
    limit: int | None,
    kept: Path | None,
    fold: int | None = None,
) -> tuple[Pretrained, Materials]:
    """Everything a run needs, on its device; `fold` takes one of five folds instead of the shipped split."""
    trunk, rows = load_corpus(carried, limit)
    train, val = rows["train"], rows["val"]
    both = train.join(val)
    targets = pooled_targets(trunk, both, training.device, training.width, kept)
    learn, judge = np.arange(len(train)), len(train) + np.arange(len(val))
    if fold is not None:
        learn, judge = fold_rows(train, val, fold, seed=1)
    weights = trunk.weights if training.invented else {}
    materials = Materials(
        trunk.embeddings(training.device),
        both.take(learn),
        both.take(judge),
        targets[torch.from_numpy(learn)],
        {name: tensor.to(training.device) for name, tensor in weights.items()},
    )
    return trunk, materials


def run(
    variant: str,
    training: EncoderTraining,
    trunk: Pretrained,
    materials: Materials,
    *,
    work: Path | None = None,
    progress: Any = None,
) -> tuple[SparseEncoder, dict[str, Any], dict[str, np.ndarray]]:
    """Train one variant; give it, its report (figures, curve, controls) and its logits on validation rows."""
    started = time.monotonic()
    config = shape_of(variant)
    model = build(config, trunk, materials.train, training.seed)
    begun = evaluate(model.to(training.device), materials, training)[0]
    curve = train_encoder(model, materials, training, work=work, progress=progress)
    final, logits, loads = evaluate(model, materials, training)
    chosen = final["experts_used"] or 0.0
    report: dict[str, Any] = {
        "variant": variant,
        "seed": training.seed,
        "device": training.device,
        "rates": [training.rate, training.new_rate],
        "final": final,
        "at_start": begun,
        "parameters": count_parameters(model, chosen),
        "flops_per_token": flops_per_token(config, chosen, TEXT_TOKENS),
        "steps": sum(point["steps"] for point in curve),
        "cpu_s": curve[-1]["cpu_s"],
        "wall_s": round(time.monotonic() - started, 1),
        "plateau": reached_plateau([point["accuracy"] for point in curve], len(materials.val)),
        "curve": curve,
    }
    model.silence(True)
    report["ffn_zero"] = evaluate(model, materials, training)[0]
    model.silence(False)
    if config.experts and not config.random_router:
        for block in model.blocks:
            block.experts.gate.random_router = True  # type: ignore[union-attr]
        report["shuffled_gate"] = evaluate(model, materials, training)[0]
        for block in model.blocks:
            block.experts.gate.random_router = False  # type: ignore[union-attr]
        report["expert_tokens"] = loads.astype(int).tolist()
    return model, report, logits


def write(out: Path, model: SparseEncoder, report: dict[str, Any], logits: dict[str, np.ndarray]) -> None:
    """Write `<variant>-<seed>.json`, its logits, and its weights in 16 bits."""
    import json

    out.mkdir(parents=True, exist_ok=True)
    name = f"{report['variant']}-{report['seed']}"
    if report.get("fold") is not None:
        name += f"-fold{report['fold']}"
    halves = {key: torch.from_numpy(value).half() for key, value in logits.items()}
    save_file(halves, str(out / f"{name}.logits.safetensors"))
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    save_file(
        {key: (v.half() if v.dim() > 1 else v).contiguous() for key, v in state.items()},
        str(out / f"{name}.weights.safetensors"),
    )
    (out / f"{name}.json").write_text(json.dumps(report, indent=1), "utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one variant and write it down; a run that was cut goes on from its last evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fold", type=int, help="judge by one of five folds of the small workloads")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument(
        "--carried", type=Path, help="the folder that `pretrained.carry` wrote; else wheel and data"
    )
    parser.add_argument("--targets", type=Path, help="where the trunk's pooled states are kept")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--half", action="store_true", help="bfloat16 products")
    parser.add_argument("--form", help="how experts run: sorted, grouped, all …")
    parser.add_argument("--budget-s", type=float, help="processor seconds of training, instead of --epochs")
    parser.add_argument("--epochs", type=float, default=DEFAULTS.epochs)
    parser.add_argument(
        "--rate", type=float, default=DEFAULTS.rate, help="of weights that come from the trunk"
    )
    parser.add_argument(
        "--new-rate", type=float, default=DEFAULTS.new_rate, help="of weights that start at random"
    )
    parser.add_argument("--batch", type=int, default=DEFAULTS.batch)
    parser.add_argument("--width", type=int, default=DEFAULTS.width)
    parser.add_argument("--invented", type=int, default=0, help="invented texts beside every batch")
    parser.add_argument("--evaluations", type=int, default=DEFAULTS.evaluations)
    parser.add_argument("--limit", type=int, help="so many rows of each workload: a trial of the pipeline")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    training = EncoderTraining(
        epochs=given.epochs, budget_s=given.budget_s, batch=given.batch, width=given.width, half=given.half,
        evaluations=given.evaluations, seed=given.seed, device=given.device, form=given.form,
        rate=given.rate, new_rate=given.new_rate, invented=given.invented,
    )  # fmt: skip
    trunk, materials = prepare(training, given.carried, given.limit, given.targets, given.fold)

    def told(point: dict[str, Any]) -> None:
        print(f"{given.variant} {given.seed} {point}", file=sys.stderr, flush=True)

    made = run(given.variant, training, trunk, materials, work=given.work, progress=told)
    made[1]["fold"] = given.fold
    write(given.out, *made)


if __name__ == "__main__":
    main()
