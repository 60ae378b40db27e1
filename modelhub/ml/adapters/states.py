"""Texts as the states that enter the first adapted block: a frozen part needn't be run again each epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modelhub.ml.adapters.inject import AdaptedEncoder, Adapter
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.packing import Batch, pack_pieces

ROW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class States:
    """Shapes: table (tokens, D) float32 or float16, start (N + 1,) int64."""

    table: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    def batch(self, which: np.ndarray) -> tuple[Tensor, Batch]:
        """Chosen texts packed into rows; filling holds the first token's state and is read by nobody. Gives (S, T, D)."""
        pieces = [np.arange(self.start[i], self.start[i + 1]) for i in which]
        longest = max((len(piece) for piece in pieces), default=1)
        packed = pack_pieces(pieces, min(ROW_TOKENS, max(64, longest)))
        return torch.from_numpy(self.table[packed.ids.numpy()].astype(np.float32, copy=False)), packed

    def encoder(self, trunk: SparseEncoder, adapter: Adapter) -> AdaptedEncoder:
        """What turns a batch into features."""
        return AdaptedEncoder(trunk, adapter)
