"""Continuous batching: answers join a running batch, take one token a step each, and leave when they are done.

Rows that write fill places 0…n of the caches and rows that still read their prompt come after them, so every step is
one run over rows that lie side by side. Prompts are read in bounded pieces between the steps, so a long one delays the
others' next token by one piece (Sarathi-Serve, arXiv:2403.02310). Each row has its own random numbers, so a batch
says what each answer would have said alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelhub.serving.errors import NotFinite
from modelhub.serving.runners.lm import CausalLM
from modelhub.serving.runners.lm_steps import Caches
from modelhub.serving.runners.writing import Piece, Writer

READ_TOKENS = 256  # of prompts in one piece
READ_ROWS = 16


@dataclass(slots=True, eq=False)
class Row:
    """One answer in a batch."""

    ids: list[int]
    writer: Writer
    read: int = 0
    pieces: list[Piece] = field(default_factory=list)
    error: Exception | None = None

    @property
    def prompt_tokens(self) -> int:
        return len(self.ids)

    @property
    def done(self) -> bool:
        return self.error is not None or self.writer.finish_reason is not None


class LmBatch:
    """Rows of one model. Not thread-safe: one thread adds, steps and removes.

    `add` raises PromptTooLong or ValueError as `CausalLM.stream` does, and ValueError when the batch is full.
    """

    def __init__(self, model: CausalLM, max_rows: int) -> None:
        self.model, self.max_rows = model, max_rows
        self._writing: list[Row] = []
        self._reading: list[Row] = []
        self._caches: Caches = model.empty_cache()

    def __len__(self) -> int:
        return len(self._writing) + len(self._reading)

    @property
    def full(self) -> bool:
        return len(self) >= self.max_rows

    @property
    def cache_bytes(self) -> int:
        return self._caches.nbytes

    def add(
        self, prompt_ids: Sequence[int], max_tokens: int, temperature: float = 1.0, top_p: float = 1.0,
        seed: int | None = None, stop: Sequence[str] = (),
    ) -> Row:  # fmt: skip
        """A new answer; its pieces come with the steps."""
        if self.full:
            raise ValueError(f"the batch holds {self.max_rows} rows already")
        limit = self.model.room_for(prompt_ids, max_tokens)
        writer = Writer(
            limit, self.model.end_ids, self.model.token_bytes,
            temperature=temperature, top_p=top_p, seed=seed, stop=stop,
        )  # fmt: skip
        row = Row(list(prompt_ids), writer)
        self._reading.append(row)
        self._caches.room(len(self), 1)
        self._caches.clear(len(self) - 1)
        return row

    def remove(self, row: Row) -> None:
        """Let an answer go, finished or not."""
        if row in self._writing:
            at, last = self._writing.index(row), len(self._writing) - 1
            if at != last:
                self._caches.move(last, at)
                self._writing[at] = self._writing[last]
            self._writing.pop()
            if self._reading:  # the place between writers and readers goes to the last reader
                self._caches.move(last + len(self._reading), last)
                self._reading.insert(0, self._reading.pop())
        elif row in self._reading:
            at, last = self._reading.index(row), len(self._reading) - 1
            if at != last:
                self._caches.move(len(self._writing) + last, len(self._writing) + at)
                self._reading[at] = self._reading[last]
            self._reading.pop()

    def step(self, counted: Any = None) -> list[tuple[Row, int]]:
        """One token for every row that writes, and a piece of the prompts that wait to be read.

        Gives (row, weight) of every row that was computed; finished rows are out of the batch when it returns.
        `counted(rows, counts)` hears expert counts (B, layers, E) of the rows that wrote.
        """
        worked: list[tuple[Row, int]] = []
        if self._writing:
            worked += self._write(counted)
        if self._reading:
            worked += self._read()
        for row, _ in worked:
            if row.done:
                self.remove(row)
        return worked

    # ------------------------------------------------------------------ inside
    def _write(self, counted: Any) -> list[tuple[Row, int]]:
        rows = list(self._writing)
        longest = int(self._caches.lengths[: len(self)].max())
        self._caches.room(len(self), longest + 1)
        ids = np.array([[row.writer.last_token] for row in rows], np.int64)
        heard = (lambda counts: counted(rows, counts)) if counted else None
        self._take(rows, ids, np.ones(len(rows), np.int64), 0, heard)
        return [(row, 1) for row in rows]

    def _read(self) -> list[tuple[Row, int]]:
        rows = self._next_readers()
        counts = np.array([min(len(row.ids) - row.read, READ_TOKENS) for row in rows], np.int64)
        first = len(self._writing)
        longest = int(self._caches.lengths[: len(self)].max())
        self._caches.room(len(self), max(longest, max(row.read for row in rows) + int(counts.max())))
        ids = np.zeros((len(rows), int(counts.max())), np.int64)
        for place, (row, count) in enumerate(zip(rows, counts, strict=True)):
            ids[place, :count] = row.ids[row.read : row.read + count]
            row.read += int(count)
        ended = [row for row in rows if row.read == len(row.ids)]
        self._take(rows, ids, counts, first, None, answering=ended)
        for row in ended:
            self._begin(row)
        return [(row, int(count)) for row, count in zip(rows, counts, strict=True)]

    def _next_readers(self) -> list[Row]:
        """The first readers: several short prompts that begin, or a piece of one long prompt."""
        first = self._reading[0]
        rows, widest = [first], min(len(first.ids) - first.read, READ_TOKENS)
        if first.read:
            return rows
        for row in self._reading[1:READ_ROWS]:
            widest = max(widest, min(len(row.ids), READ_TOKENS))
            if row.read or widest * (len(rows) + 1) > READ_TOKENS:
                break
            rows.append(row)
        return rows

    def _begin(self, row: Row) -> None:
        """A row has read its prompt: it changes places with the first reader and writes from now on."""
        at = self._reading.index(row)
        if at:
            self._caches.swap(len(self._writing), len(self._writing) + at)
            self._reading[at] = self._reading[0]
        self._reading.pop(0)
        self._writing.append(row)

    def _take(
        self, rows: list[Row], ids: np.ndarray, counts: np.ndarray, first: int, heard: Any,
        answering: list[Row] | None = None,
    ) -> None:  # fmt: skip
        """Run a step; a value that is no number ends the row it is in and no other."""
        before = self._caches.lengths[first : first + len(rows)].copy()
        try:
            logits = self.model.read(ids, counts, self._caches, first, heard)
        except NotFinite:
            self._caches.lengths[first : first + len(rows)] = before
            self._row_by_row(rows, ids, counts, first, answering)
            return
        for row, scores in zip(rows, logits, strict=True):
            if answering is None or row in answering:
                row.pieces += row.writer.take(scores)

    def _row_by_row(
        self, rows: list[Row], ids: np.ndarray, counts: np.ndarray, first: int, answering: list[Row] | None
    ) -> None:
        for place, row in enumerate(rows):
            try:
                own = slice(place, place + 1)
                logits = self.model.read(ids[own, : counts[place]], counts[own], self._caches, first + place)
            except NotFinite as error:
                row.error = error
                self._caches.lengths[first + place] += counts[place]
            else:
                if answering is None or row in answering:
                    row.pieces += row.writer.take(logits[0])
