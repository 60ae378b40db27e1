"""How the finder of names reads a text: words that may be names, with their neighbours, as short strings to look up.

The same functions read at training and on the path of a request. Everyday words are passed over at once, so a text of 2 kB
has some ten or twenty words to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelhub.ml.inspect.look import Look, places

UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĖĘĚĜĞĠĢĤĨĪİĴĶĹĻĽŁŃŅŇŌŐŒŔŘŚŜŞŠŢŤŪŬŮŰŲŴŶŸŹŻŽА-ЯΑ-Ω"
_CAPITAL = re.compile(
    rf"[{UPPER}](?<![\w'’-].)(?:['’][{UPPER}])?"
    r"(?:[^\W\d_]{1,24}+(?:['’-](?!s(?![^\W\d_]))[^\W\d_]{1,24}+)?|(?=[. ]))(?![\w@])"
)
_LAST_WORD = re.compile(r"[^\W_]++(?:['’-][^\W_]++)*+(?=[^\w]*+\Z)")
_FIRST_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TOLD = re.compile(r"(?:\s+is)?:?\s+([^\W\d_]{2,24})(?: ([^\W\d_]{2,24}))?")
_TELLING = {  # what tells a name, by a word that must then be in the text
    "name": ("name",), "named": ("named",), "called": ("called",), "am": ("i am",), "m": ("i'm",), "regards": ("regards,",),
    "sincerely": ("sincerely,",), "dear": ("dear",), "mr": ("mr", "mr."), "mrs": ("mrs",), "ms": ("ms",), "dr": ("dr", "dr."),
}  # fmt: skip
_TELLING_WORDS = frozenset(_TELLING)
_KNOWN = ("000", "001", "010", "011", "100", "101", "110", "111")
LOOK = 24  # characters looked at beside a word


@dataclass(frozen=True, slots=True)
class Lists:
    """Lower-cased given and family names, and everyday words."""

    given: frozenset[str]
    family: frozenset[str]
    common: frozenset[str]
    rare_given: frozenset[str]  # given names that are no everyday words, in ASCII
    plain: frozenset[str]  # everyday words that are nobody's name

    @classmethod
    def of(cls, given: Iterable[str], family: Iterable[str], common: Iterable[str]) -> Lists:
        names, words = frozenset(given), frozenset(common)
        rare = frozenset(n for n in names - words if n.isascii() and n.isalpha() and len(n) > 2)
        families = frozenset(family)
        return cls(names, families, words, rare, words - names - families - {"i", "a"})

    def without(self, words: set[str]) -> Lists:
        """The lists as if these names were unknown."""
        if not words:
            return self
        given, family = self.given - words, self.family - words
        plain = self.plain | (self.common & words) - given - family - {"i", "a"}
        return Lists(given, family, self.common, self.rare_given - words, plain)

    def known(self, word: str) -> str:
        """Three digits: a given name, a family name, an everyday word."""
        return _KNOWN[(word in self.given) << 2 | (word in self.family) << 1 | (word in self.common)]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that may be a person's name, where it stands, and what speaks for or against it."""

    start: int
    end: int
    features: tuple[str, ...]


def candidates(look: Look, lists: Lists) -> list[Candidate]:
    """Capitalised words that aren't everyday ones, lower-cased given names, and what stands where a name is told; in order."""
    text, lower = look.text, look.lower
    spans = _capitals(look, lists)
    small = _small(look, lists)
    if small:
        spans = sorted({*spans, *small})
    found = []
    last = len(spans) - 1
    for i, (a, b) in enumerate(spans):
        before = spans[i - 1] if i and spans[i - 1][1] + 2 >= a else None
        after = spans[i + 1] if i < last and spans[i + 1][0] <= b + 2 else None
        found.append(Candidate(a, b, _features(text, lower, a, b, before, after, lists)))
    return found


def _capitals(look: Look, lists: Lists) -> list[tuple[int, int]]:
    """Everyday words count only where they are also names and stand beside a word that is none, or inside a sentence."""
    text, lower, common, plain = look.text, look.lower, lists.common, lists.plain
    spans: list[tuple[int, int]] = []
    weak: tuple[int, int] | None = None  # an everyday word that is a name, waiting for what comes after it
    for match in _CAPITAL.finditer(text):
        a, b = match.span()
        word = lower[a:b]
        if word in plain:
            weak = None
            continue
        if word in ("i", "a") and not (spans and spans[-1][1] + 2 >= a):
            continue  # the words, not somebody's initial
        if word not in common:
            if weak is not None and weak[1] + 2 >= a:
                spans.append(weak)
            spans.append((a, b))
            weak = None
            continue
        weak = None
        if word in lists.given or word in lists.family:
            inside = text[a - 2 : a - 1]
            if (spans and spans[-1][1] + 2 >= a) or inside.islower() or inside == ",":
                spans.append((a, b))
            else:
                weak = (a, b)
    return spans


def _small(look: Look, lists: Lists) -> set[tuple[int, int]]:
    """Lower-cased words that may be names."""
    text, found = look.text, set()
    for name in look.words & lists.rare_given:
        for a in places(text, name):
            b = a + len(name)
            left, right = text[a - 1 : a], text[b : b + 1]
            joined = right and right in "@.-_/" and (right == "@" or text[b + 1 : b + 2].isalnum())
            if not (left.isalnum() or right.isalnum() or (left and left in "@.-_/") or joined):
                found.add((a, b))
    for word in look.words & _TELLING_WORDS:
        for telling in _TELLING[word]:
            _told(look, telling, lists, found)
    return found


def _told(look: Look, telling: str, lists: Lists, found: set[tuple[int, int]]) -> None:
    """Adds the one or two words in small letters behind each place where a name is told."""
    text = look.text
    for a in places(look.lower, telling):
        if text[a - 1 : a].isalnum():
            continue
        match = _TOLD.match(text, a + len(telling))
        for group in (1, 2):
            word = match.group(group) if match else None
            if not word or word in lists.common or not word[0].islower():
                break
            found.add(match.span(group))  # type: ignore[union-attr]


def _features(
    text: str, lower: str, a: int, b: int, before: tuple[int, int] | None, after: tuple[int, int] | None, lists: Lists
) -> tuple[str, ...]:  # fmt: skip
    low = lower[a:b]
    known = lists.known(low)
    left = lower[max(0, a - LOOK) : a]
    match = _LAST_WORD.search(left)
    previous = match.group() if match else "^"
    gap = left[match.end() :].strip() if match else left.strip()
    starts = not match or "\n" in left[match.end() :] or gap[:1] in (".", "!", "?", ":", '"', "“", "。")
    right = lower[b : b + LOOK]
    found = _FIRST_WORD.search(right)
    following = found.group() if found else "$"
    mark = (
        right[:1]
        if right[:1] not in (" ", "")
        else (right[1:2] if right[1:2] and not right[1:2].isalnum() else "_")
    )
    word = text[a:b]
    shape = "U" if word.isupper() and b - a > 1 else ("1" if b - a == 1 else ("l" if word == low else "c"))
    left_known = lists.known(lower[before[0] : before[1]]) if before else "-"
    right_known = lists.known(lower[after[0] : after[1]]) if after else "-"
    place = "s" if starts else "m"
    return (
        f"k{known}{shape}{place}", "s" + low[-3:], "e" + low[-2:], "p" + low[:3], "w" + low, "b" + previous, "a" + following,
        f"B{previous}{place}{known}", f"N{mark}{place}{known}", f"g{gap[-1:]}{place}", f"L{left_known}{known}",
        f"R{known}{right_known}", f"A{following}{known}",
    )  # fmt: skip
