"""Text to token ids, as padded arrays: one tokenizer for the trunk, the wide channel and the student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from modelhub.ml.wordpieces import plain_text

PAD = 0


class TextTokenizer:
    """The library's tokenizer, with a short way for plain English text that gives the same ids. Safe to share by threads."""

    def __init__(self, path: Path) -> None:
        self.library = Tokenizer.from_file(str(path))
        self.library.no_padding()
        self.library.no_truncation()
        self._plain = plain_text(path)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, uncut."""
        if self._plain is None:
            return [encoding.ids for encoding in self._library(texts)]
        read = [self._plain.read(text) for text in texts]
        odd = [place for place, ids in enumerate(read) if ids is None]
        for place, encoding in zip(odd, self._library([texts[i] for i in odd]), strict=True):
            read[place] = encoding.ids
        return [ids for ids in read if ids is not None]

    def _library(self, texts: Sequence[str]) -> list[Encoding]:
        if len(texts) == 1:  # a batch of one would go through the library's thread pool
            return [self.library.encode(texts[0])]
        return self.library.encode_batch_fast(texts) if texts else []


def load_tokenizer(path: Path) -> TextTokenizer:
    """Read a `tokenizer.json`; its own padding and cutting are off: we do both per batch."""
    return TextTokenizer(path)


def encode(tokenizer: TextTokenizer, texts: list[str], max_tokens: int) -> list[np.ndarray]:
    """Token ids of each text, cut at `max_tokens`, the closing mark kept. Gives int64 arrays."""
    limit = (
        max_tokens * 12
    )  # no English word piece is longer on average: spares tokenizing what is cut anyway
    rows = []
    for ids in tokenizer.ids([text[:limit] for text in texts]):
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
