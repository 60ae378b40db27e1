"""A second, wider grammar: what is said (bad, good, plain) of whom (a group, a trade, a thing, one person, a hater), and how.

A bad thing said of a group harms; the same said of somebody else doesn't, nor does its denial, its report or its condemnation.
A name and what is said may stand in two clauses or two sentences, joined by a pronoun alone. The name of a group stays
`{many}` or `{one}`, to be filled in pairs. Sentences carry the family they were made by, so that one can see what is found.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelhub.ml.risk import sayings, turns
from modelhub.ml.risk.grammar import Part, kept
from modelhub.ml.risk.targets import FORMS, MANY, ONE

EVERY = 8  # one turn of speech in so many is kept to examine with
SHORT = {
    "va": "vile_adj", "vm": "vile_many", "vo": "vile_one", "hv": "harm_verb", "hd": "harmed", "ga": "good_adj", "gm": "good_many",
    "gt": "good_thing", "ex": "excluded", "pl": "place", "th": "thing", "om": "other_many", "oo": "other_one", "sw": "swear",
    "sa": "swear_adj", "lv": "like_verb", "dv": "hate_verb", "ju": "judged", "sp": "speaker", "dn": "do_neutral", "mt": "matter",
}  # fmt: skip
TARGETS, TARGET_SHARES = ("group", "other", "thing", "person", "hater"), (0.7, 0.12, 0.07, 0.06, 0.05)
MOODS, MOOD_SHARES = ("bad", "good", "plain"), (0.58, 0.28, 0.14)
ENDS, END_SHARES = (
    (".", "", "!", "..", "!!", "...", " lol", " :("),
    (0.55, 0.22, 0.13, 0.02, 0.03, 0.02, 0.02, 0.01),
)
_SLOT = re.compile(r"{(\w+)}")
_GROUP_SLOTS = frozenset({"many", "one"})


@dataclass(frozen=True, slots=True)
class Saying:
    """One sentence or two, with `{many}` and `{one}` open; `harms` a group; `family`: how it was made."""

    text: str
    harms: bool
    family: str


class Speech:
    """Draws sayings of a part: `fit` and `held` share no turn of speech and, given their words, no word of a list."""

    def __init__(self, draw: random.Random, words: Mapping[str, Sequence[str]], part: Part) -> None:
        self.draw = draw
        self.words = {short: words[name] for short, name in SHORT.items()} | FORMS
        for name in ("slur_one", "slur_many"):
            self.words[name] = (*words[name], *kept(FORMS[f"more_{name}"], part, 6))
        self.tables = {
            name: kept(table, part, EVERY, 5)
            for source in (sayings, turns)
            for name, table in vars(source).items()
            if isinstance(table, tuple)
        }

    def sentence(self) -> Saying:
        """One saying of any family."""
        ways = (
            (self._clause, 0.3), (self._apart, 0.2), (self._asked, 0.09), (self._quoted, 0.09), (self._denied, 0.06),
            (self._whole, 0.2), (self._slur, 0.06),
        )  # fmt: skip
        make = self.draw.choices([way for way, _ in ways], [share for _, share in ways])[0]
        made = make()
        text = self._filled(made.text)
        if text[-1:] not in ".?!":
            text += self.draw.choices(ENDS, END_SHARES)[0]
        return Saying(text, made.harms, made.family)

    # ------------------------------------------------------------------ parts
    def _t(self, name: str) -> str:
        return self.draw.choice(self.tables[name])

    def _join(self) -> str:
        return ". " if self._chance(0.35) else self._t("JOINS")

    def _chance(self, share: float) -> bool:
        return self.draw.random() < share

    def _filled(self, text: str) -> str:
        while True:
            text, n = _SLOT.subn(self._word, text)
            if not n or all(slot in _GROUP_SLOTS for slot in _SLOT.findall(text)):
                return text

    def _word(self, found: re.Match[str]) -> str:
        slot = found.group(1)
        return found.group() if slot in _GROUP_SLOTS else self.draw.choice(self.words[slot])

    def _whom(self) -> tuple[str, str]:
        target = self.draw.choices(TARGETS, TARGET_SHARES)[0]
        return target, self.draw.choices(MOODS, MOOD_SHARES)[0]

    def _stated(self, target: str, mood: str, *, bare: bool = False) -> str:
        """A clause about the target. `bare`: with a pronoun in its place ("they", "them", "he")."""
        how, name = self.draw.random(), mood.upper()
        if how < 0.45:
            subject = "they" if bare else self.draw.choice(MANY[target])
            return f"{subject} {self._t(name + '_DOES')}"
        if how < 0.85:
            whole = self.draw.choice(ONE[target] if self._chance(0.25) else MANY[target])
            return self._t(name + "_ABOUT").replace("{O}", "them" if bare else whole)
        subject = (
            self.draw.choice(("he", "she", "this one", "that person"))
            if bare
            else self.draw.choice(ONE[target])
        )
        return _agreeing(f"{subject} {self._t(name + '_ONE')}")

    # ------------------------------------------------------------------ ways of saying it
    def _clause(self) -> Saying:
        target, mood = self._whom()
        text = self._stated(target, mood)
        if self._chance(0.12):
            text = f"{text}{self.draw.choice((' and ', ', ', '. '))}{self._stated(target, mood, bare=True)}"
        return Saying(self._around(text), target == "group" and mood == "bad", f"clause {mood} {target}")

    def _around(self, text: str) -> str:
        if self._chance(0.22):
            text = self._t("CLAIMS") + text
        if self._chance(0.08):
            text = f"{self._t('ASIDES')} {_upper(text)}"
        elif self._chance(0.05):
            text = f"{text}. {self._t('ASIDES')}"
        return text

    def _apart(self) -> Saying:
        """Who is meant stands in one clause, what is said of them in another."""
        if self._chance(0.15):
            text = self._t("INTROS_NOBODY") + self._join() + self._stated("other", "bad", bare=True)
            return Saying(text, False, "apart bad other")
        single = self._chance(0.4)
        intro = self._t("INTROS_ONE" if single else "INTROS_MANY")
        if self._chance(0.18):  # the bad thing is said of somebody else
            target = self.draw.choice(("other", "thing", "person", "hater"))
            return Saying(intro + self._join() + self._stated(target, "bad"), False, f"apart bad {target}")
        mood = self.draw.choices(MOODS, (0.62, 0.26, 0.12))[0]
        said = self._stated("group", mood, bare=True)
        text = (
            f"{said}, {intro.replace('{many} ', '{many} ', 1)}"
            if self._chance(0.04)
            else intro + self._join() + said
        )
        return Saying(text, mood == "bad", f"apart {mood} group")

    def _asked(self) -> Saying:
        target, mood = self._whom()
        if self._chance(0.5):
            text = self._t("WHY_THEY").replace("{S}", self.draw.choice(MANY[target]))
            return Saying(text + "?", target == "group", f"asked bad {target}")
        return Saying(
            f"{self._t('QUESTIONS')}{self._stated(target, mood)}?",
            target == "group" and mood == "bad",
            f"asked {mood} {target}",
        )

    def _quoted(self) -> Saying:
        said = _upper(self._stated("group", "bad")) if self._chance(0.7) else self._t("IMPLIED").rstrip(".")
        if self._chance(0.2):
            said = _upper(self._t("SLURRED"))
        agrees = self._chance(0.16)
        text = self._t("AGREED" if agrees else "QUOTED").replace("{Q}", said)
        return Saying(text, agrees, "quoted, agreed" if agrees else "quoted, condemned")

    def _denied(self) -> Saying:
        before = self._t("DENIALS")
        text = before + self._stated("group", "bad")
        if before.startswith(("the idea", "the old lie")):
            text += self._t("AFTER_IDEA")
        return Saying(text, False, "denied")

    def _whole(self) -> Saying:
        if self._chance(0.45):
            return Saying(self._around(self._t("IMPLIED")), True, "implied")
        return Saying(self._around(self._t("SOUNDS_LIKE")), False, "sounds like")

    def _slur(self) -> Saying:
        if self._chance(0.25):
            return Saying(self._t("RECLAIMED"), False, "reclaimed")
        return Saying(self._around(self._t("SLURRED")), True, "slur")


def _agreeing(text: str) -> str:
    """ "you is" is nobody's English."""
    if not text.startswith("you "):
        return text
    for one, two in (
        (" is ", " are "),
        (" isn't ", " aren't "),
        (" has ", " have "),
        (" does not ", " do not "),
        (" doesn't ", " don't "),
    ):
        text = text.replace(one, two, 1)
    return text


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------------- spelt otherwise
_LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "l": "1", "b": "8", "g": "9"}


def respelt(text: str, draw: random.Random) -> str:
    """One or two words of three letters or more as people write past a filter: swapped, left out, doubled, starred, apart,
    joined to the word before, or in digits."""
    for _ in range(draw.choice((1, 1, 2))):
        words = list(re.finditer(r"[A-Za-z']{3,}", text))
        if not words:
            return text
        long = [word for word in words if len(word.group()) > 3]
        word = draw.choice(long if long and draw.random() < 0.85 else words)
        text = text[: word.start()] + _other(word.group(), draw) + text[word.end() :]
        if draw.random() < 0.2:
            text = (
                re.sub(r" (?=\w)", "", text, count=draw.choice((1, 1, 2)))
                if draw.random() < 0.5
                else _joined(text, draw)
            )
    return text


def _joined(text: str, draw: random.Random) -> str:
    gaps = [found.start() for found in re.finditer(r"(?<=\w) (?=\w)", text)]
    if not gaps:
        return text
    at = draw.choice(gaps)
    return text[:at] + text[at + 1 :]


def _other(word: str, draw: random.Random) -> str:
    at, how = draw.randrange(1, max(2, len(word) - 1)), draw.randrange(8)
    if how in (0, 1):
        return (
            word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
            if at > 1 or draw.random() < 0.3
            else word[:-2] + word[-1] + word[-2]
        )
    if how in (2, 3):
        return word[:at] + word[at + 1 :]
    if how == 4:
        return draw.choice((" ", ".", "-", " ")).join(word)
    if how == 5:
        return "".join(
            draw.choice(_LEET[ch.lower()]) if ch.lower() in _LEET and draw.random() < 0.6 else ch
            for ch in word
        )
    if how == 6:
        return word[:at] + draw.choice("**#_") + word[at + 1 :]
    return (
        word[:at] + " " + word[at:]
        if draw.random() < 0.4
        else word[:at] + word[at] * draw.choice((1, 2)) + word[at:]
    )
