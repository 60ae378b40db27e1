"""The texts by which the screen's words are weighed: ordinary sentences, tweets, our own sentences, all of them garbled, and
every word that may be weighed put where a group is spoken of ill."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.risk import distil, fit, plain, planted, rows
from modelhub.ml.risk.grammar import Part
from modelhub.ml.risk.plain import Judged

FITTED, HELD = 14_000, 7_000  # sentences of each grammar
LONGEST = 600  # characters
SWAPS = (1, 1, 2, 3)
PUT_AT_RANDOM = 5  # sentences of our own that each word is put into
ILL = (
    "You sound like a {}.", "{} don't deserve a voice.", "You belong with the other {}!", "Hey {}!", "They are all {}.",
    "All {} should be sent away.", "We do not offer a place to {}.", "No {} for people like that.", "I can't stand {}.",
    "{} people are not welcome here.", "They should be {}.", "Those {} ruin everything.",
)  # fmt: skip
_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
ORDINARY, TWEET, WRITTEN, GARBLED = range(4)
Blocked = Callable[[list[str]], np.ndarray]
Told = list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The trunk's words and what they mean, for near ones."""

    words: list[str]
    vectors: np.ndarray


def sentences(texts: Iterable[str]) -> list[str]:
    return [part for text in texts for part in _ENDS.split(text) if part.strip()]


def swapped(texts: Sequence[str], n: int, words: Sequence[str], draw: random.Random) -> list[str]:
    """Texts with one to three of their words exchanged for any other."""
    made = []
    for _ in range(n):
        told = draw.choice(texts).split()
        for at in draw.sample(range(len(told)), min(len(told), draw.choice(SWAPS))):
            told[at] = draw.choice(words)
        made.append(" ".join(told))
    return made


def gathered(vocabulary: Vocabulary, part: Part, n: int, limit: int | None, seed: int) -> Told:
    """(text, what it is) of the part `fit` or `held`: training or validation rows of what is real, our own turns of speech."""
    draw, split = random.Random(seed), "train" if part == "fit" else "val"
    ordinary = sentences(
        text for name in datasets.TEXT_WORKLOADS for text in datasets.load(name, split).texts[:limit]
    )
    tweets = [row["text"] for row in datasets.read_csv("offensive_tweets", split)][:limit]
    own = [text for _, text in rows.spoken(n, draw, part, {})]
    own += [one.text for one in planted.Maker(seed, part=part).sentences(n, chinese_share=0.0)]
    near = {} if limit else distil.near_words(vocabulary.words, vocabulary.vectors, ordinary[:20_000] + own)
    retold, any_word = fit.Rows(), [word for word in vocabulary.words if word.isascii() and word.isalpha()]
    some = draw.sample(ordinary, min(len(ordinary), n // 2)) + draw.sample(tweets, min(len(tweets), n // 3))
    rows.unlabelled(retold, [*some, *own], near, seed)
    garbled = retold.texts + swapped(ordinary, n, any_word, draw) + swapped(own, 2 * n, any_word, draw)
    kinds = {ORDINARY: ordinary, TWEET: tweets, WRITTEN: own, GARBLED: garbled}
    told = {text: kind for kind, texts in reversed(kinds.items()) for text in texts if len(text) < LONGEST}
    return list(told.items())


def put_ill(words: Sequence[str], own: Sequence[str], seed: int) -> list[str]:
    """Each word where a group is spoken of ill, so that one that makes the net speak up is heard."""
    draw, made = random.Random(seed), []
    for word in words:
        made += [frame.format(word) for frame in ILL]
        for text in draw.sample(own, min(PUT_AT_RANDOM, len(own))):
            told = text.split()
            told[draw.randrange(len(told))] = word
            made.append(" ".join(told))
    return made


def judged(told: Told, blocked: Blocked) -> Judged:
    """With the net's verdict on each."""
    texts, kind = [text for text, _ in told], np.array([kind for _, kind in told])
    return Judged(texts, blocked(texts), kind == ORDINARY, kind == GARBLED)


def to_fit(vocabulary: Vocabulary, limit: int | None, seed: int) -> tuple[Told, list[str]]:
    """Texts that the screen is fitted on, and the words that it may weigh."""
    every = gathered(vocabulary, "fit", FITTED if limit is None else 1000, limit, seed)
    seen = Counter(word for text, kind in every if kind == ORDINARY for word in plain.words_in(text))
    words = plain.weighable(seen)
    own = [text for text, kind in every if kind == WRITTEN]
    return every + [(text, GARBLED) for text in put_ill(words, own, seed)], words


def to_hold(vocabulary: Vocabulary, limit: int | None, seed: int) -> Told:
    """Texts that the fit never sees, which choose how strict it is."""
    return gathered(vocabulary, "held", HELD if limit is None else 500, limit, seed + 1)


def screened(
    vocabulary: Vocabulary, blocked: Blocked, limit: int | None = None, seed: int = 5, told: Callable[[str], None] = print
) -> plain.Found:  # fmt: skip
    """The screen of a net. `blocked`: which of some texts it would, at the lowest threshold that anybody may set."""
    every, words = to_fit(vocabulary, limit, seed)
    readable = plain.bags([text for text, _ in every], {word: i for i, word in enumerate(words)}).rows
    return plain.found(
        words,
        judged([every[i] for i in readable], blocked),
        judged(to_hold(vocabulary, limit, seed), blocked),
        told=told,
    )
