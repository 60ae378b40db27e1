"""The rows the risk model is fitted on, each saying only what its source says.

Offensive rows are COLD's (Chinese, Apache-2.0) and the crowd-labelled tweets' (English, MIT). The tweets tell hate from
swearing, and so does the model: a swear word at nobody's group is `abuse`, told and not judged. Harmless rows besides are texts
of the workloads, some of them put into the mouths of groups; the rest is made from frames of our own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from modelhub.ml import datasets
from modelhub.ml.risk import frames, lexicon, planted, speech, targets, templates
from modelhub.ml.risk.fit import SILENT, Rows
from modelhub.ml.risk.grammar import Part
from modelhub.ml.risk.net import KINDS

BUSINESS = ("support-intent", "assistant-intent", "support-sentiment", "terms-review")
MADE, MADE_CHINESE = 120_000, 0.14
MISSPELT_HARM, MISSPELT_OTHER = 0.3, 0.1
HATE, SWEARING, ORDINARY = 1.0, 0.3, 1.0  # weights of the tweets' three labels
SPOKEN = (
    "As a {one} I say: {text}", "{text} asked the {one}.", "The {many} said: {text}", "I am a {one}. {text}",
    "{text} This is from two {many}.",
    "{many} ask: {text}", "For {many}: {text}", "{text} Signed, a {one}.", "My neighbour, a {one}, wrote: {text}",
)  # fmt: skip
NOTHING = (0.0, 0.0, 0.0, 0.0)
RESPELT = 0.16
OPEN = (SILENT, SILENT, SILENT, SILENT)
PRONOUNS = frozenset(
    (
        "you",
        "they",
        "them",
        "he",
        "she",
        "it",
        "people",
        "guys",
        "someone",
        "everyone",
        "u",
        "him",
        "her",
        "we",
    )
)
REPLACED, LEFT_OUT = 0.18, 0.06


def plain(text: str) -> str:
    """Letters and digits alone: how texts are compared with test suites."""
    return "".join(ch for ch in text.lower() if ch.isalnum())


def made(rows: Rows, n: int, seed: int, more: dict[str, list[str]], part: Part) -> None:
    """Our own sentences, none of which stands in HateCheck even by chance."""
    taboo = {plain(case["text"]) for case in datasets.load_hatecheck()}
    draw = random.Random(seed)
    for one in planted.Maker(seed, part=part, more=more).sentences(n, chinese_share=MADE_CHINESE):
        if plain(one.text) in taboo:
            continue
        says = tuple(float(one.kind == kind) for kind in planted.KINDS)
        abuse = SILENT if one.frame in frames.HARMLESS_UNNAMED_EN or "grammar" in one.frame else says[2]
        text = one.text
        if one.language == "en" and draw.random() < (MISSPELT_HARM if one.kind == "harm" else MISSPELT_OTHER):
            text = planted.misspelt(text, draw)
        rows.add(text, (*says, abuse))
    older = list(templates.rows())
    for text, hateful in older[:: max(1, len(older) // n)]:
        others = SILENT if hateful else 0.0
        rows.add(text, (others, others, float(hateful), float(hateful)), 0.5)


def said(rows: Rows, n: int, seed: int, part: Part, more: Mapping[str, Sequence[str]]) -> None:
    """Sentences of the wider grammar, one group each."""
    draw = random.Random(seed)
    taboo = {plain(case["text"]) for case in datasets.load_hatecheck()}
    for one, text in spoken(n, draw, part, more):
        if plain(text) in taboo:
            continue
        if draw.random() < RESPELT:
            text = speech.respelt(text, draw)
        if one.harms:
            rows.add(text, (SILENT, SILENT, 1.0, 1.0))
        else:
            mild = one.family.split(" ")[-1] == "group" and "bad" not in one.family
            rows.add(text, (0.0, 0.0, 0.0, 0.0 if mild else SILENT))


def spoken(
    n: int, draw: random.Random, part: Part, more: Mapping[str, Sequence[str]]
) -> list[tuple[speech.Saying, str]]:
    """Sayings with a group filled in, written as people write: most with a capital, some without, a few in capitals alone."""
    words = dict(lexicon.words_of(lexicon.ENGLISH, part))
    for name, found in more.items():
        words[name] = (*words[name], *words[name], *words[name], *found)
    maker = speech.Speech(draw, words, part)
    made = []
    for _ in range(n):
        one = maker.sentence()
        many, single = draw.choice(templates.GROUPS_EN)
        text = planted.Maker._cased(
            one.text.replace("{many}", many).replace("{one}", single), False, draw.random()
        )
        made.append((one, text))
    return made


def unlabelled(rows: Rows, texts: Sequence[str], near: Mapping[str, Sequence[str]], seed: int) -> None:
    """The same texts told a little otherwise: words exchanged for near ones, left out, or somebody's place taken by a group.
    Nobody knows what they say; the teacher has an opinion."""
    draw = random.Random(seed)
    for text in texts:
        words = text.split(" ")
        changed = []
        for word in words:
            plainly, chance = word.lower().strip(".,!?\"'"), draw.random()
            if chance < LEFT_OUT and len(words) > 3:
                continue
            if chance < LEFT_OUT + REPLACED and plainly in near:
                word = draw.choice(near[plainly])
            elif plainly in PRONOUNS and draw.random() < 0.35:
                many, single = draw.choice(templates.GROUPS_EN)
                word = (
                    draw.choice(targets.GROUPS[:8] + targets.GROUP_ONES[:4])
                    .replace("{many}", many)
                    .replace("{one}", single)
                )
            changed.append(word)
        rows.add(" ".join(changed), OPEN, 0.7)


def real(rows: Rows, limit: int | None, seed: int) -> None:
    """Tweets, COLD and business texts of their training parts, at most `limit` of each."""
    for row in list(datasets.read_csv("offensive_tweets", "train"))[:limit]:
        if row["label"] == "hate":
            rows.add(row["text"], (SILENT, SILENT, 1.0, 1.0), HATE)
        elif row["label"] == "offensive":
            rows.add(row["text"], (SILENT, SILENT, 0.0, 1.0), SWEARING)
        else:
            rows.add(row["text"], NOTHING, ORDINARY)
    for row in list(datasets.read_csv("cold_zh", "train"))[:limit]:
        offensive = float(row["label"])
        rows.add(row["text"], (SILENT, SILENT, offensive, offensive) if offensive else NOTHING)
    draw = random.Random(seed)
    for name in BUSINESS:
        texts = datasets.load(name, "train").texts[:limit]
        for text in texts[::3]:
            rows.add(text, NOTHING, 0.5)
        for text in texts[1::4]:
            many, one = draw.choice(templates.GROUPS_EN)
            rows.add(draw.choice(SPOKEN).format(many=many, one=one, text=text[:150]), NOTHING, 0.7)


def all_rows(
    more: dict[str, list[str]], *, n: int = MADE, limit: int | None = None, seed: int = 0, part: Part = "all"
) -> Rows:
    """Everything together; `says` are in the order of KINDS."""
    assert len(NOTHING) == len(KINDS)
    rows = Rows()
    made(rows, n, seed, more, part)
    real(rows, limit, seed)
    return rows
