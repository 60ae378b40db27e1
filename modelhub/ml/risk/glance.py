"""A second look before the net's: most sentences that the screen doesn't let pass are harmless, and a small layer can tell.

It reads words in threes, each by its meaning as the net does, and has one hidden layer over their peaks and means; it was taught
what the net says, and how far below the lowest threshold a text must seem to be is chosen on texts that the fit never saw
(modelhub.ml.risk.glancing). Not for it, whatever it thinks: names of groups, abuse and violence, Chinese, a word that nobody
knows (it may be one of those misspelt), and texts of more than LONGEST words. Ten microseconds a sentence, where the net takes
two hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from modelhub.ml.risk import windows
from modelhub.ml.risk.screen import CONTRACTIONS
from modelhub.ml.risk.windows import Windows

Vector = Callable[[str], np.ndarray]
TENSORS = ("taps", "bias", "hidden", "bias_hidden", "out", "bias_out")
LONGEST = 64  # keys
KEPT_KEYS = 16_000
_MARKS = frozenset('"!?.,;:')


class Glance:
    """Shapes of `tensors`: taps (D, 3C), bias (C,), hidden (2C, H), bias_hidden (H,), out (H,), bias_out (). `always`: words
    that the net reads whatever stands beside them; `known`: all that are known."""

    def __init__(
        self, tensors: Mapping[str, np.ndarray], always: Iterable[str], known: Iterable[str], vector: Vector
    ) -> None:
        self.tensors, self.always = dict(tensors), frozenset(always)
        self._open = (_MARKS | CONTRACTIONS | frozenset(known)) - self.always
        self._windows = Windows(tensors["taps"], tensors["bias"], vector, KEPT_KEYS)

    def may(self, told: Sequence[str]) -> bool:
        """Whether these keys are such as it was taught."""
        return len(told) <= LONGEST and (self._open.issuperset(told) or all(map(self._is_open, told)))

    def _is_open(self, key: str) -> bool:
        return key in self._open or key.isdigit() or (key.endswith("'s") and key[:-2] in self._open)

    def lean(self, keys: Sequence[Sequence[str]]) -> np.ndarray:
        """(N,) of texts of at least one and at most LONGEST keys each: below zero, the net needn't read them."""
        step = KEPT_KEYS // LONGEST
        if 0 < len(keys) <= step:
            return self._lean(keys)
        some = [self._lean(keys[at : at + step]) for at in range(0, len(keys), step)]
        return np.concatenate([np.empty(0, np.float32), *some])

    def _lean(self, keys: Sequence[Sequence[str]]) -> np.ndarray:
        texts = windows.laid_out(keys, apart=1)
        t = self.tensors
        seen = windows.pooled(self._windows.of(keys, 1, texts[-1].stop), texts) @ t["hidden"]
        seen += t["bias_hidden"]
        return np.maximum(seen, 0, out=seen) @ t["out"] + t["bias_out"]

    def heavy(self, keys: Sequence[Sequence[str]]) -> list[int]:
        """Which of these texts the net must read. What is no number is heavy."""
        known = [i for i, told in enumerate(keys) if self.may(told)]
        if not known:
            return list(range(len(keys)))
        values = self.lean([keys[i] for i in known] if len(known) < len(keys) else keys).tolist()
        light = {i for i, value in zip(known, values, strict=True) if value < 0}
        return [i for i in range(len(keys)) if i not in light]

    def stored(self) -> dict[str, np.ndarray]:
        """As it goes into the net's file: the taps in 8 bits with a scale a column, the rest in 16."""
        taps = self.tensors["taps"]
        scale = np.maximum(np.abs(taps).max(axis=0), 1e-6) / 127
        others = {
            f"glance_{name}": self.tensors[name].astype(np.float16) for name in TENSORS if name != "taps"
        }
        words = np.frombuffer("\n".join(sorted(self.always)).encode(), np.uint8)
        return others | {
            "glance_taps": np.round(taps / scale).astype(np.int8), "glance_taps_scale": scale.astype(np.float32),
            "glance_always": words,
        }  # fmt: skip


def of(stored: Mapping[str, np.ndarray], known: Iterable[str], vector: Vector) -> Glance | None:
    """The glance of a net's file; None where there is none. Raises ValueError for a value that is no number."""
    if "glance_taps" not in stored:
        return None
    tensors = {name: stored[f"glance_{name}"].astype(np.float32) for name in TENSORS}
    tensors["taps"] *= stored["glance_taps_scale"]
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise ValueError("the glance holds values that are no numbers")
    return Glance(tensors, stored["glance_always"].tobytes().decode().split("\n"), known, vector)
