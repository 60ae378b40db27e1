"""What a router reads of a prompt: token n-grams, the edge student's vector of each token, and marks of form.

A prompt becomes three things: hashed one- and two-token terms (inverse document frequency, unit length), the mean of its tokens'
vectors in the student's own table (rare tokens weigh more: Arora et al. 2017, smooth inverse frequency), and eighteen plain marks
of its form. The table is copied when the router is fitted: another student changes nothing for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

VOCABULARY = 30_522  # of the text models' tokenizer
PAIR_BITS = 18  # at 15 a bucket holds a dozen pairs, and whatever it learns is theirs together
TERMS = VOCABULARY + (1 << PAIR_BITS)
MOST_CHARACTERS, MOST_TOKENS = 6_000, 512
_OPTION = re.compile(r"\n[A-D]\. ")
_NUMBER = re.compile(r"[\d.,$%\s/-]+")
_DIGIT, _UPPER, _SIGN = re.compile(r"\d"), re.compile(r"[A-Z]"), re.compile(r"[=+\-*/^<>()$\\]")
MARKS = (
    "log_length", "log_stem", "log_option", "log_option_spread", "numeric_options", "digits", "signs", "questions", "negation",
    "loud_negation", "gap", "statements", "lines", "capitals", "sentences", "all_of_these", "none_of", "word_length",
)  # fmt: skip


class Reads(Protocol):
    """Tokenizer and embedding together (`embedding.Reader`)."""

    body: str  # digest of the edge student's graph: which student drew a sketch

    def ids(self, texts: Sequence[str], most_characters: int) -> list[np.ndarray]: ...

    def embed(self, rows: Sequence[np.ndarray]) -> np.ndarray: ...


def terms(ids: np.ndarray, seed: int = 0) -> np.ndarray:
    """The distinct terms of a text: its token ids, and hashed pairs of neighbours behind them. Gives (K,) int64, sorted."""
    pairs = (ids[:-1] * (0x9E3779B1 + 2 * seed) + ids[1:] * 40_503) & ((1 << PAIR_BITS) - 1)
    return np.unique(np.concatenate([ids, VOCABULARY + pairs]))


def marks(text: str) -> np.ndarray:
    """Marks of form in the order of MARKS, (18,) float32. Linear in the text's length."""
    text = text[:MOST_CHARACTERS]
    length, lower = max(1, len(text)), text.lower()
    stem, *rest = _OPTION.split(text)
    options = [option.strip() for option in rest[:4]] or [""]
    sizes = np.array([len(option) for option in options], float)
    words = text.split()
    return np.array(
        [
            np.log1p(length), np.log1p(len(stem)), np.log1p(sizes.mean()), np.log1p(sizes.std()),
            sum(bool(_NUMBER.fullmatch(option)) for option in options), len(_DIGIT.findall(text)) / length,
            len(_SIGN.findall(text)) / length, text.count("?"), " not " in lower or "except" in lower, " NOT " in text,
            "___" in text, "Statement 1" in text, text.count("\n"), len(_UPPER.findall(text)) / length, stem.count("."),
            "all of the above" in lower, "none of" in lower, sum(map(len, words)) / max(1, len(words)),
        ],
        np.float32,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenTable:
    """A frozen vector for each token of the vocabulary and how much it weighs in a mean.

    Shapes: vectors (VOCABULARY, D) float32, zero where a token has none; weight (VOCABULARY,) float32.
    """

    vectors: np.ndarray
    weight: np.ndarray

    def mean(self, ids: np.ndarray) -> np.ndarray:
        """The weighted mean of a text's tokens, (D,) float32; zero for an empty text."""
        if not len(ids):
            return np.zeros(self.vectors.shape[1], np.float32)
        weight = self.weight[ids]
        return (weight @ self.vectors[ids]) / max(float(weight.sum()), 1e-6)


@dataclass(frozen=True, slots=True)
class Read:
    """N prompts as read: terms of each, mean vectors (N, D), and marks (N, 18; a trial may put more beside them)."""

    terms: list[np.ndarray]
    means: np.ndarray
    marks: np.ndarray

    def take(self, rows: np.ndarray) -> Read:
        return Read([self.terms[i] for i in rows], self.means[rows], self.marks[rows])


def read(texts: Sequence[str], reader: Reads, table: TokenTable, seed: int = 0) -> Read:
    """Everything a router looks at, for N texts."""
    whole = reader.ids(texts, MOST_CHARACTERS)
    ids = [row[1:-1][:MOST_TOKENS] for row in whole]
    plain = np.array([marks(text) for text in texts], np.float32).reshape(-1, len(MARKS))
    return Read(
        [terms(row, seed) for row in ids],
        np.array([table.mean(row) for row in ids], np.float32).reshape(-1, table.vectors.shape[1]),
        plain,
    )
