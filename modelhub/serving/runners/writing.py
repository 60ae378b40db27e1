"""From logits to text: drawing a token, whole characters, stop strings, and why an answer ended. Numpy only."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import numpy as np

Piece = tuple[str, int | None]


def byte_alphabet() -> dict[str, int]:
    """The printable character that byte-level BPE writes for each byte, read backwards."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def sample(logits: np.ndarray, temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """One token id from logits (V,): the largest at temperature 0, else drawn from the smallest set of mass `top_p`.

    One uniform number is drawn per token whatever happens, so a seed says the same alone and in a batch.
    """
    if temperature <= 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / np.float32(temperature))
    if top_p >= 1:
        return _drawn(np.arange(len(weights)), weights, rng)
    falling = np.sort(weights)[::-1]
    mass = np.cumsum(falling, dtype=np.float64)
    edge = falling[int(np.searchsorted(mass, top_p * mass[-1]))]
    tokens = np.flatnonzero(weights >= edge)  # those that tie at the edge stay together
    return _drawn(tokens, weights[tokens], rng)


def _drawn(tokens: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> int:
    mass = np.cumsum(weights, dtype=np.float64)
    place = int(np.searchsorted(mass, rng.random() * mass[-1], side="right"))
    return int(tokens[min(place, len(tokens) - 1)])


class StopScanner:
    """Lets text through except what is, or may become, a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Text that is safe to release; after a stop string `found` is set and the rest is dropped."""
        self.held += text
        places = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if places:
            released, self.held, self.found = self.held[: min(places)], "", True
            return released
        keep = max((self._overlap(stop) for stop in self.stops), default=0)
        released = self.held[: len(self.held) - keep]
        self.held = self.held[len(self.held) - keep :]
        return released

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        released, self.held = self.held, ""
        return released

    def _overlap(self, stop: str) -> int:
        sizes = range(min(len(stop) - 1, len(self.held)), 0, -1)
        return next((n for n in sizes if self.held.endswith(stop[:n])), 0)


class Writer:
    """One answer: takes the logits of each step and gives the pieces they make, until `finish_reason` is set.

    A piece is whole UTF-8 text and may be empty while a character or a stop string is incomplete. Text that was held
    back when the last token had come is a piece without a token (None).
    """

    def __init__(
        self, limit: int, end_ids: set[int], token_bytes: Sequence[bytes], *, temperature: float, top_p: float,
        seed: int | None, stop: Sequence[str],
    ) -> None:  # fmt: skip
        self.completion_tokens = 0
        self.finish_reason: str | None = None
        self.last_token = -1
        self._limit, self._end_ids, self._bytes = limit, end_ids, token_bytes
        self._temperature, self._top_p = temperature, top_p
        self._rng = np.random.default_rng(seed)
        self._decoder: Any = codecs.getincrementaldecoder("utf-8")("replace")
        self._scanner = StopScanner(stop)

    def take(self, logits: np.ndarray) -> list[Piece]:
        """The pieces of one step from logits (V,)."""
        token = sample(logits, self._temperature, self._top_p, self._rng)
        if token in self._end_ids:
            return self._end("stop")
        self.completion_tokens += 1
        self.last_token = token
        text = self._scanner.feed(self._decoder.decode(self._bytes[token]))
        if self._scanner.found:
            self.finish_reason = "stop"
            return [(text, token)]
        if self.completion_tokens >= self._limit:
            return [(text, token), *self._end("length")]
        return [(text, token)]

    def _end(self, reason: str) -> list[Piece]:
        self.finish_reason = reason
        rest = self._scanner.feed(self._decoder.decode(b"", final=True)) + self._scanner.flush()
        return [(rest, None)] if rest else []
