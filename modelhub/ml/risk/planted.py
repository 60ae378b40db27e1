"""Sentences made from frames and words of our own, by seed: what the risk model is fitted on beside real text, and the
planted set that it, and the operator in a graph, are examined with.

A sentence about a group comes with the same sentence about other groups (`pair`), so that the name says nothing. Frames and
words of the `held` part are never fitted on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from modelhub.ml.risk import frames, lexicon, templates
from modelhub.ml.risk.grammar import Grammar, Part, kept

KINDS = ("stereotype", "disparate_treatment", "harm")
_SLOT = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Planted:
    """One sentence. `kind` is empty for a harmless one; `pair` is the same for a sentence about several groups."""

    text: str
    kind: str
    group: str
    language: str
    frame: str
    pair: int


@dataclass(frozen=True, slots=True)
class _Source:
    kind: str
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    share: float


GRAMMAR_SHARE = 0.38
SOURCES = (
    _Source("harm", frames.HATE_EN, frames.HATE_ZH, 0.15),
    _Source("", frames.HARMLESS_NAMED_EN, frames.HARMLESS_ZH, 0.14),
    _Source("", frames.HARMLESS_UNNAMED_EN, (), 0.09),
    _Source("harm", frames.SLUR_EN, (), 0.03),
    _Source("", frames.SLUR_QUOTED_EN, (), 0.015),
    _Source("stereotype", frames.STEREOTYPE_EN, frames.STEREOTYPE_ZH, 0.06),
    _Source("", frames.STEREOTYPE_BENIGN_EN, frames.STEREOTYPE_BENIGN_ZH, 0.06),
    _Source("disparate_treatment", frames.DISPARATE_EN, frames.DISPARATE_ZH, 0.06),
    _Source("", frames.DISPARATE_BENIGN_EN, frames.DISPARATE_BENIGN_ZH, 0.06),
)


def split(frames_: tuple[str, ...], part: Part) -> tuple[str, ...]:
    """Every fifth frame is held back."""
    return kept(frames_, part, place=2)


class Maker:
    """Fills frames of a part: `fit` and `held` share neither frame nor word, `all` is both."""

    def __init__(
        self, seed: int, *, part: Part = "fit", more: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """`more`: words to add to lists, at a quarter of the weight of ours (modelhub.ml.risk.vocabulary finds them)."""
        self.random = random.Random(seed)
        self.part: Part = part
        self.english = lexicon.words_of(lexicon.ENGLISH | frames.EXTRA_EN, part)
        for name, words in (more or {}).items():
            self.english[name] = self.english[name] * 4 + tuple(words)
        self.chinese = lexicon.words_of(lexicon.CHINESE | frames.EXTRA_ZH, part)
        self.grammar = Grammar(self.random, self.english, part)

    def sentences(self, n: int, *, chinese_share: float = 0.2, groups: int = 1) -> Iterator[Planted]:
        """About n sentences; each that names a group is made for `groups` of them."""
        made = pair = 0
        weights = [GRAMMAR_SHARE, *(source.share for source in SOURCES)]
        while made < n:
            source = self.random.choices((None, *SOURCES), weights)[0]
            chinese = source is not None and bool(source.chinese) and self.random.random() < chinese_share
            if source is None:
                clause = self.grammar.sentence()
                kind, frame, body = "harm" if clause.harms else "", f"grammar: {clause.target}", clause.text
            else:
                frame = self.random.choice(split(source.chinese if chinese else source.english, self.part))
                kind, body = source.kind, self._filled(frame, chinese)
            pair += 1
            for planted in self._for_groups(body, kind, chinese, groups, (frame, pair)):
                made += 1
                yield planted

    def _for_groups(
        self, body: str, kind: str, chinese: bool, groups: int, origin: tuple[str, int]
    ) -> Iterator[Planted]:
        language = "zh" if chinese else "en"
        named = "{many}" in body or "{one}" in body
        names = self._names(chinese, groups) if named else [("", "")]
        style = self.random.random()  # one for all of them: they differ in the group alone
        for many, one in names:
            text = body.replace("{many}", many).replace("{one}", one)
            yield Planted(self._cased(text, chinese, style), kind, many, language, *origin)

    def _names(self, chinese: bool, groups: int) -> list[tuple[str, str]]:
        known = [(name, name) for name in templates.GROUPS_ZH] if chinese else list(templates.GROUPS_EN)
        return self.random.sample(known, min(groups, len(known)))

    def _filled(self, frame: str, chinese: bool) -> str:
        """Every slot but the group's; `{H}` is a hateful sentence said by somebody."""
        words = self.chinese if chinese else self.english

        def fill(found: re.Match[str]) -> str:
            slot = found.group(1)
            if slot in ("many", "one"):
                return found.group()
            if slot == "H":
                hateful = split(frames.HATE_ZH if chinese else frames.HATE_EN, self.part)
                return self._filled(self.random.choice(hateful), chinese).rstrip(".。")
            return self.random.choice(words[slot])

        return _SLOT.sub(fill, frame)

    @staticmethod
    def _cased(text: str, chinese: bool, style: float) -> str:
        text = re.sub(r"\ba ([aeiouAEIOU])", r"an \1", text)
        if chinese:
            return text
        if style < 0.06:
            return text.lower()
        if style < 0.09:
            return text.upper()
        if style < 0.2:
            text = text.rstrip(".")
        return text[:1].upper() + text[1:]


def examination(
    seed: int = 7, n: int = 4000, part: Part = "held", *, templates_only: bool = False, groups: int = 8
) -> list[Planted]:
    """The planted set, every sentence about a group for eight of them. `held`: frames and words that the part to fit on lacks;
    `all`: new sentences from every frame and word. `templates_only`: without the grammar's, whose harm is harder to tell."""
    made = Maker(seed, part=part).sentences(2 * n if templates_only else n, groups=groups)
    kept_ones = (one for one in made if not (templates_only and one.frame.startswith("grammar")))
    return list(islice(kept_ones, n))


def misspelt(text: str, draw: random.Random) -> str:
    """A word of four letters or more written as people write past a filter: swapped, left out, spaced, joined, in digits."""
    words = list(re.finditer(r"[A-Za-z]{4,}", text))
    if not words:
        return text
    word = draw.choice(words)
    letters, at = list(word.group()), draw.randrange(1, len(word.group()) - 1)
    how = draw.randrange(5)
    if how == 0:
        letters[at], letters[at - 1 if at > 1 else at + 1] = (
            letters[at - 1 if at > 1 else at + 1],
            letters[at],
        )
    elif how == 1:
        del letters[at]
    elif how == 2:
        letters = list(" ".join(letters))
    elif how == 3:
        swapped = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}
        letters = [swapped.get(ch, ch) if draw.random() < 0.6 else ch for ch in letters]
    else:
        before = text[: word.start()].rstrip(" ")
        return before + word.group() + text[word.end() :] if before else text
    return text[: word.start()] + "".join(letters) + text[word.end() :]
