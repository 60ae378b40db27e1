"""A text artifact from a trained encoder: graphs in 8 bits, wide channels, blends, figures with their controls, card.

`python -m modelhub.ml.text.sparse --from DIR` takes what `modelhub.ml.train.encoders` gathered and never trains; what
takes long (TF-IDF rows, folds of the linear parts) is kept in the work folder and found again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from modelhub import artifacts
from modelhub.ml import features, tokens, trunk
from modelhub.ml.features import WIDE_TOKENS
from modelhub.ml.moe.encoder_graph import write_encoder
from modelhub.ml.text import card, crossval, evaluate, graphs, wide
from modelhub.ml.text.base import WIDE
from modelhub.ml.text.blend import Blend, fit_blend
from modelhub.ml.text.corpus import Parts, folds, load_parts
from modelhub.ml.text.encoder import EncoderConfig
from modelhub.ml.text.figures import best_run, summary
from modelhub.ml.train.encoder import shape_of

FORM = "qmoe"
MACHINES = {"cuda": "one NVIDIA H200", "cpu": "one CPU core"}


def read_state(source: Path, variant: str, seed: int) -> dict[str, np.ndarray]:
    """The weights of a run, put together from their parts, in float32. Raises FileNotFoundError."""
    parts = sorted(source.glob(f"{variant}-{seed}.[0-9]*.safetensors"))
    if not parts:
        raise FileNotFoundError(
            f"no weights of {variant}-{seed} in {source}: name the folder that holds metrics.json"
        )
    held = {name: value for part in parts for name, value in load_file(str(part)).items()}
    return {name: value.astype(np.float32) for name, value in held.items()}


def write_body(state: dict[str, np.ndarray], config: EncoderConfig, target: Path, form: str = FORM) -> None:
    """Write the encoder as one graph, with the count of tokens by expert as a second output."""
    write_encoder(
        state, target, layers=config.layers, attention_heads=config.attention_heads, k_min=config.k_min,
        k_max=config.k_max, mass=config.mass, form=form, counts=True,
    )  # fmt: skip


def body_features(body: Path, trunk_dir: Path, ids: list[np.ndarray]) -> np.ndarray:
    """Features as they are served. Gives (N, D) float32."""
    embedding, session = features.open_session(trunk_dir / "embed.onnx"), features.open_session(body)
    found = np.zeros((len(ids), session.get_outputs()[0].shape[1]), np.float32)
    for group in tokens.batches_by_length([min(len(row), trunk.MAX_TOKENS) for row in ids], 4096, 64):
        batch, mask = tokens.pad([features.cut(ids[i]) for i in group])
        embedded = embedding.run(["embedded"], {"input_ids": batch})[0]
        found[group] = session.run(["features"], {"embedded": embedded, "attention_mask": mask})[0]
    return found


def make_sparse(
    source: Path,
    out: Path,
    *,
    work: Path,
    model_id: str = "txt-base",
    tables_from: Path,
    limit: int | None = None,
) -> dict[str, Any]:
    """Assemble the artifact `model_id` from the best run in `source`; gives its manifest.

    The wide channels are those of the text artifact `tables_from`: they are fitted on the same rows by the same recipe.
    """
    runs = json.loads((source / "metrics.json").read_text("utf-8"))["runs"]
    chosen = best_run(
        runs, lambda run: bool(list(source.glob(f"{run['variant']}-{run['seed']}.[0-9]*.safetensors")))
    )
    state = read_state(source, chosen["variant"], chosen["seed"])
    config = shape_of(chosen["variant"])
    trunk_dir = trunk.ensure_trunk(artifacts.home())
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    train, val = (load_parts(split, trunk_dir, limit=limit) for split in ("train", "val"))
    tables = {
        name: _table(tables_from, name) for name in train
    }  # read before `out`, which may be the same folder
    write_body(state, config, out / "body.onnx")
    vectors = {
        name: body_features(out / "body.onnx", trunk_dir, part.features.ids) for name, part in val.items()
    }
    files, metrics, heads = {"body": "body.onnx"}, {}, {}
    for name, part in val.items():
        weight, bias = state[f"heads.{name}.weight"], state[f"heads.{name}.bias"]
        deep, side = vectors[name] @ weight.T + bias, tables[name].logits(part.features.ids)
        blend = fit_blend(deep, side, part.y)
        graphs.write_head(out / f"{name}.onnx", weight, bias, tables[name], blend.wide_share)
        files[f"head:{name}"] = f"{name}.onnx"
        metrics[name] = evaluate.validation_row(name, train[name], part, blend.logits(deep, side), work)
        metrics[name]["kept_across_folds"] = crossval.kept_across_folds(deep, side, part.y)
        metrics[name]["deep_alone"] = round(float((deep.argmax(axis=1) == part.y).mean()), 4)
        heads[name] = _head_entry(part.labels, blend)
    if limit is None:
        folded = fold_rows_judged(source, chosen["variant"], train, val, work)
        metrics |= {name: {**row, "validation": metrics[name]} for name, row in folded.items()}
    manifest = _manifest(model_id, chosen, runs, metrics, heads)
    manifest = artifacts.write_manifest(out, manifest, files)
    card.write(out, manifest)
    return manifest


def _table(directory: Path, name: str) -> wide.WideTable:
    manifest = artifacts.verify(directory)
    return graphs.read_head(artifacts.file_of(directory, manifest, f"head:{name}")).table


def _head_entry(labels: list[str], blend: Blend) -> dict[str, Any]:
    return {
        "labels": labels,
        "output": "logits",
        "temperature": round(blend.temperature, 6),
        "wide_share": round(blend.wide_share, 6),
    }


def fold_rows_judged(
    source: Path, variant: str, train: Parts, val: Parts, work: Path
) -> dict[str, dict[str, Any]]:
    """Cross-validated rows of the small workloads from the folds' logits; empty where the folds were not run."""
    held: dict[str, np.ndarray] = {}
    for path in source.glob("logits.[0-9]*.safetensors"):
        held |= load_file(str(path))
    names = crossval.small_workloads(val)
    wanted = [f"{variant}-1-fold{fold}/{name}" for fold in range(crossval.COUNT) for name in names]
    if not all(name in held for name in wanted):
        return {}
    whole = {name: train[name].join(val[name]) for name in names}
    out = {name: folds(whole[name].y, crossval.COUNT, 1) for name in names}
    results = []
    for fold in range(crossval.COUNT):
        fitted = {name: crossval.without(whole[name], out[name][fold]) for name in names}
        tested = {name: whole[name].take(out[name][fold]) for name in names}
        made = crossval.kept(work / f"fold-{fold}-linear.npz", partial(crossval.linear, fitted, tested, WIDE))
        deep = {f"{name}.deep": held[f"{variant}-1-fold{fold}/{name}"].astype(np.float32) for name in names}
        results.append(made | deep)
    return {name: crossval.judge(name, whole[name], out[name], results) for name in names}


def _manifest(
    model_id: str,
    chosen: dict[str, Any],
    runs: list[dict[str, Any]],
    metrics: dict[str, Any],
    heads: dict[str, Any],
) -> dict[str, Any]:
    size = chosen["parameters"]
    embedding = 30_522 * 384 + 512 * 384 + 2 * 384 + 2 * 384
    return {
        "id": model_id,
        "kind": "text-classifier",
        "version": "2",
        "sparse": True,
        "precision": "int8",
        "requires": {"trunk": trunk.REQUIREMENT},
        "body_reads": "embedded",
        "trunk_kind": chosen["variant"],
        "heads": heads,
        "max_tokens": trunk.MAX_TOKENS,
        "wide_tokens": WIDE_TOKENS,
        "metrics": metrics,
        "parameters": {
            "total": size["total"] + embedding,
            "active": size["active"],
            "non_embedding": size["total"],
            "active_share": size["active_share"],
            "mean_experts_used": chosen["final"]["experts_used"],
            "flops_per_token": round(chosen["flops_per_token"]),
            "note": "the whole network is counted, attention and every head too; only token embeddings are left out",
        },
        "controls": summary(runs, chosen["variant"]),
        "train": {
            "command": "python -m modelhub.ml.train.encoders, then python -m modelhub.ml.text.sparse",
            "seed": chosen["seed"],
            "seconds": chosen["wall_s"],
            "machine": MACHINES.get(chosen["device"], chosen["device"]),
            "plateau": chosen["plateau"],
            "curve": [
                {key: p[key] for key in ("evaluation", "loss", "accuracy", "mean")} for p in chosen["curve"]
            ],
        },
        "created": date.today().isoformat(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Assemble the artifact and print its active share and accuracy by workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--work", type=Path, default=artifacts.home() / "train" / "sparse")
    parser.add_argument("--id", default="txt-base")
    parser.add_argument("--tables-from", type=Path, default=artifacts.SHIPPED / "txt-base")
    parser.add_argument("--limit", type=int, help="so many rows of each workload: a trial of the pipeline")
    given = parser.parse_args(arguments)
    manifest = make_sparse(
        given.source, given.out / given.id, work=given.work, model_id=given.id, tables_from=given.tables_from,
        limit=given.limit,
    )  # fmt: skip
    print(json.dumps(manifest["parameters"]), json.dumps(manifest["controls"]), sep="\n")
    for name, row in manifest["metrics"].items():
        print(f"{name:20} {row['value']:.4f}  TF-IDF {row['tfidf']['value']:.4f}  {row['verdict']}")


if __name__ == "__main__":
    main()
