"""A quick look before the net's: a text whose words add up to too little for harm needs no scoring.

Each known word weighs nothing or something (modelhub.ml.risk.plain finds the weights). Names of groups, abuse, violence, and
whatever is misspelt, masked, spelt apart or unknown have no weight, so a text with one of them goes to the net. Weights are never
negative: no word that is added makes a text lighter. Costs two microseconds a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

CONTRACTIONS = frozenset(
    f"{who}'{end}"
    for who, ends in {
        "i": "m ve ll d", "you": "re ve ll d", "he": "s ll d", "she": "s ll d", "it": "s ll d", "we": "re ve ll d",
        "they": "re ve ll d", "that": "s ll", "there": "s ll", "what": "s", "here": "s", "let": "s", "who": "s", "don": "t",
        "doesn": "t", "didn": "t", "isn": "t", "aren": "t", "wasn": "t", "weren": "t", "can": "t", "couldn": "t", "won": "t",
        "wouldn": "t", "shouldn": "t", "haven": "t", "hasn": "t", "hadn": "t", "where": "s", "how": "s", "today": "s",
    }.items()
    for end in ends.split()
)  # fmt: skip
_NUMBERS = frozenset(map(str, range(2101)))
ALWAYS = CONTRACTIONS | _NUMBERS | {"a", "i"}  # plain unless they are weighed
# Marks that part words. One inside a word leaves letters or pieces that no list knows.
_SPACES = '.,;:!?"()[]{}<>/\\-_*#`~=|\t\n\r'
_WIDE = dict.fromkeys("–—“”…•", " ") | {"’": "'"}
_READ = bytes(ord(" " if chr(c) in _SPACES else chr(c).lower()) if c < 128 else c for c in range(256))
_APART = "\0"  # between texts that are read at once
_NUMERIC = frozenset("0123456789%$€£+°")
FULL = 100  # what a text's words must stay under, together
MOST_WEIGHT = 255


class Screen:
    """Whether a text is plain. `weights`: of the known words, 0 to MOST_WEIGHT; words given without weights weigh nothing."""

    def __init__(self, weights: Mapping[str, int] | Iterable[str]) -> None:
        given = weights if isinstance(weights, Mapping) else dict.fromkeys(weights, 0)
        self.weights = dict.fromkeys(ALWAYS, 0) | dict(given)
        if min(self.weights.values()) < 0:
            raise ValueError("a word of the screen weighs less than nothing; expected 0 to 255: fit it anew")
        self.plain = frozenset(word for word, weight in self.weights.items() if not weight)

    def passes(self, text: str) -> bool:
        """True: nothing in it that the net could take offence at. A word that comes again weighs once."""
        return self._light(_spaced(text).split())

    def heavy(self, texts: Sequence[str]) -> list[int]:
        """Which of the texts don't pass."""
        told = _spaced(_APART.join(texts)).split(_APART)
        if len(told) != len(texts):
            told = [_spaced(text) for text in texts]
        return [i for i, text in enumerate(told) if not self._light(text.split())]

    def _light(self, words: list[str]) -> bool:
        weights = self.weights
        try:
            if sum(map(weights.__getitem__, words)) < FULL:
                return True
        except KeyError:  # an amount, or a word that nobody knows
            pass
        total = 0
        for word in set(words) - self.plain:
            weight = weights.get(word)
            if weight is None:
                if not _NUMERIC.issuperset(word):
                    return False
                continue
            total += weight
            if total >= FULL:
                return False
        return True


def words_in(text: str) -> set[str]:
    """A text's words as the screen reads them."""
    return set(_spaced(text).split())


def _spaced(text: str) -> str:
    """In small letters, a space for each mark that parts words."""
    if not text.isascii():
        text = text.lower()
        for mark, meant in _WIDE.items():
            text = text.replace(mark, meant)
    return text.encode("utf-8", "surrogatepass").translate(_READ).decode("utf-8", "surrogatepass")


def is_number(word: str) -> bool:
    """Whether a word is digits and marks of amounts alone, which weigh nothing."""
    return _NUMERIC.issuperset(word)
