"""A quick look before the net's: a text of nothing but plain words needs no scoring.

Plain words are common ones with which alone the net has blocked next to nothing (modelhub.ml.risk.plain finds them). Names
of groups, abuse, violence, whatever is misspelt, masked, spelt apart or unknown is none, so such a text goes to the net.
Costs a microsecond a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable

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
_ALWAYS = CONTRACTIONS | _NUMBERS | {"a", "i"}
# Marks that part words. One inside a word leaves letters or pieces that no list calls plain.
_MARKS = dict.fromkeys(map(ord, '.,;:!?"()[]{}<>/\\-–—_*#`~=|“”…\t\n\r•'), " ") | {ord("’"): "'"}
_NUMERIC = frozenset("0123456789%$€£+°")


class Screen:
    """Whether a text is plain. `plain`: the words that are."""

    def __init__(self, plain: Iterable[str]) -> None:
        self.plain = frozenset(plain) | _ALWAYS

    def passes(self, text: str) -> bool:
        """True: nothing in it that the net could take offence at."""
        words = text.lower().translate(_MARKS).split()
        if self.plain.issuperset(words):
            return True
        return all(_NUMERIC.issuperset(word) for word in set(words) - self.plain)


def words_in(text: str) -> list[str]:
    """A text's words as the screen reads them."""
    return text.lower().translate(_MARKS).split()
