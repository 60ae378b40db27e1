"""One step of the language model over some rows, and the caches those rows grow in.

Shapes: B rows, S new tokens (padded on the right), P slots, W width of a slot, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from modelhub.serving.runtime import GraphSession

BLOCK = 64  # slots are added in blocks, so that a cache is copied once in so many tokens

Counted = Callable[[np.ndarray], None]


class Caches:
    """Caches of several rows: a list of (rows, slots, width) arrays, one a layer, and how many slots each row fills.

    Rows 0…n of every layer lie side by side in memory, so a step over the first n rows copies nothing.
    """

    def __init__(self, layers: int, width: int) -> None:
        self.arrays = [np.zeros((0, 0, width), np.float32) for _ in range(layers)]
        self.lengths = np.zeros(0, np.int64)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def slots(self) -> int:
        return self.arrays[0].shape[1]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    def room(self, rows: int, slots: int) -> Caches:
        """Itself, with at least so many rows and slots; shrinks when far fewer slots are needed than there are."""
        blocks = -(-slots // BLOCK) * BLOCK
        more_rows = max(self.rows, 1)
        while more_rows < rows:
            more_rows *= 2
        if more_rows == self.rows and self.slots // 2 < blocks <= self.slots:
            return self
        kept = min(self.slots, blocks)
        for index, array in enumerate(self.arrays):
            grown = np.zeros((more_rows, blocks, array.shape[2]), np.float32)
            grown[: self.rows, :kept] = array[:, :kept]
            self.arrays[index] = grown
        self.lengths = np.concatenate([self.lengths, np.zeros(more_rows - self.rows, np.int64)])
        return self

    def clear(self, row: int) -> None:
        self.lengths[row] = 0

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`."""
        for array in self.arrays:
            array[target] = array[source]
        self.lengths[target] = self.lengths[source]

    def swap(self, one: int, other: int) -> None:
        """Two rows change places."""
        for array in self.arrays:
            array[[one, other]] = array[[other, one]]
        self.lengths[[one, other]] = self.lengths[[other, one]]

    def append(self, first: int, fresh: list[np.ndarray], counts: np.ndarray) -> None:
        """Fill the next slots of rows first… with the first `counts` of `fresh` (B, S, W)."""
        for offset, count in enumerate(counts):
            row = first + offset
            at = self.lengths[row]
            for array, new in zip(self.arrays, fresh, strict=True):
                array[row, at : at + count] = new[offset, :count]
            self.lengths[row] += count


class Steps(Protocol):
    """How a graph is stepped: many rows at once where it can, else one by one behind the same call."""

    layers: int
    width: int

    def run(
        self, ids: np.ndarray, counts: np.ndarray, caches: Caches, first: int, counted: Counted | None = None
    ) -> np.ndarray: ...


class ManyRows:
    """The serving graph: rows at different places in one run (`modelhub.ml.lm.graph`)."""

    def __init__(self, session: GraphSession, layers: int, width: int) -> None:
        self._session, self.layers, self.width = session, layers, width
        self._names = ["logits", *(f"fresh.{i}" for i in range(layers))]

    def run(
        self, ids: np.ndarray, counts: np.ndarray, caches: Caches, first: int, counted: Counted | None = None
    ) -> np.ndarray:
        """Logits (B, V); the caches of rows first… grow by `counts`. `counted` hears expert counts (B, layers, E)."""
        rows = slice(first, first + len(ids))
        feed: dict[str, Any] = {"ids": ids, "lengths": caches.lengths[rows], "counts": counts}
        empty = not feed["lengths"].any()  # a first read meets no cache: nothing of it is looked at
        for index, array in enumerate(caches.arrays):
            feed[f"past.{index}"] = array[rows, :0] if empty else array[rows]
        names = [*self._names, "expert_counts"] if counted else self._names
        logits, *rest = self._session.run(names, feed)
        caches.append(first, rest[: self.layers], counts)
        if counted:
            counted(rest[-1])
        return logits


class OneRow:
    """The unrolled graph (`modelhub.ml.lm.export`): standard operators only, one row a run."""

    def __init__(self, session: GraphSession, layers: int, width: int) -> None:
        self._session, self.layers, self.width = session, layers, width

    def run(
        self, ids: np.ndarray, counts: np.ndarray, caches: Caches, first: int, counted: Counted | None = None
    ) -> np.ndarray:
        """As ManyRows, without expert counts."""
        answers = []
        for offset, count in enumerate(counts):
            row = first + offset
            seen = int(caches.lengths[row])
            past = np.stack([array[row : row + 1, :seen] for array in caches.arrays])
            feed = {"ids": ids[offset : offset + 1, :count], "past": past}
            logits, present = self._session.run(["logits", "present"], feed)
            caches.append(row, [layer[:, seen:] for layer in present], counts[offset : offset + 1])
            answers.append(logits[0])
        return np.stack(answers)
