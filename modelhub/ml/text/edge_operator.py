"""The operator of a finished student learns on: its encoder, every head and every answer's logits stay bit for bit.

`python -m modelhub.ml.text.edge_operator`: the risk head goes on from where it is, over far more of the operator's rows than a
pass of distillation draws, by what the file's own encoder says of them. Thresholds are set anew afterwards.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch.nn import functional as F

from modelhub import artifacts
from modelhub.ml import trunk
from modelhub.ml.distill.loop import RiskLesson
from modelhub.ml.text import edge_artifact, edge_graph, edge_heads, lessons
from modelhub.ml.text.golden import write_golden
from modelhub.ml.text.student import RAISED, RiskHead
from modelhub.ml.train.schedule import one_cycle
from modelhub.serving.gated import take_head


@dataclass(frozen=True, slots=True)
class OperatorTraining:
    """How long and how fast; `rows` are drawn a pass, `drop` is the share of inputs that are left out of each."""

    passes: int = 12
    rows: int = 60_000
    batch: int = 512
    rate: float = 2e-3
    drop: float = 0.1
    pair_weight: float = 0.3
    seed: int = 1


def inputs_of(path: Path, names: Sequence[str], ids: list[np.ndarray]) -> np.ndarray:
    """What a file's risk head reads of token rows: vector and peaks side by side. Gives (N, 2 D) float32."""
    model = onnx.load_from_string(take_head(path.read_bytes(), names[0], names, []))
    read = edge_graph.risk_tensors(model)["inputs"]
    width = edge_graph.read_risk(path).inner.shape[1]
    model.graph.output.append(helper.make_tensor_value_info(read, TensorProto.FLOAT, ["N", width]))
    found = edge_heads.read_part(model.SerializeToString(), read, ids)
    found[:, width // 2 :] -= RAISED
    return found


def teach_risk(
    parts: edge_graph.RiskParts,
    inputs: np.ndarray,
    others: np.ndarray,
    lesson: RiskLesson,
    config: OperatorTraining,
) -> edge_graph.RiskParts:
    """The risk head after its lesson. Shapes: inputs and others (of the partners) (N, 2 D), a row for each of the lesson's."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    width = inputs.shape[1] // 2
    head = RiskHead(width, len(parts.inner_bias))
    weights = [head.inner.weight, head.inner.bias, head.outer.weight, head.outer.bias]
    with torch.no_grad():
        for weight, value in zip(weights, parts.arrays(), strict=True):
            weight.copy_(torch.from_numpy(value.copy()))
    own, other, kinds = (torch.from_numpy(array) for array in (inputs, others, lesson.kinds))
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.rate, weight_decay=0.01)
    drawn = min(config.rows, len(inputs))
    batches = -(-drawn // config.batch)
    for step in range(config.passes * batches):
        if step % batches == 0:
            order = np.array_split(rng.choice(len(inputs), drawn, p=lesson.shares), batches)
        chosen = torch.from_numpy(order[step % batches])
        keep = (torch.rand(len(chosen), 2 * width) >= config.drop) / (1 - config.drop)
        found, beside = (head(*(x[chosen] * keep).split(width, dim=1)) for x in (own, other))
        known, wanted = (kinds[chosen] >= 0).float(), kinds[chosen].clamp_min(0)
        each = sum(
            F.binary_cross_entropy_with_logits(says, wanted, reduction="none") for says in (found, beside)
        )
        loss = (each * known).sum() / (2 * known.sum().clamp_min(1))
        loss = loss + config.pair_weight * F.mse_loss(found, beside)
        optimizer.param_groups[0]["lr"] = one_cycle(step, config.passes * batches, config.rate)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return edge_graph.RiskParts(*(weight.detach().numpy() for weight in weights))


def learn_on(path: Path, names: Sequence[str], reader: lessons.Reader, config: OperatorTraining) -> None:
    """Teach the operator of a finished file in place; its thresholds are to be set again afterwards."""
    lesson = lessons.make_risk_lesson(reader, config.seed)
    inputs, others = (inputs_of(path, names, rows) for rows in (lesson.ids, lesson.partners))
    parts = teach_risk(edge_graph.read_risk(path), inputs, others, lesson, config)
    edge_graph.replace_risk(path, parts)


def teach_again(folder: Path, teacher_dir: Path, config: OperatorTraining) -> dict[str, Any]:
    """Teach an artifact's operator and write its file, thresholds, golden answers, manifest and card; gives the manifest."""
    manifest = artifacts.verify(folder)
    names, path = list(manifest["heads"]), folder / edge_artifact.MODEL
    reader = lessons.Reader.of(trunk.ensure_trunk(artifacts.home()), teacher_dir)
    train, val = (lessons.load_parts(reader, split, tuple(names)) for split in ("train", "val"))
    learn_on(path, names, reader, config)
    manifest["gate"] = edge_artifact.calibrate_gate(path, names, reader, config.seed)
    write_golden(folder, path, names, val, reader)
    manifest["train"]["operator_taught_again"] = taught(config.seed)
    return edge_heads.describe_again(folder, manifest, train, val, teacher_dir)


def taught(seed: int) -> dict[str, Any]:
    """What a manifest tells of it."""
    return {"command": "python -m modelhub.ml.text.edge_operator", "seed": seed}


def main(arguments: Sequence[str] | None = None) -> None:
    """Teach the shipped student's operator and print what it finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path, default=artifacts.SHIPPED / "txt-edge")
    parser.add_argument("--teacher", type=Path, default=artifacts.SHIPPED / "txt-base")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    gate = teach_again(given.artifact, given.teacher, OperatorTraining(seed=given.seed))["gate"]
    for name in ("planted", "unseen", "frames"):
        print(
            f"{name}: {gate[name]['all']['value']:.4f} found, {gate[name]['harmless_blocked']['value']:.4f} harmless stopped"
        )


if __name__ == "__main__":
    main()
