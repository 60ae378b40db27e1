"""`txt-base`: the frozen trunk, Dynamic Gating blocks, and a wide channel per head, as one artifact."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml import export, tokens, trunk
from modelhub.ml.features import WIDE_TOKENS
from modelhub.ml.moe.model import GatingClassifier, GatingConfig, active_parameters, mean_experts_used
from modelhub.ml.text import card, controls, crossval, evaluate, graphs, wide
from modelhub.ml.text.blend import Blend, fit_blend
from modelhub.ml.text.corpus import Part, Parts, load_parts
from modelhub.ml.train.loop import Progress, TrainConfig, deep_logits, train_gating

TRUNK_PARAMETERS = 22_713_216
TRUNK_EMBEDDING = 30_522 * 384 + 512 * 384 + 2 * 384
WIDE: dict[str, wide.WideConfig] = {
    "support-intent": wide.WideConfig(least_texts=2),
    "assistant-intent": wide.WideConfig(least_texts=2),
    "support-sentiment": wide.WideConfig(),
    "contract-clauses": wide.WideConfig(least_texts=2),
    "terms-review": wide.WideConfig(),
    "clinical-notes": wide.WideConfig(least_texts=2),
}


def make_base(
    out: Path,
    *,
    work: Path,
    config: TrainConfig,
    limit: int | None = None,
    fold_figures: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train, blend, export, check and describe `txt-base`; gives its manifest. Resumes from `work`."""
    started, shape = time.monotonic(), GatingConfig()
    trunk_dir = trunk.ensure_trunk(artifacts.home())
    work.mkdir(parents=True, exist_ok=True)
    train, val = (load_parts(split, trunk_dir, limit=limit) for split in ("train", "val"))
    model, curve = train_gating(
        train, config, shape, held=val, checkpoint_dir=work / "gating", progress=progress
    )
    export.round_to_half(model)
    tables = {
        name: _fitted_table(part, WIDE[name], work / f"wide-{name}.npz") for name, part in train.items()
    }
    blends, metrics = {}, {}
    for name, part in val.items():
        deep = deep_logits(model, part.features.pooled, name)
        side = tables[name].logits(part.features.ids)
        blends[name] = fit_blend(deep, side, part.y)
        metrics[name] = evaluate.validation_row(
            name, train[name], part, blends[name].logits(deep, side), work
        )
    if fold_figures:
        folds = crossval.cross_validate(train, val, config, shape, WIDE, work=work, progress=progress)
        metrics |= {name: {**row, "validation": metrics[name]} for name, row in folds.items()}
    files = _write(
        out,
        model,
        tables,
        blends,
        {name: part.take(np.arange(min(16, len(part)))) for name, part in val.items()},
    )
    manifest = _manifest(model, curve, metrics, blends, {n: p.labels for n, p in train.items()}, config, val)
    if fold_figures:
        manifest["controls"] = controls.measure(
            model, train, val, config, shape, kept=work / "controls.json", progress=progress
        )
    manifest["train"]["seconds"] = add_elapsed(work, started)
    manifest = artifacts.write_manifest(out, manifest, files)
    card.write(out, manifest)
    return manifest


def _fitted_table(part: Part, config: wide.WideConfig, path: Path) -> wide.WideTable:
    if not path.is_file():
        table = wide.fit(part.features.ids, part.y, len(part.labels), config)
        np.savez(path, **{name: getattr(table, name) for name in wide.WideTable.__slots__})
    with np.load(path) as stored:
        return wide.WideTable(**dict(stored))


def _write(
    out: Path,
    model: GatingClassifier,
    tables: dict[str, wide.WideTable],
    blends: dict[str, Blend],
    samples: Parts,
) -> dict[str, str]:
    """Write body and heads, hold each against the network, and give role → file name."""
    out.mkdir(parents=True, exist_ok=True)
    files = {"body": "body.onnx"}
    state, shape = export.state_arrays(model), model.config
    graphs.write_gating_body(state, out / "body.onnx", layers=shape.layers, mass=shape.mass)
    for name, sample in samples.items():
        pooled = sample.features.pooled
        with torch.no_grad():
            features = model.features(torch.from_numpy(pooled))[0].numpy()
        export.check_parity(out / "body.onnx", {"pooled": pooled}, features)
        head, file = model.head(name), f"{name}.onnx"
        weight, bias = (p.detach().numpy() for p in (head.weight, head.bias))
        graphs.write_head(out / file, weight, bias, tables[name], blends[name].wide_share)
        ids, mask = tokens.pad(sample.features.ids)
        feed = {"input_ids": ids, "attention_mask": mask, "features": features}
        wanted = (
            features @ weight.T + bias + blends[name].wide_share * tables[name].logits(sample.features.ids)
        )
        export.check_parity(out / file, feed, wanted)
        files[f"head:{name}"] = file
    return files


def _manifest(
    model: GatingClassifier,
    curve: list[dict[str, float]],
    metrics: dict[str, Any],
    blends: dict[str, Blend],
    labels: dict[str, list[str]],
    config: TrainConfig,
    val: Parts,
) -> dict[str, Any]:
    pooled = torch.from_numpy(np.concatenate([part.features.pooled for part in val.values()]))
    chosen = mean_experts_used(model, pooled)
    own = active_parameters(model, chosen)
    dense = TRUNK_PARAMETERS - TRUNK_EMBEDDING
    heads = {
        name: {
            "labels": labels[name],
            "output": "logits",
            "temperature": round(blend.temperature, 6),
            "wide_share": round(blend.wide_share, 6),
        }
        for name, blend in blends.items()
    }
    return {
        "id": "txt-base",
        "kind": "text-classifier",
        "version": "1",
        "sparse": True,
        "precision": "fp16",
        "requires": {"trunk": trunk.REQUIREMENT},
        "heads": heads,
        "max_tokens": trunk.MAX_TOKENS,
        "wide_tokens": WIDE_TOKENS,
        "metrics": metrics,
        "parameters": {
            "total": own["total"] + TRUNK_PARAMETERS,
            "active": own["active"] + dense,
            "non_embedding": own["total"] + dense,
            "active_share": round(own["active_share"], 4),
            "active_share_with_trunk": round((own["active"] + dense) / (own["total"] + dense), 4),
            "mean_experts_used": round(chosen, 3),
            "note": "active_share is of the sparse network alone; the frozen dense trunk is always active",
        },
        "train": {
            "command": "python -m modelhub.ml.train.text --model txt-base",
            "seed": config.seed,
            "machine": "2 CPU cores",
            "curve": curve,
        },
        "created": date.today().isoformat(),
    }


def add_elapsed(work: Path, started: float) -> int:
    """Seconds since `started` and in all earlier runs that this one went on from."""
    path = work / "elapsed.json"
    before = json.loads(path.read_text("utf-8"))["seconds"] if path.is_file() else 0.0
    artifacts.write_json(path, {"seconds": before + time.monotonic() - started})
    return round(before + time.monotonic() - started)
