"""Which words are plain to a net: common ones, less names of groups and words of abuse and violence, less those that stand in
what it blocks, until of the texts of plain words alone it blocks no more than MOST_MISSED."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from modelhub.ml.risk import groups, lexicon, targets
from modelhub.ml.risk.screen import Screen, words_in

MOST_MISSED = 1e-4  # of the texts that pass, those that the net would block
LEAST_SEEN = 3  # in ordinary texts; a word of the trunk's own list that is rarer isn't plain
HARMFUL = (
    "vile_many", "vile_one", "harm_verb", "harmed", "hate_verb", "swear", "swear_adj", "slur_one", "slur_many",
)  # fmt: skip
_FORMS = ("dvs", "dv_ed", "hv_ed", "hv_s")
_LITTLE = frozenset(["in", "a", "of", "with", "the", "over"])


def never() -> frozenset[str]:
    """Words that aren't plain whatever was seen: names of groups, and what abuse and violence are made of."""
    entries = [entry for name in HARMFUL for entry in lexicon.ENGLISH[name]]
    entries += [entry for name in _FORMS for entry in targets.FORMS[name]]
    named = {word for term in groups.TERMS for word in term.replace("-", " ").split()} | groups.ADJECTIVES
    return frozenset(
        {entry for entry in entries if " " not in entry} | (named - _LITTLE - (groups.PEOPLE - groups.TERMS))
    )


def found(
    words: Sequence[str], ordinary: Sequence[str], others: Sequence[str], blocked: Callable[[list[str]], np.ndarray],
    told: Callable[[str], None] = print,
) -> set[str]:  # fmt: skip
    """The plain words of a net. `ordinary`: texts that show which words are common; `others`: texts of every kind, among which
    are those it blocks; `blocked`: which of some texts it would."""
    seen = Counter(word for text in ordinary for word in set(words_in(text)))
    known, taboo = set(words), never()
    plain = {word for word, n in seen.items() if n >= LEAST_SEEN and word in known and len(word) > 1} - taboo
    left = [text for text in (*ordinary, *others) if Screen(plain).passes(text)]
    hit = np.asarray(blocked(left), bool)
    told(f"{len(plain)} plain words: {len(left)} texts pass, {int(hit.sum())} of which are blocked")
    taken = _taken_out([plain.intersection(words_in(text)) for text in left], hit)
    told(f"{len(taken)} words are taken out")
    return plain - taken


def _taken_out(held: Sequence[set[str]], hit: np.ndarray) -> set[str]:
    """Words without which no more than MOST_MISSED of the texts that still pass are hit: such as stand in much that is hit and in
    little else first. `held`: the plain words of each text."""
    where: dict[str, list[int]] = {word: [] for i in np.flatnonzero(hit) for word in held[i]}
    for i, own in enumerate(held):
        for word in own & where.keys():
            where[word].append(i)
    passing, taken = np.ones(len(held), bool), set()
    while (hit & passing).sum() > MOST_MISSED * passing.sum():
        bad = Counter(word for i in np.flatnonzero(hit & passing) for word in held[i])
        if not bad:
            break
        worst = max(bad, key=lambda word: bad[word] ** 1.5 / len(where[word]))
        taken.add(worst)
        passing[where[worst]] = False
    return taken
