"""One cheap look at a text before anything else: its words, and its longest run of digits.

Both come from `bytes.translate`, which takes about a microsecond for 1 kB. A pattern is tried only where a word of its own is
there, and only at that word's places; the classifier looks its weights up by the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SMALL = {ord(c): c.lower() for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"}
_WORDS = bytes(ord(_SMALL.get(i, " ")) for i in range(256))
_DIGITS = bytes(i if 48 <= i <= 57 else 32 for i in range(256))
_HAN = re.compile(r"[\u4e00-\u9fff]")
_MIXED = re.compile(r"[\u4e00-\u9fff]|[a-z0-9]+")
BETWEEN_DIGITS = b" ()./-+"  # what people write between the digits of one number
_PROSE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \n\t\r.,;?'\"()"
_DIGIT = re.compile(rb"[0-9]")


class Look:
    """A text with its bytes, its words in order (lower-cased ASCII letters and digits; everything else parts them; Chinese by the
    character), the set of them, the length of its longest number and how many digits there are in all, itself in small letters
    of the same length, and what is `odd` in it: its bytes but for ASCII letters and what prose has between them, so that a short
    look tells which signs are there."""

    __slots__ = ("_lower", "data", "digits", "is_ascii", "longest", "odd", "sequence", "text", "words")

    def __init__(self, text: str) -> None:
        self.text = text
        self._lower: str | None = None  # most texts have no word that asks for it
        self.data = text.encode("utf-8", "replace")
        self.is_ascii = len(self.data) == len(text)
        if not self.is_ascii and _HAN.search(text):
            self.sequence: list[str] = _MIXED.findall(self.lower)
        else:
            self.sequence = self.data.translate(_WORDS).decode("ascii").split()
        self.words = set(self.sequence)
        self.odd = self.data.translate(None, _PROSE)
        self.longest = self.digits = 0
        if self.odd and self.has_digits:
            runs = [len(run) for run in self.data.translate(_DIGITS, BETWEEN_DIGITS).split()]
            self.longest, self.digits = max(runs), sum(runs)

    @property
    def has_digits(self) -> bool:
        return _DIGIT.search(self.odd) is not None

    @property
    def longest_word(self) -> int:
        return max(map(len, self.words), default=0)

    @property
    def lower(self) -> str:
        if self._lower is None:
            lower = self.text.lower()
            self._lower = lower if len(lower) == len(self.text) else "".join(map(_small, self.text))
        return self._lower


def _small(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char


def places(text: str, literal: str) -> Iterator[int]:
    """Where a literal stands."""
    at = text.find(literal)
    while at >= 0:
        yield at
        at = text.find(literal, at + 1)
