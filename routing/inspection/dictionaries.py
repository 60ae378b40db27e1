"""Customers' own terms (project names, products before launch): found as sequences of words, linear whatever the terms are.

A term is cut into words (Chinese into characters), case and what stands between them aside. At each word of a text one look-up is
made for each length that terms have, and only when some term's first word is in the text at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from modelhub.ml.inspect.look import Look
from routing.contracts import strictest

MAX_TERM = 200  # characters
MAX_WORDS = 16
MAX_TERMS = 20_000
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


def words_of(term: str) -> tuple[str, ...]:
    """A term as it is compared."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", term).casefold()))


@dataclass(frozen=True, slots=True)
class Dictionaries:
    """All terms that hold for one line of business, with the class each raises a request to."""

    terms: dict[tuple[str, ...], str] = field(default_factory=dict)
    _firsts: frozenset[str] = frozenset()
    _ascii_firsts: frozenset[str] = frozenset()
    _all_ascii: bool = True
    _lengths: tuple[int, ...] = ()
    unreadable: bool = (
        False  # some of them could not be opened: nothing that is read with them counts as read
    )

    @classmethod
    def closed(cls) -> Dictionaries:
        """In place of dictionaries that can't be opened."""
        return cls(unreadable=True)

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Dictionaries:
        """From (term, class). A term in two dictionaries has the stricter class; one without a letter or digit is left out."""
        terms: dict[tuple[str, ...], str] = {}
        for term, sensitivity in pairs:
            words = words_of(term)[:MAX_WORDS]
            if words:
                terms[words] = strictest(terms[words], sensitivity) if words in terms else sensitivity
        firsts = frozenset(words[0] for words in terms)
        plain = frozenset(word for word in firsts if word.isascii())
        lengths = tuple(sorted({len(words) for words in terms}))
        return cls(terms, firsts, plain, len(plain) == len(firsts), lengths)

    def __bool__(self) -> bool:
        return bool(self.terms) or self.unreadable

    def find(self, look: Look) -> Iterator[tuple[int, int, str]]:
        """(start, end, class) of each term. Raises ValueError when some of the terms are unknown."""
        if self.unreadable:
            raise ValueError("a dictionary could not be opened")
        if self._all_ascii and self._ascii_firsts.isdisjoint(look.words) and look.text.isascii():
            return
        places = [(m.group().casefold(), m.start(), m.end()) for m in _WORD.finditer(look.text)]
        words = [word for word, _, _ in places]
        for i, word in enumerate(words):
            if word not in self._firsts:
                continue
            for length in self._lengths:
                sensitivity = self.terms.get(tuple(words[i : i + length]))
                if sensitivity is not None:
                    yield places[i][1], places[min(i + length, len(places)) - 1][2], sensitivity
