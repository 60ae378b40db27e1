"""The shipped sparse text model in torch, read back from its own graphs, and what its experts do on rows with known answers.

`python -m modelhub.ml.activation.served_encoder` writes the cards into the model's manifest (section `experts`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelhub import artifacts
from modelhub.ml.activation import redundancy
from modelhub.ml.activation.cards import Rows
from modelhub.ml.activation.describe import TAB, describe
from modelhub.ml.moe.gate import Routing
from modelhub.ml.text.encoder import SparseEncoder, mean_by_text
from modelhub.ml.text.graphs import HeadWeights, read_head
from modelhub.ml.text.packing import Batch, Embeddings, TokenRows, pack, pack_pieces
from modelhub.ml.text.torch_form import read_encoder

TEXTS_AT_ONCE, PROBES = 64, 400
FORM = "sorted"
DROPOUT = 0.1  # as the shipped trunk was trained
Progress = Callable[[str], None]


@dataclass(slots=True)
class Served:
    """A text model as it is served: the network, and each head's wide channel with its share of the logits."""

    model: SparseEncoder
    heads: dict[str, HeadWeights]


@dataclass(slots=True)
class States:
    """Token states before a block, text after text. Shapes: flat (tokens, D) float16, start (N + 1,)."""

    flat: Tensor
    start: np.ndarray

    def batch(self, which: np.ndarray, width: int) -> tuple[Tensor, Batch]:
        """States (S, width, D) of the chosen texts packed into rows, and the packing."""
        packed = pack_pieces([np.arange(self.start[i], self.start[i + 1]) for i in which], width)
        return self.flat[packed.ids].float(), packed


def load(directory: Path) -> Served:
    """Read a sparse text artifact. Raises ArtifactCorrupt, NotOurForm; ValueError where its trunk isn't its own."""
    manifest = artifacts.verify(directory)
    if "trunk_kind" not in manifest:
        raise ValueError(f"{manifest['id']} has no trunk of its own: train one by modelhub.ml.train.encoders")
    heads = {
        name: read_head(artifacts.file_of(directory, manifest, f"head:{name}")) for name in manifest["heads"]
    }
    state, config = read_encoder(artifacts.file_of(directory, manifest, "body"))
    sizes = {name: len(head.bias) for name, head in heads.items()}
    model = SparseEncoder(replace(config, dropout=DROPOUT), sizes)
    for name, head in heads.items():
        state |= {f"heads.{name}.weight": head.weight, f"heads.{name}.bias": head.bias}
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return Served(model.eval(), heads)


@torch.no_grad()
def lower(
    model: SparseEncoder,
    embeddings: Embeddings,
    rows: TokenRows,
    first: int,
    *,
    width: int = 256,
    progress: Progress | None = None,
) -> tuple[States, np.ndarray]:
    """The states that block `first` is given, of every row, and the tokens each expert below it saw of each row.

    Gives States and counts (N, first, E) uint16.
    """
    model.eval()
    lengths = rows.lengths(width)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = torch.zeros(int(start[-1]), model.config.width, dtype=torch.float16)
    counts = np.zeros((len(rows), first, model.config.experts), np.uint16)
    # texts of like length travel together: packing then wastes next to nothing
    parts = np.array_split(np.argsort(lengths, kind="stable"), max(1, len(rows) // TEXTS_AT_ONCE))
    for number, part in enumerate(parts):
        batch = pack(rows, part, width)
        keep = batch.segment[:, None, :, None] == batch.segment[:, None, None, :]
        x = model.enter(embeddings(batch))
        for layer, block in enumerate(model.blocks[:first]):
            x, routing = block(x, keep, FORM)
            counts[part, layer] = counts_by_text(routing, batch, model.config.experts)
        used = batch.segment >= 0
        place = torch.from_numpy(start[part])[batch.segment[used]] + batch.position[used]
        flat[place] = x[used].half()
        if progress is not None and number % 20 == 0:
            progress(f"lower blocks: {number} of {len(parts)} batches")
    return States(flat, start), counts


def upper(model: SparseEncoder, first: int, x: Tensor, batch: Batch) -> tuple[Tensor, list[Routing]]:
    """From states before block `first` to pooled states. Shapes: x (S, T, D) -> (texts, D)."""
    keep = batch.segment[:, None, :, None] == batch.segment[:, None, None, :]
    routings = []
    for block in model.blocks[first:]:
        x, routing = block(x, keep, FORM)
        routings.append(routing)
    return mean_by_text(x, batch.segment, batch.texts), routings


def counts_by_text(routing: Routing, batch: Batch, experts: int) -> np.ndarray:
    """Tokens of each text that each expert saw. Gives (texts, E) int64."""
    owner = batch.segment.flatten()
    counted = (routing.weights > 0) & (owner >= 0)[:, None]
    text, slot = counted.nonzero(as_tuple=True)
    place = owner[text] * experts + routing.experts[text, slot]
    return torch.bincount(place, minlength=batch.texts * experts).view(batch.texts, experts).numpy()


@torch.no_grad()
def upper_all(
    model: SparseEncoder, first: int, states: States, width: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) of every row, and counts (N, layers − first, E) of the blocks from `first` on."""
    model.eval()
    n = len(states.start) - 1
    found = np.zeros((n, model.config.width), np.float32)
    counts = np.zeros((n, model.config.layers - first, model.config.experts), np.uint16)
    order = np.argsort(np.diff(states.start), kind="stable")
    for part in np.array_split(order, max(1, n // TEXTS_AT_ONCE)):
        x, batch = states.batch(part, width)
        pooled, routings = upper(model, first, x, batch)
        found[part] = model.features(pooled).numpy()
        for place, routing in enumerate(routings):
            counts[part, place] = counts_by_text(routing, batch, model.config.experts)
    return found, counts


def right_answers(
    model: SparseEncoder, rows: TokenRows, features: np.ndarray, sides: dict[str, np.ndarray] | None = None
) -> np.ndarray:
    """Which rows are answered right, `sides` (N_workload, L) added to each workload's logits. Gives (N,) of bool."""
    right = np.zeros(len(rows), bool)
    for index, name in enumerate(rows.names):
        own = np.flatnonzero(rows.workload == index)
        head = model.head(name)
        logits = features[own] @ head.weight.detach().numpy().T + head.bias.detach().numpy()
        if sides is not None:
            logits = logits + sides[name]
        right[own] = logits.argmax(axis=1) == rows.y[own]
    return right


def wide_logits(served: Served, split: str, tokenizer: Path) -> dict[str, np.ndarray]:
    """What the wide channels add to the logits of a split's rows, workload by workload, in the order of the data."""
    from modelhub.ml import datasets, tokens
    from modelhub.ml.features import WIDE_TOKENS

    reader = tokens.load_tokenizer(tokenizer)
    return {
        name: head.wide_share
        * head.table.logits(tokens.encode(reader, datasets.load(name, split).texts, WIDE_TOKENS))
        for name, head in served.heads.items()
    }


def slice_names(rows: TokenRows) -> list[str]:
    """The name of each row's slice: its workload and its true label."""
    return [
        f"{rows.names[w]}{TAB}{rows.labels[rows.names[w]][y]}"
        for w, y in zip(rows.workload, rows.y, strict=True)
    ]


def observed(rows: TokenRows, counts: np.ndarray, right: np.ndarray, width: int = 256) -> Rows:
    """What cards are made of."""
    return Rows(counts, slice_names(rows), rows.lengths(width), right)


@torch.no_grad()
def alike_by_layer(
    model: SparseEncoder, embeddings: Embeddings, rows: TokenRows, seed: int = 1
) -> list[np.ndarray]:
    """How alike experts answer the same tokens, drawn from these rows. Gives one (E, E) a layer."""
    rng = np.random.default_rng(seed)
    batch = pack(rows, rng.choice(len(rows), min(PROBES // 4, len(rows)), replace=False), 128)
    used = (batch.segment >= 0).flatten().nonzero().flatten()
    probes = used[torch.from_numpy(rng.permutation(len(used))[:PROBES].copy())]
    inputs: list[np.ndarray] = []
    hooks = [
        block.experts.register_forward_pre_hook(lambda _, given: inputs.append(given[0][probes].numpy()))
        for block in model.blocks
    ]
    try:
        upper(model, 0, model.enter(embeddings(batch)), batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        redundancy.output_similarity(
            redundancy.expert_outputs(
                x, block.experts.w1.numpy(), block.experts.w2.numpy(), activation="gelu_tanh"
            )
        )
        for x, block in zip(inputs, model.blocks, strict=True)
    ]


def describe_served(directory: Path, progress: Progress | None = None) -> dict[str, Any]:
    """The manifest's `experts` section of a shipped sparse model, measured on its validation rows."""
    from modelhub.ml import trunk as trunks
    from modelhub.ml.text.pretrained import load_corpus

    served, (trunk, rows) = load(directory), load_corpus()
    val, embeddings = rows["val"], trunk.embeddings()
    states, counts = lower(served.model, embeddings, val, served.model.config.layers - 1, progress=progress)
    features, last = upper_all(served.model, served.model.config.layers - 1, states)
    sides = wide_logits(served, "val", trunks.find_weights() / "tokenizer.json")
    seen = observed(
        val, np.concatenate([counts, last], axis=1), right_answers(served.model, val, features, sides)
    )
    heads, labels = zip(*(name.split(TAB) for name in seen.labels), strict=True)
    return describe(
        seen.counts,
        heads,
        labels,
        seen.tokens,
        correct=seen.correct,
        alike=alike_by_layer(served.model, embeddings, val),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what the experts serve into the manifest; everything else in it stays as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="txt-base")
    parser.add_argument(
        "--artifact", type=Path, help="its folder, where it isn't the one that is served by that name"
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    directory = given.artifact or artifacts.find(given.model)
    found = describe_served(directory, progress=print)
    manifest = artifacts.load_manifest(directory)
    kept = {name: manifest["experts"][name] for name in ("loop",) if name in manifest.get("experts", {})}
    artifacts.write_json(directory / artifacts.MANIFEST, manifest | {"experts": found | kept})
    print(f"{len(found['cards'])} cards, {len(found['similar'])} pairs alike, weakest: {found['weakest']}")


if __name__ == "__main__":
    main()
