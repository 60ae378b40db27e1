"""A small sparse network's shape, texts whose first words tell their label, and an embedding of its own."""

from __future__ import annotations

import numpy as np
import torch

from modelhub.ml.text.encoder import EncoderConfig
from modelhub.ml.text.packing import Embeddings, TokenRows

CONFIG = EncoderConfig(
    kind="sparse",
    start="random",
    width=32,
    layers=3,
    attention_heads=4,
    experts=6,
    hidden=8,
    shared=8,
    dropout=0.0,
)
LABELS = {"notes": ["cold", "warm"], "mail": ["in", "out", "spam"]}
WORDS = 1000


def rows(count: int, seed: int) -> TokenRows:
    """Texts whose first three words tell the label, of two workloads in turn."""
    rng = np.random.default_rng(seed)
    workload = np.arange(count) % 2
    y = np.array([rng.integers(len(LABELS["mail" if w else "notes"])) for w in workload])
    pieces = [
        np.concatenate([9 * w + 3 * label + np.arange(3), rng.integers(20, WORDS, rng.integers(2, 8))])
        for w, label in zip(workload, y, strict=True)
    ]
    start = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return TokenRows(np.concatenate(pieces).astype(np.int32), start, y, workload, LABELS)


def embeddings() -> Embeddings:
    maker = torch.Generator().manual_seed(0)
    words, places = torch.randn(WORDS, 384, generator=maker), torch.randn(64, 384, generator=maker) * 0.1
    return Embeddings(np.arange(WORDS), words, places, torch.ones(384), torch.zeros(384))
