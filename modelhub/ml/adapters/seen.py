"""What the frozen trunk says of each text, computed once by the graph that serves: the head's features and tokens' states.

An adapter in the topmost n blocks reads the states that enter them. A plugin expert in the topmost block alone reads that
block's state behind attention, and its answer is added in front of the block's last normalisation: neither depends on it,
so what its epoch costs is its own two products, and the trunk is never run again. All this comes from one run of the 8-bit
graph that will answer: what is trained meets the numbers that are served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from modelhub.ml import features, tokens
from modelhub.ml.adapters.inject import Adapter
from modelhub.ml.adapters.states import States
from modelhub.ml.text.adapted_graph import NotAdaptable
from modelhub.ml.text.encoder import SparseEncoder, mean_by_text
from modelhub.ml.text.packing import Batch

HELD_BYTES = 256 * 2**20  # beyond it a table lies in a file
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TopStates:
    """Shapes: attended, summed (tokens, D) float16, start (N + 1,) int64."""

    attended: np.ndarray
    summed: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    def batch(self, which: np.ndarray) -> tuple[Tensor, Batch]:
        """Chosen texts, one behind the other without filling. Gives (2, 1, T, D) float32."""
        sizes = np.diff(self.start)[which]
        rows = np.concatenate([np.arange(self.start[i], self.start[i + 1]) for i in which])
        held = np.stack([self.attended[rows], self.summed[rows]])[:, None].astype(np.float32)
        position = torch.from_numpy(np.concatenate([np.arange(size) for size in sizes]))
        segment = torch.from_numpy(np.repeat(np.arange(len(which)), sizes))
        batch = Batch(torch.from_numpy(rows)[None], position[None], segment[None], len(which))
        return torch.from_numpy(held), batch

    def encoder(self, trunk: SparseEncoder, adapter: Adapter) -> TopExpert:
        """What turns a batch into features."""
        return TopExpert(trunk, adapter)


class TopExpert(nn.Module):
    """The rest of a frozen encoder behind its topmost experts, with the plugin expert's term. Called as `AdaptedEncoder`."""

    def __init__(self, trunk: SparseEncoder, adapter: Adapter) -> None:
        super().__init__()
        if (adapter.shape.method, adapter.shape.blocks) != ("expert", 1):
            raise ValueError(f"states of the topmost block carry one plugin expert, got {adapter.shape}")
        self._held = [trunk]  # in a list: the trunk is no part of this module's parameters or checkpoints
        self.adapter = adapter

    def forward(self, x: Tensor, segment: Tensor, texts: int) -> Tensor:
        """Shapes: x (2, 1, T, D), segment (1, T) -> (texts, D)."""
        return self._held[0].features(mean_by_text(self.tokens(x, segment), segment, texts))

    def tokens(self, x: Tensor, segment: Tensor) -> Tensor:
        """The last states, token by token. Shapes: (2, 1, T, D) -> (1, T, D)."""
        attended, summed = x
        return self._held[0].blocks[-1].fed(summed + self.adapter.expert(0, attended))


@dataclass(frozen=True, slots=True)
class Seen:
    """Shapes: features (N, D) float32, what heads read."""

    features: np.ndarray
    entering: States
    top: TopStates


def see_once(
    body: Path, embed: Path, ids: list[np.ndarray], first: int, *, kept: Path | None = None, told: Told | None = None
) -> Seen:  # fmt: skip
    """Tokenized texts by one run of the served graph; `entering` are the states that enter block `first`.

    Tables beyond HELD_BYTES are written beside the file `kept` where one is given. Raises NotAdaptable for another graph.
    """
    session, embedding = _session(body, first), features.open_session(embed)
    short = [features.cut(row) for row in ids]
    start = np.concatenate([[0], np.cumsum([len(row) for row in short])]).astype(np.int64)
    width = int(session.get_outputs()[0].shape[1])
    table = _tables((int(start[-1]), width), kept)
    tables = [table(name) for name in ("entering", "attended", "summed")]
    found, done = np.zeros((len(ids), width), np.float32), 0
    wanted = [
        session.get_outputs()[0].name,
        *(output.name for output in session.get_outputs()[-3 if first else -2 :]),
    ]
    for group in tokens.batches_by_length([len(row) for row in short], 4096, 64):
        batch, mask = tokens.pad([short[i] for i in group])
        embedded = embedding.run(["embedded"], {"input_ids": batch})[0]
        feed = {"embedded": embedded, "attention_mask": mask}
        found[group], *states = session.run(wanted, feed)
        states = states if first else [embedded, *states]
        for own, state in zip(tables, states, strict=True):
            for place, i in enumerate(group):
                own[start[i] : start[i + 1]] = state[place, : len(short[i])]
        done += len(group)
        if told is not None:
            told(done, len(short))
    return Seen(found, States(tables[0], start), TopStates(tables[1], tables[2], start))


def _tables(shape: tuple[int, int], kept: Path | None) -> Callable[[str], np.ndarray]:
    """Makes tables of this shape: in memory, or in files where they are large."""
    if kept is None or 2 * shape[0] * shape[1] <= HELD_BYTES:
        return lambda name: np.empty(shape, np.float16)
    kept.parent.mkdir(parents=True, exist_ok=True)
    return lambda name: np.memmap(kept.with_name(f"{kept.name}.{name}"), np.float16, "w+", shape=shape)


def _session(body: Path, first: int) -> ort.InferenceSession:
    """The body with more outputs: what enters block `first` (0 reads the embeddings), and of its last block the state behind
    attention and what its last normalisation reads."""
    model = onnx.load(str(body))
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    inputs = {entry.name for entry in model.graph.input}
    if len(norms) < 3 or len(norms) % 2 == 0 or not {"embedded", "attention_mask"} <= inputs:
        raise NotAdaptable(f"{body.name} is no encoder of experts that reads embedded tokens")
    layers = len(norms) // 2
    if not 0 <= first < layers:
        raise ValueError(f"first={first} must lie in 0..{layers - 1}, the blocks of the trunk")
    entering = [norms[2 * first - 1].output[0]] if first else []
    for name in (*entering, norms[-3].output[0], norms[-2].input[0]):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
