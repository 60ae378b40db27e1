"""More texts for the student to hear the teacher on: training texts with words dropped, moved and mixed.

The teacher has seen the training rows and is sure of each; on broken and mixed ones it shows its doubts, and
those are what a student learns most from. No label is invented: the teacher's logits are the only target.
"""

from __future__ import annotations

import numpy as np

MOST_WORDS = 80


def augment(texts: list[str], copies: int, seed: int, most_words: int = MOST_WORDS) -> list[str]:
    """`copies` broken versions of every text, each of at most `most_words` words."""
    rng = np.random.default_rng(seed)
    words = [text.split() for text in texts]
    return [_break(words, index, most_words, rng) for _ in range(copies) for index in range(len(texts))]


def _break(words: list[list[str]], index: int, most: int, rng: np.random.Generator) -> str:
    own = _window(words[index], most, rng)
    if rng.random() < 0.5:
        other = _window(words[int(rng.integers(len(words)))], most, rng)
        own = _mix(own, other, most, rng)
    kept = [word for word in own if rng.random() > 0.12] or own
    if len(kept) > 2 and rng.random() < 0.3:
        place = int(rng.integers(len(kept) - 1))
        kept[place], kept[place + 1] = kept[place + 1], kept[place]
    return " ".join(kept)


def _window(words: list[str], most: int, rng: np.random.Generator) -> list[str]:
    if len(words) <= most:
        return list(words)
    start = int(rng.integers(len(words) - most + 1))
    return words[start : start + most]


def _mix(own: list[str], other: list[str], most: int, rng: np.random.Generator) -> list[str]:
    """The first part of one text and the last part of the other, in either order, at most as long as the longer."""
    cut, take = rng.random(2)
    head = own[: max(1, round(len(own) * cut))]
    tail = other[len(other) - max(1, round(len(other) * take)) :]
    joined = head + tail if rng.random() < 0.5 else tail + head
    return joined[:most]
