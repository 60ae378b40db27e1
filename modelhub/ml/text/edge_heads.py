"""Heads of a finished student taught anew on more texts; its encoder, its operator and every other head stay bit for bit.

`python -m modelhub.ml.text.edge_heads support-sentiment clinical-notes`: each named workload's linear head and n-gram table learn
from the teacher's views of training rows, broken copies and neighbouring texts, by what the file's own encoder says of them. Risk
and thresholds cannot change, so nobody harmless is stopped who was not before.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from modelhub import artifacts
from modelhub.ml import features, tokens, trunk
from modelhub.ml.distill.losses import hard_loss, soft_loss
from modelhub.ml.distill.schedule import TemperatureScheduler
from modelhub.ml.text import card, edge_artifact, edge_graph, lessons, neighbours
from modelhub.ml.text.corpus import Part
from modelhub.ml.text.golden import write_golden
from modelhub.ml.text.student import WideHead, make_bag
from modelhub.ml.train.schedule import one_cycle
from modelhub.serving.gated import take_head
from modelhub.serving.runtime import GraphSession, How


@dataclass(frozen=True, slots=True)
class HeadTraining:
    """How long and how fast; shares as in `DistillConfig`."""

    epochs: int = 8
    batch: int = 128
    rate: float = 1e-3
    wide_rate: float = 3e-3
    hard_share: float = 0.3
    ngram_drop: float = 0.3
    seed: int = 1


def vectors_of(path: Path, names: list[str], ids: list[np.ndarray]) -> np.ndarray:
    """What a file's encoder says of token rows, as its heads read it. Gives (N, D) float32."""
    return read_part(take_head(path.read_bytes(), names[0], names, ["features"]), "features", ids)


def read_part(graph: bytes, output: str, ids: list[np.ndarray]) -> np.ndarray:
    """One output of a graph for token rows. Gives (N, D) float32."""
    found: np.ndarray | None = None
    with tempfile.TemporaryDirectory(prefix="switchyard-part-") as folder:
        part = Path(folder) / "part.onnx"
        part.write_bytes(graph)
        session = GraphSession(part, How())
        for group in tokens.batches_by_length([len(row) for row in ids], 4096, 64):
            batch, mask = tokens.pad([features.cut(ids[i]) for i in group])
            made = session.run([output], {"input_ids": batch, "attention_mask": mask})[0]
            found = np.zeros((len(ids), made.shape[1]), np.float32) if found is None else found
            found[group] = made
    assert found is not None
    return found


def teach_head(
    parts: edge_graph.HeadParts, vectors: np.ndarray, lesson: Any, config: HeadTraining
) -> edge_graph.HeadParts:
    """The head after its lesson, its table in 8 bits again. Shapes: vectors (N, D), a row for each of the lesson's."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    head, side = nn.Linear(vectors.shape[1], len(parts.bias)), WideHead(parts.table, 1.0)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(parts.weight.copy()))
        head.bias.copy_(torch.from_numpy(parts.bias.copy()))
    optimizers = (
        (torch.optim.AdamW([*head.parameters(), side.bias], lr=config.rate, weight_decay=0.01), config.rate),
        (torch.optim.SparseAdam([side.weight], lr=config.wide_rate), config.wide_rate),
    )
    bags, inputs, teacher = side.bags(lesson.ids), torch.from_numpy(vectors), torch.from_numpy(lesson.teacher)
    y, count = torch.from_numpy(lesson.y), len(lesson.ids)
    steps = config.epochs * -(-count // config.batch)
    scheduler = TemperatureScheduler(5.0, 1.0, steps=steps)
    for step in range(steps):
        if step % (-(-count // config.batch)) == 0:
            order = iter(np.array_split(rng.permutation(count), -(-count // config.batch)))
        chosen = next(order)
        logits = head(inputs[chosen]) + side(make_bag([bags[i] for i in chosen], config.ngram_drop, rng))
        loss = (1 - config.hard_share) * soft_loss(teacher[chosen], logits, scheduler.update())
        known = y[chosen] >= 0
        if known.any():
            loss = loss + config.hard_share * hard_loss(logits[known], y[chosen][known])
        for optimizer, peak in optimizers:
            optimizer.param_groups[0]["lr"] = one_cycle(step, steps, peak)
            optimizer.zero_grad()
        loss.backward()
        for optimizer, _ in optimizers:
            optimizer.step()
    return edge_graph.HeadParts(head.weight.detach().numpy(), head.bias.detach().numpy(), side.quantised())


def replace_head(path: Path, name: str, parts: edge_graph.HeadParts) -> None:
    """Write a head's weights into a finished file, everything else left as it is. Raises KeyError for a head it lacks."""
    fresh: dict[str, np.ndarray] = {
        "head_weight": np.ascontiguousarray(parts.weight.T, np.float16),
        "head_bias": parts.bias.astype(np.float32),
        "wide/weight": parts.table.weight,
        "wide/scale": parts.table.scale,
        "wide/bias": parts.table.bias,
    }
    named: dict[str, np.ndarray] = {f"{name}/{field}": value for field, value in fresh.items()}
    edge_graph.replace_tensors(path, onnx.load(str(path)), named)


def learnt_on(
    path: Path, names: list[str], name: str, part: Part, reader: lessons.Reader, teacher_dir: Path, config: HeadTraining
) -> edge_graph.HeadParts:  # fmt: skip
    """A finished file's head, taught anew on its workload's rows, broken copies and neighbouring texts."""
    lesson = lessons.make_lesson(
        reader, name, part, teacher_dir, copies=lessons.COPIES[name], seed=1, more=neighbours.texts(name)
    )
    return teach_head(
        edge_graph.read_gated_head(path, name), vectors_of(path, names, lesson.ids), lesson, config
    )


def teach_again(
    folder: Path, teacher_dir: Path, workloads: Sequence[str], config: HeadTraining
) -> dict[str, Any]:
    """Teach these heads of an artifact anew and write its file, golden answers, manifest and card; gives the manifest."""
    manifest = artifacts.verify(folder)
    names, path = list(manifest["heads"]), folder / edge_artifact.MODEL
    reader = lessons.Reader.of(trunk.ensure_trunk(artifacts.home()), teacher_dir)
    train, val = (lessons.load_parts(reader, split, tuple(names)) for split in ("train", "val"))
    for name in workloads:
        replace_head(path, name, learnt_on(path, names, name, train[name], reader, teacher_dir, config))
    write_golden(folder, path, names, val, reader)
    manifest["train"]["heads_taught_again"] = taught(workloads)
    return describe_again(folder, manifest, train, val, teacher_dir)


def taught(workloads: Sequence[str]) -> dict[str, Any]:
    """What a manifest tells of it."""
    return {
        "command": "python -m modelhub.ml.text.edge_heads " + " ".join(workloads),
        "workloads": list(workloads),
    }


def describe_again(
    folder: Path,
    manifest: dict[str, Any],
    train: dict[str, Part],
    val: dict[str, Part],
    teacher_dir: Path,
) -> dict[str, Any]:
    """Manifest and card of a file whose answers have changed; gives the manifest."""
    names = list(manifest["heads"])
    served = {
        n: edge_artifact.logits_of(folder / edge_artifact.MODEL, names, n, part) for n, part in val.items()
    }
    kept = artifacts.home() / "train" / "edge-heads"
    kept.mkdir(parents=True, exist_ok=True)
    heads, metrics = edge_artifact.heads_of(names, served, train, val, teacher_dir, kept)
    manifest["heads"] |= heads
    manifest["metrics"] |= metrics
    manifest = artifacts.rewrite_manifest(folder, manifest)
    card.write(folder, manifest)
    return manifest


def main(arguments: Sequence[str] | None = None) -> None:
    """Teach heads of the shipped student anew and print how they do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="+")
    parser.add_argument("--artifact", type=Path, default=artifacts.SHIPPED / "txt-edge")
    parser.add_argument("--teacher", type=Path, default=artifacts.SHIPPED / "txt-base")
    parser.add_argument("--epochs", type=int, default=HeadTraining().epochs)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config = HeadTraining(epochs=given.epochs, seed=given.seed)
    manifest = teach_again(given.artifact, given.teacher, given.workloads, config)
    for name in given.workloads:
        row = manifest["metrics"][name]
        print(f"{name}: {row['value']:.4f}, teacher {row['teacher_accuracy']:.4f}, {row['blocked']} stopped")


if __name__ == "__main__":
    main()
