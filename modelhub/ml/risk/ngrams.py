"""Characters and words of a text as hashed n-grams, in numpy: what the risk classifier reads.

Character n-grams need no word boundaries, so one channel serves English and Chinese; words and pairs of words
are added because in English they say who does what.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np

BUCKETS = 1 << 18
MAX_CHARS = 2000
SIZES = (1, 2, 3, 4, 5)
_BASE, _PRIME = 1_000_003, (1 << 31) - 1
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"[a-z0-9']+")


def normalise(text: str) -> str:
    """Lower case, full-width folded, handles and links made alike, spaces single."""
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS]).lower()
    return f" {_SPACES.sub(' ', folded).strip()} "


def buckets_of(text: str) -> np.ndarray:
    """Distinct buckets of a text, sorted. Gives (n,) int64."""
    clean = normalise(text)
    codes = np.frombuffer(clean.encode("utf-32-le"), np.uint32).astype(np.int64)
    hashed, rolling = [], np.zeros(len(codes), np.int64)
    for size in SIZES:
        if size > len(codes):
            break
        rolling = (rolling[: len(codes) - size + 1] * _BASE + codes[size - 1 :]) % _PRIME
        hashed.append(rolling * (2 * size + 1))
    words = _word_hashes(clean)
    if len(words):
        hashed.append(words * 104_729)
        hashed.append((words[:-1] * 15_485_863 + words[1:] * 31) % _PRIME * 7)
    return np.unique(np.concatenate(hashed) % _PRIME % BUCKETS)


def _word_hashes(clean: str) -> np.ndarray:
    found = _WORD.findall(clean)
    return np.array([hash_word(word) for word in found], np.int64)


def hash_word(word: str) -> int:
    """A hash that is the same in every process (Python's own is salted)."""
    return int.from_bytes(word.encode()[:24], "little") % _PRIME
