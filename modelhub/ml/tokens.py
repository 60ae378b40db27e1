"""Text to token ids, as padded arrays: one tokenizer for the trunk, the wide channel and the student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

PAD = 0


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json` and switch its own padding and cutting off: we do both per batch."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str], max_tokens: int) -> list[np.ndarray]:
    """Token ids of each text, cut at `max_tokens`, the closing mark kept. Gives int64 arrays."""
    limit = (
        max_tokens * 12
    )  # no English word piece is longer on average: spares tokenizing what is cut anyway
    rows = []
    for encoding in tokenizer.encode_batch_fast([text[:limit] for text in texts]):
        ids = encoding.ids
        if len(ids) > max_tokens:
            ids = [*ids[: max_tokens - 1], ids[-1]]
        rows.append(np.asarray(ids, np.int64))
    return rows


def pad(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Stack rows of unequal length. Gives ids and mask, both (B, T) int64, T the longest row (at least 1)."""
    width = max((len(row) for row in rows), default=0) or 1
    ids = np.full((len(rows), width), PAD, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def batches_by_length(lengths: list[int], budget: int, most: int) -> list[list[int]]:
    """Group positions so that texts of like length share a batch of at most `budget` padded tokens."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups: list[list[int]] = []
    current: list[int] = []
    for index in order:
        if current and ((len(current) + 1) * lengths[index] > budget or len(current) >= most):
            groups.append(current)
            current = []
        current.append(index)
    if current:
        groups.append(current)
    return groups
