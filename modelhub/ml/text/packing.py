"""Rows of tokens as flat tensors, and batches in which several short texts share one row of fixed length."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Texts of several workloads as token positions in a small vocabulary.

    Shapes: flat (tokens,) int32, start (N + 1,) int64, y (N,) int64, workload (N,) int64, an index into `labels`.
    """

    flat: np.ndarray
    start: np.ndarray
    y: np.ndarray
    workload: np.ndarray
    labels: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def names(self) -> list[str]:
        """The workloads, in the order of `workload`."""
        return list(self.labels)

    def lengths(self, most: int) -> np.ndarray:
        """Tokens of each text that are read. Gives (N,)."""
        return np.minimum(np.diff(self.start), most)

    def piece(self, row: int) -> np.ndarray:
        """The tokens of one text."""
        return self.flat[self.start[row] : self.start[row + 1]]

    def take(self, which: np.ndarray) -> TokenRows:
        """The rows at these positions."""
        pieces = [self.piece(i) for i in which]
        start = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        flat = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
        return TokenRows(flat, start, self.y[which], self.workload[which], self.labels)

    def join(self, other: TokenRows) -> TokenRows:
        """These rows, then the other's."""
        start = np.concatenate([self.start, self.start[-1] + other.start[1:]])
        pairs = ((self.flat, other.flat), (self.y, other.y), (self.workload, other.workload))
        flat, y, workload = (np.concatenate(pair) for pair in pairs)
        return TokenRows(flat, start, y, workload, self.labels)


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed texts. Shapes: ids, position, segment (S, T) int64; segment is the text's number or -1 for filling."""

    ids: Tensor
    position: Tensor
    segment: Tensor
    texts: int

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device, copied behind the queue."""
        moved = [t.to(device, non_blocking=True) for t in (self.ids, self.position, self.segment)]
        return Batch(moved[0], moved[1], moved[2], self.texts)


def pack(rows: TokenRows, which: np.ndarray, width: int) -> Batch:
    """Lay the chosen texts, cut at `width` tokens (the closing mark kept), into rows of `width`."""
    return pack_pieces([rows.piece(i) for i in which], width)


def pack_pieces(pieces: list[np.ndarray], width: int) -> Batch:
    """Lay texts into rows of `width`, longest first, each into the first row that has room."""
    pieces = [_cut(piece, width) for piece in pieces]
    lengths = np.array([len(piece) for piece in pieces])
    room: list[int] = []
    placed: list[tuple[int, int]] = [(0, 0)] * len(pieces)
    for index in np.argsort(-lengths, kind="stable"):
        length = int(lengths[index])
        line = next((i for i, left in enumerate(room) if left >= length), len(room))
        if line == len(room):
            room.append(width)
        placed[index] = (line, width - room[line])
        room[line] -= length
    ids, position = (np.zeros((len(room), width), np.int64) for _ in range(2))
    segment = np.full((len(room), width), -1, np.int64)
    for text, (piece, (line, at)) in enumerate(zip(pieces, placed, strict=True)):
        span = slice(at, at + len(piece))
        ids[line, span], position[line, span], segment[line, span] = piece, np.arange(len(piece)), text
    return Batch(torch.from_numpy(ids), torch.from_numpy(position), torch.from_numpy(segment), len(pieces))


def invent(rows: TokenRows, count: int, rng: np.random.Generator, most: int = 96) -> list[np.ndarray]:
    """Texts that nobody wrote, to hear the trunk on: the head of one and often the tail of another, tokens dropped.

    The opening and closing marks are kept. Gives token positions, each at most `most` long.
    """
    made = []
    for first, second, join in zip(
        *rng.integers(len(rows), size=(2, count)), rng.random(count) < 0.5, strict=True
    ):
        whole = rows.piece(first)
        body = whole[1:-1]
        if join:
            other = rows.piece(second)[1:-1]
            cut, take = rng.random(2)
            body = np.concatenate([body[: 1 + int(cut * len(body))], other[int(take * len(other)) :]])
        body = body[rng.random(len(body)) > 0.1]
        made.append(np.concatenate([whole[:1], body[: most - 2], whole[-1:]]))
    return made


def _cut(piece: np.ndarray, width: int) -> np.ndarray:
    return piece if len(piece) <= width else np.concatenate([piece[: width - 1], piece[-1:]])


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The frozen embedding layer for the tokens that occur.

    Shapes: vocabulary (V,) int64, the trunk's ids; words (V, 384); places (512, 384), the token type added in;
    gain and shift (384,).
    """

    vocabulary: np.ndarray
    words: Tensor
    places: Tensor
    gain: Tensor
    shift: Tensor

    def to(self, device: torch.device | str) -> Embeddings:
        """The same on another device."""
        moved = [t.to(device) for t in (self.words, self.places, self.gain, self.shift)]
        return Embeddings(self.vocabulary, *moved)

    def __call__(self, batch: Batch) -> Tensor:
        """Embedded tokens, normalised. Gives (S, T, 384) float32."""
        x = self.words[batch.ids] + self.places[batch.position]
        return F.layer_norm(x, (x.size(-1),), self.gain, self.shift, EPSILON)


def save_rows(path: Path, rows: TokenRows) -> None:
    """Write rows as safetensors, the labels in its header. Up to 65,536 different tokens."""
    tensors = {
        "flat": rows.flat.astype(np.uint16),
        "start": rows.start,
        "y": rows.y,
        "workload": rows.workload,
    }
    save_file(tensors, str(path), metadata={"labels": json.dumps(rows.labels)})


def load_rows(path: Path) -> TokenRows:
    """Read what `save_rows` wrote."""
    held = load_file(str(path))
    with safe_open(str(path), "np") as stream:
        labels = json.loads(stream.metadata()["labels"])
    return TokenRows(held["flat"].astype(np.int32), held["start"], held["y"], held["workload"], labels)
