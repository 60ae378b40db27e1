"""Texts as the states that enter the first adapted block, computed once: a frozen part needn't be run again each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modelhub.ml import features, tokens
from modelhub.ml.adapters.inject import below
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.packing import Batch, pack_pieces

HELD_BYTES = 256 * 2**20  # beyond it the table lies in a file
ROW_TOKENS = 256
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class States:
    """Shapes: table (tokens, D) float32, start (N + 1,) int64."""

    table: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    def batch(self, which: np.ndarray) -> tuple[Tensor, Batch]:
        """Chosen texts packed into rows; filling holds the first token's state and is read by nobody. Gives (S, T, D)."""
        pieces = [np.arange(self.start[i], self.start[i + 1]) for i in which]
        longest = max((len(piece) for piece in pieces), default=1)
        packed = pack_pieces(pieces, min(ROW_TOKENS, max(64, longest)))
        return torch.from_numpy(self.table[packed.ids.numpy()]), packed


def states_of(
    trunk: SparseEncoder, ids: list[np.ndarray], embed: Path, first: int, *, kept: Path | None = None, told: Told | None = None
) -> States:  # fmt: skip
    """States that enter block `first` of each tokenized text, by the served embedding graph and the frozen blocks.

    A table beyond HELD_BYTES is written to the file `kept` where one is given.
    """
    short = [features.cut(row) for row in ids]
    start = np.concatenate([[0], np.cumsum([len(row) for row in short])]).astype(np.int64)
    shape = (int(start[-1]), trunk.config.width)
    large = kept is not None and 4 * shape[0] * shape[1] > HELD_BYTES
    table = np.memmap(kept, np.float32, "w+", shape=shape) if large else np.empty(shape, np.float32)
    session, done = features.open_session(embed), 0
    for group in tokens.batches_by_length([len(row) for row in short], 2048, 64):
        batch, mask = tokens.pad([short[i] for i in group])
        embedded = torch.from_numpy(session.run(["embedded"], {"input_ids": batch})[0])
        segment = torch.where(
            torch.from_numpy(mask) > 0, torch.arange(len(group))[:, None], torch.tensor(-1)
        )  # a text's number, or -1 for filling
        found = below(trunk, embedded, segment, first).numpy()
        for place, i in enumerate(group):
            table[start[i] : start[i + 1]] = found[place, : len(short[i])]
        done += len(group)
        if told is not None:
            told(done, len(short))
    return States(table, start)
