"""What words weigh to the screen before a net: fitted so that the words of what it blocks add up to FULL and those of other
texts don't, and then made heavier, all alike, until next to nothing passes of what the net blocks among texts that the fit never
saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from modelhub.ml.risk import groups, lexicon, targets
from modelhub.ml.risk.screen import ALWAYS, FULL, MOST_WEIGHT, is_number, words_in

MOST_MISSED = 1e-4  # of the sentences and tweets that the net would block, those that pass
# Of those with words left out or exchanged at random: many name nobody any longer and are the net's mistake.
MOST_GARBLED = 5e-3
LEAST_SEEN = 2  # in ordinary texts; a rarer word is unknown
HARMFUL = (
    "vile_many", "vile_one", "harm_verb", "harmed", "hate_verb", "swear", "swear_adj", "slur_one", "slur_many",
)  # fmt: skip
_FORMS = ("dvs", "dv_ed", "hv_ed", "hv_s")
_LITTLE = frozenset(["in", "a", "of", "with", "the", "over"])
START, RATE, BATCH = 0.5, 0.03, 2048
BELOW, ABOVE = 0.8, 1.2  # where harmless texts and blocked ones ought to lie, of 1
BLOCKED_WEIGHS = 10.0
BOUNDS = np.arange(1.0, 0.0, -0.02)


@dataclass(frozen=True, slots=True)
class Judged:
    """Texts, and which of them the net blocks at the lowest usual threshold. `harmless`: those known to be none of its business,
    where blocking is a false alarm. `garbled`: broken at random. Shapes: (N,) of bool."""

    texts: Sequence[str]
    blocked: np.ndarray
    harmless: np.ndarray
    garbled: np.ndarray

    @property
    def risky(self) -> np.ndarray:
        """(N,) of bool: what must not pass."""
        return self.blocked & ~self.harmless


@dataclass(frozen=True, slots=True)
class Found:
    """The screen's weights, and of the texts that the fit didn't see and the net blocks those that pass: (missed, of)
    of what people or our grammars wrote, and of garbled texts."""

    weights: dict[str, int]
    bound: float
    written: tuple[int, int]
    garbled: tuple[int, int]


def never() -> frozenset[str]:
    """Words that are never weighed whatever was seen: names of groups, and what abuse and violence are made of."""
    entries = [entry for name in HARMFUL for entry in lexicon.ENGLISH[name]]
    entries += [entry for name in _FORMS for entry in targets.FORMS[name]]
    named = {word for term in groups.TERMS for word in term.replace("-", " ").split()} | groups.ADJECTIVES
    return frozenset(
        {entry for entry in entries if " " not in entry} | (named - _LITTLE - (groups.PEOPLE - groups.TERMS))
    )


def weighable(seen: Mapping[str, int]) -> list[str]:
    """Words that may be weighed, of how often each was seen in ordinary texts."""
    taboo = never()
    return [word for word, n in seen.items() if n >= LEAST_SEEN and word not in taboo and not is_number(word)]


@dataclass(frozen=True, slots=True)
class Bags:
    """Word numbers of texts without an unknown word, one after the other; text i has flat[starts[i]:starts[i + 1]]."""

    flat: np.ndarray
    starts: np.ndarray
    rows: np.ndarray  # which of the texts they are

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """(N,) of what each text's words weigh."""
        run = np.concatenate([[0.0], np.cumsum(weights[self.flat], dtype=np.float64)])
        return run[self.starts[1:]] - run[self.starts[:-1]]

    def some(self, chosen: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(numbers, where each text's begin) of some of them."""
        sizes = np.diff(self.starts)[chosen]
        begin = np.cumsum(sizes) - sizes
        at = np.repeat(self.starts[:-1][chosen] - begin, sizes) + np.arange(sizes.sum())
        return torch.from_numpy(self.flat[at]), torch.from_numpy(begin)


def bags(texts: Sequence[str], numbers: Mapping[str, int]) -> Bags:
    """Texts in which nothing is unknown; the others go to the net anyway."""
    flat: list[int] = []
    starts, rows = [0], []
    for i, text in enumerate(texts):
        words = words_in(text)
        own = [numbers[word] for word in words if word in numbers]
        if all(word in numbers or word in ALWAYS or is_number(word) for word in words):
            flat += own
            starts.append(len(flat))
            rows.append(i)
    return Bags(np.array(flat, np.int64), np.array(starts, np.int64), np.array(rows, np.int64))


def _fitted(held: Bags, risky: np.ndarray, size: int, epochs: int, seed: int) -> np.ndarray:
    """(size,) weights, none below 0: hinges on either side of 1."""
    weight = torch.nn.Parameter(torch.full((size, 1), START))
    steps = torch.optim.Adam([weight], lr=RATE)
    draw = np.random.default_rng(seed)
    for epoch in range(epochs):
        for group in steps.param_groups:
            group["lr"] = RATE * (1 - epoch / epochs) + RATE / 30
        order = draw.permutation(len(held.rows))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            flat, begin = held.some(chosen)
            total = torch.nn.functional.embedding_bag(flat, weight, begin, mode="sum")[:, 0]
            bad = torch.from_numpy(risky[chosen])
            light, heavy = torch.relu(ABOVE - total), torch.relu(total - BELOW).clamp(max=5)
            loss = torch.where(bad, BLOCKED_WEIGHS * light, heavy).mean()
            steps.zero_grad()
            loss.backward()
            steps.step()
            with torch.no_grad():
                weight.clamp_(0, 2)
    return weight.detach().numpy()[:, 0]


def found(
    words: Sequence[str], fit: Judged, held: Judged, *, epochs: int = 8, seed: int = 0, told: Callable[[str], None] = print
) -> Found:  # fmt: skip
    """The screen's weights. `words`: that may be weighed; `held`: texts that choose how strict it is."""
    numbers = {word: i for i, word in enumerate(words)}
    own, others = bags(fit.texts, numbers), bags(held.texts, numbers)
    weights = _fitted(own, fit.risky[own.rows], len(words), epochs, seed)
    sums = np.full(len(held.texts), np.inf)
    sums[others.rows] = others.sums(weights)
    parts = [held.risky & ~held.garbled, held.risky & held.garbled]
    most = [share * part.sum() for share, part in zip((MOST_MISSED, MOST_GARBLED), parts, strict=True)]
    for bound in BOUNDS:
        missed = [int((part & (sums < bound)).sum()) for part in parts]
        if all(n <= limit for n, limit in zip(missed, most, strict=True)):
            break
    else:
        bound, missed = 0.0, [0, 0]
    whole = np.minimum(np.ceil(FULL * weights / max(bound, 1e-3) - 1e-6), MOST_WEIGHT).astype(int)
    # A letter alone may be a piece of a word that is spelt apart, which the screen can't put together.
    kept = {word: int(whole[i]) for word, i in numbers.items() if len(word) > 1} if bound else {}
    written, garbled = zip(missed, (int(part.sum()) for part in parts), strict=True)
    told(
        f"{len(kept)} words weighed, bound {bound:.2f}; of held texts that the net blocks pass {written} and {garbled}"
    )
    return Found(kept, float(bound), written, garbled)
