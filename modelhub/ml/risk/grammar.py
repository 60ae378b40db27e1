"""Sentences put together from parts, so that what is learnt is how the parts stand to each other and not a list of frames.

A clause says something bad, good or plain of a target: a group of people, a trade, one person, a thing. It may be denied; it
may be quoted and condemned, or quoted and agreed with. It harms when what remains is bad and its target is a group.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelhub.ml.risk.phrases import PHRASES

Part = Literal["fit", "held", "all"]
Words = Mapping[str, Sequence[str]]
TARGETS = ("group", "other", "thing", "person")
PLURAL = {"group": "groups", "other": "others", "thing": "things", "person": "persons"}
MOODS = (("bad", "good", "plain"), (0.57, 0.25, 0.18))
FEW = 5  # a shorter list is used whole by every part


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence without its end; `harms` is what it does to its target."""

    text: str
    harms: bool
    target: str


def listed(text: str, parted_by: str = ";") -> tuple[str, ...]:
    """A list written as one text."""
    return tuple(text.split(parted_by))


def kept(options: Sequence[str], part: Part, every: int = 5, place: int = 3) -> tuple[str, ...]:
    """What of a list a part may use: `held` one in `every`, `fit` the others, `all` everything."""
    if part == "all" or len(options) < FEW:
        return tuple(options)
    return tuple(option for i, option in enumerate(options) if (i % every == place) == (part == "held"))


class Grammar:
    """Draws clauses. Group names stay `{many}` and `{one}`, to be filled in pairs."""

    def __init__(self, draw: random.Random, words: Words, part: Part) -> None:
        self.draw, self.words = draw, words
        self.phrases = {name: kept(options, part) for name, options in PHRASES.items()}

    def sentence(self) -> Clause:
        """A whole sentence with what stands around it."""
        target = self.draw.choices(TARGETS, (0.72, 0.1, 0.1, 0.08))[0]
        clause = self._stated(target)
        chance = self.draw.random()
        if clause.harms and chance < 0.28:
            clause = self._quoted(clause) if chance < 0.17 else self._told(clause)
        elif target == "group" and chance < 0.36:
            clause = self._about_those_who()
        elif chance < 0.46:
            clause = Clause(f"{self._p('asked')}{clause.text}?", clause.harms, target)
        else:
            clause = self._dressed(clause)
        text = clause.text
        if text[-1] not in "?.!":
            text += self.draw.choices((".", "!", "", "..", "!!"), (0.62, 0.14, 0.2, 0.02, 0.02))[0]
        return Clause(text, clause.harms, target)

    # ------------------------------------------------------------------ parts
    def _w(self, name: str) -> str:
        return self.draw.choice(self.words[name])

    def _p(self, name: str) -> str:
        return self.draw.choice(self.phrases[name])

    def _maybe(self, name: str, chance: float) -> str:
        return self._p(name) if self.draw.random() < chance else ""

    def _named(self, phrase: str) -> str:
        for slot, words in (("o", "other_many"), ("t", "thing"), ("p", "other_one"), ("place", "place")):
            mark = "{" + slot + "}"
            if mark in phrase:
                phrase = phrase.replace(mark, self._w(words))
        return phrase

    def _many(self, target: str) -> str:
        return self._named(self._p(PLURAL[target]))

    def _one(self, target: str) -> str:
        return self._named(self._p(target))

    # ------------------------------------------------------------------ what is said
    def _stated(self, target: str) -> Clause:
        mood = self.draw.choices(*MOODS)[0]
        if mood == "plain":
            return Clause(self._plain(target), False, target)
        denied = self.draw.random() < 0.3
        ways = (self._being, self._being, self._feeling, self._doing, self._deserving, self._noun)
        text = self.draw.choice(ways)(target, mood == "bad", denied)
        return Clause(text, target == "group" and (mood == "bad") != denied, target)

    def _being(self, target: str, bad: bool, denied: bool) -> str:
        word = self._quality("vile_adj" if bad else "good_adj")
        if self.draw.random() >= 0.3:
            return f"{self._many(target)} {self._p('are_not' if denied else 'are')} {word}"
        subject = self._one(target)
        if denied and target != "person" and self.draw.random() < 0.5:
            subject = self._p("no_one").replace("{x}", subject.split(" ", 1)[-1])
            return f"{subject} is {word}"
        return f"{subject} {self._p('one_is_not' if denied else 'one_is')} {word}"

    def _quality(self, name: str) -> str:
        word, how = self._w(name), self.draw.random()
        if how < 0.18:
            return f"{word} and {self._w(name)}"
        if how < 0.25:
            return f"{self._w('swear_adj')} {word}"
        return f"{self._p('very')} {word}" if how < 0.4 else word

    def _noun(self, target: str, bad: bool, denied: bool) -> str:
        if target in ("thing", "person") or (bad and self.draw.random() < 0.3):
            one = self._w("vile_one") if bad else "gift"
            return f"{self._one(target)} {self._p('one_is_no' if denied else 'one_is_a')} a {one}"
        link = self._p("are_no") if denied else self._p("are_such")
        if not bad:
            link = link.replace("are no better than", "are")
        adjective = ""
        if self.draw.random() < 0.3:
            adjective = self._w(self.draw.choice(("vile_adj" if bad else "good_adj", "swear_adj"))) + " "
        return f"{self._many(target)} {link} {adjective}{self._w('vile_many' if bad else 'good_many')}"

    def _feeling(self, target: str, bad: bool, denied: bool) -> str:
        if self.draw.random() < 0.3:
            link = self._p("do_not").replace("can't", "cannot") + " " if denied else self._maybe("do", 0.4)
            return f"{self._many(target)} {link}{self._p('stir' if bad else 'please')}"
        who, verb = self._p("who"), self._w("hate_verb" if bad else "like_verb")
        whom = self._many(target) if self.draw.random() < 0.7 else self._one(target)
        if who != "I" and verb.startswith("am "):
            verb = "are" + verb[2:]
        if verb.split()[0] in ("am", "are", "can't", "cannot"):
            lead = self._p("not_saying") + " " if denied else ""
            return f"{lead}{who} {verb} {whom}"
        return f"{who} {self._p('do_not') + ' ' if denied else self._maybe('do', 0.4)}{verb} {whom}"

    def _doing(self, target: str, bad: bool, denied: bool) -> str:
        if not bad:
            return self._being(target, bad, denied)
        if self.draw.random() < 0.5:
            whom = self._many(target) if self.draw.random() < 0.7 else self._one(target)
            return f"{self._p('no_harm' if denied else 'do_harm')} {self._w('harm_verb')} {whom}"
        return (
            f"{self._many(target)} {self._p('not_be_harmed' if denied else 'be_harmed')} {self._w('harmed')}"
        )

    def _deserving(self, target: str, bad: bool, denied: bool) -> str:
        """Bad: kept from what others have. Denied: it is granted."""
        if target == "thing":
            return self._being(target, bad, denied)
        out = bad != denied
        if self.draw.random() < 0.5:
            return f"{self._many(target)} {self._p('no_good' if out else 'good')} {self._w('good_thing')}"
        return f"{self._many(target)} {self._p('kept_out' if out else 'let_in')} {self._w('excluded')}"

    def _plain(self, target: str) -> str:
        if target == "thing":
            return f"{self._one(target)} {self._p('thing_does')}"
        if target == "person":
            return f"{self._one(target)} {self._w('do_neutral').replace('were ', 'was ')}"
        noun = "{many}" if target == "group" else self._w("other_many")
        if self.draw.random() < 0.4:
            return f"{self._p('count')}{noun} {self._p('does')} {self._w('matter')}"
        return f"{self._p('heard')}{self._p('count')}{noun} {self._w('do_neutral')}"

    # ------------------------------------------------------------------ what stands around it
    def _about_those_who(self) -> Clause:
        """Others' hatred, condemned: it is no statement about the group. Others' kindness, insulted, is one."""
        whom, who = self._many("group"), self._p("those_who")
        if self.draw.random() < 0.15:
            act = self.draw.choice(
                (f"{self._w('like_verb')} {whom}", f"say {whom} are {self._w('good_adj')}", f"help {whom}")
            )
            return Clause(f"{who} {act} are {self._w('vile_adj')}", True, "group")
        verb = self._w("hate_verb")
        acts = (
            f"{'despise' if verb.startswith(('am ', 'can')) else verb} {whom}", f"want to {self._w('harm_verb')} {whom}",
            f"call {whom} {self._w('vile_many')}", f"say {whom} are {self._w('vile_adj')}",
            f"think {whom} should be {self._w('harmed')}",
            f"refuse to respect {whom}", f"would {self._w('harm_verb')} {self._one('group')}",
        )  # fmt: skip
        act, judged = self.draw.choice(acts), self._w("judged")
        verdict = self.draw.choice((self._p("verdict"), f"are {judged}", f"are {self._w('vile_adj')}"))
        said = (
            f"{who} {act} {verdict}", f"you {act}? Shame on you", f"it is {judged} that some people {act}",
            f"he was punished because he said he'd {act}", f"just because you {act} doesn't make it right",
            f"I left because they {act}", f"why do they {act}? It is {judged}", f"you might {act}, but you are alone with that",
            f"saying that you {act} is {judged}", f"to {act} is {judged}",
        )  # fmt: skip
        return Clause(self.draw.choice(said), False, "group")

    def _quoted(self, clause: Clause) -> Clause:
        agrees = self.draw.random() < 0.3
        frame = self._p("agree" if agrees else "condemn")
        said = clause.text[:1].upper() + clause.text[1:]
        text = frame.replace("{judged}", self._w("judged")).replace("{speaker}", self._w("speaker"))
        return Clause(text.replace("{S}", said), agrees, clause.target)

    def _told(self, clause: Clause) -> Clause:
        text = self._p("condemn_told").replace("{judged}", self._w("judged"))
        return Clause(text.replace("{s}", clause.text), False, clause.target)

    def _dressed(self, clause: Clause) -> Clause:
        opener = self._maybe("openers", 0.35)
        if self.draw.random() < 0.07:
            opener = f"{self._w('swear')}, {opener}"
        text = f"{opener}{clause.text}{self._named(self._maybe('tails', 0.3))}"
        if self.draw.random() < 0.22:
            before = self._p("before")
            if clause.target == "group" and "{np}" in before and self.draw.random() < 0.7:
                text = _they(clause.text) or text
            before = before.replace("{np}", self._many(clause.target))
            text = f"{before} {text[:1].upper()}{text[1:]}"
        elif self.draw.random() < 0.1:
            text = f"{text}. {self._p('after')}"
        return Clause(text, clause.harms, clause.target)


def _they(text: str) -> str:
    """The clause about "they", where a group begins it: who is meant was said before."""
    for name in ("all {many}", "these {many}", "those {many}", "most {many}", "the {many}", "{many}"):
        if text.startswith(name):
            return "they" + text[len(name) :]
    return ""
