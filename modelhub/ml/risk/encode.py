"""Texts as numbers for fitting: keys of the reader, each distinct one once with its buckets and its word pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from modelhub.ml.risk import net, reading

LONGEST = 64  # keys
CHUNK = 20_000


@dataclass(slots=True)
class Lists:
    """Lists of unequal length in one: item i is `flat[starts[i]:starts[i + 1]]`."""

    flat: Tensor
    starts: Tensor

    @classmethod
    def of(cls, items: Sequence[Sequence[int]]) -> Lists:
        return cls.from_parts([_flat(items)])

    @classmethod
    def from_parts(cls, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Lists:
        """Of (values of all items, size of each), one part after another."""
        flat, sizes = (np.concatenate([part[i] for part in parts]).astype(np.int64) for i in (0, 1))
        return cls(torch.from_numpy(flat), torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)])))

    def to(self, device: str) -> Lists:
        return Lists(self.flat.to(device), self.starts.to(device))

    def sizes(self, rows: Tensor) -> Tensor:
        return self.starts[rows + 1] - self.starts[rows]

    def joined(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Items of these rows one after another, and where each begins."""
        sizes = self.sizes(rows)
        ends = sizes.cumsum(0)
        begins = ends - sizes
        shift = torch.repeat_interleave(self.starts[rows] - begins, sizes)
        return self.flat[shift + torch.arange(len(shift), device=shift.device)], begins

    def padded(self, rows: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """(B, T) of these rows with zeros after their ends, and a mask of what is there."""
        sizes = self.sizes(rows).clamp(max=longest)
        at = torch.arange(int(sizes.max()), device=rows.device)
        mask = at[None, :] < sizes[:, None]
        where = (self.starts[rows][:, None] + at[None, :]).clamp(max=len(self.flat) - 1)
        return self.flat[where] * mask, mask


@dataclass(slots=True)
class Texts:
    """Rows of keys; per distinct key its text, its buckets and its row among the words (−1: none)."""

    keys: list[str]
    rows: Lists
    buckets: Lists
    words: Tensor
    chinese: Tensor

    def to(self, device: str) -> Texts:
        parts = (
            self.rows.to(device),
            self.buckets.to(device),
            self.words.to(device),
            self.chinese.to(device),
        )
        return Texts(self.keys, *parts)

    def __len__(self) -> int:
        return len(self.chinese)


def _flat(items: Iterable[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    found = list(items)
    sizes = np.fromiter(map(len, found), np.int32, len(found))
    return np.fromiter((value for item in found for value in item), np.int32, int(sizes.sum())), sizes


def _buckets(keys: list[str]) -> tuple[np.ndarray, np.ndarray]:
    return _flat(map(net.buckets_of, keys))


def _cut(keys: list[str], cut: Callable[[str], list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return _flat([] if key.startswith("\x02") else cut(key) for key in keys)


def _chunks(items: list[str]) -> list[list[str]]:
    return [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]


def _read(texts: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Distinct keys of a chunk, each text's keys as places among them, and how many each has."""
    ids: dict[str, int] = {}
    flat: list[int] = []
    sizes = np.zeros(len(texts), np.int64)
    for i, text in enumerate(texts):
        found = reading.keys(text)[:LONGEST] or ["."]
        sizes[i] = len(found)
        flat += [ids.setdefault(key, len(ids)) for key in found]
    return list(ids), np.array(flat, np.int64), sizes


def encode(texts: list[str], words: dict[str, int], pool: Executor | None = None) -> Texts:
    """All of these texts; `words`: which row of the frozen vectors a word has."""
    over = pool.map if pool is not None else map
    ids: dict[str, int] = {}
    flats, sizes = [], []
    for keys, flat, size in over(_read, _chunks(texts)):
        places = np.fromiter((ids.setdefault(key, len(ids)) for key in keys), np.int64, len(keys))
        flats.append(places[flat])
        sizes.append(size)
    keys = list(ids)
    flat, size = np.concatenate(flats), np.concatenate(sizes)
    rows = Lists(torch.from_numpy(flat), torch.from_numpy(np.concatenate([[0], np.cumsum(size)])))
    character = np.fromiter((key.startswith("\x02") for key in keys), bool, len(keys))
    chinese = np.logical_or.reduceat(character[flat], rows.starts[:-1].numpy())
    found = np.fromiter((words.get(key, -1) for key in keys), np.int64, len(keys))
    buckets = Lists.from_parts(list(over(_buckets, _chunks(keys))))
    return Texts(keys, rows, buckets, torch.from_numpy(found), torch.from_numpy(chinese))


def pieces_of(
    texts: Texts, cut: Callable[[str], list[int]], before: int, after: int, longest: int, pool: Executor | None = None
) -> Lists:  # fmt: skip
    """Each row's word pieces between the two marks, for the teacher."""
    over = pool.map if pool is not None else map
    each = Lists.from_parts(list(over(partial(_cut, cut=cut), _chunks(texts.keys))))
    counts = each.sizes(texts.rows.flat)
    pieces, _ = each.joined(texts.rows.flat)
    ends = np.concatenate([[0], counts.cumsum(0).numpy()])
    first, last = ends[texts.rows.starts[:-1].numpy()], ends[texts.rows.starts[1:].numpy()]
    inner = np.minimum(last - first, longest - 2)
    begin = np.concatenate([[0], np.cumsum(inner + 2)])
    out = np.empty(int(begin[-1]), np.int64)
    out[begin[:-1]], out[begin[1:] - 1] = before, after
    within = np.arange(int(inner.sum())) - np.repeat(np.cumsum(inner) - inner, inner)
    out[np.repeat(begin[:-1] + 1, inner) + within] = pieces.numpy()[np.repeat(first, inner) + within]
    return Lists(torch.from_numpy(out), torch.from_numpy(begin))
