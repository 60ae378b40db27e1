"""The risk model in numpy: a vector a token, convolutions over neighbours, four scores a text.

A word's vector is a frozen one (the trunk's own meaning of it, narrowed), so that a word nobody fitted on stands near those that
mean the same; a misspelt or unknown word, and a Chinese character, has a mean over its hashed letters that was fitted to lie
where the word itself would. What is learnt besides is what stands beside what: "no … is …" is another sentence than
"every … is …". Between the third convolution and the fourth every place is told what the whole text holds, so that "they" may be
far from those who are meant. Before it stand a screen and a glance, which let pass what needs no reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modelhub.ml.risk import glance, reading
from modelhub.ml.risk.glance import Glance
from modelhub.ml.risk.screen import Screen
from modelhub.ml.risk.windows import Windows, laid_out, pooled, side_by_side

KINDS = ("stereotype", "disparate_treatment", "harm", "abuse")
JUDGED = 3  # kinds that a verdict hangs on; abuse (swearing, insults to one person) is told beside them
BUCKETS = 1 << 14
MOST_TOKENS = 400
KEPT_KEYS = 16_000
TOGETHER = 2_048  # tokens computed at a time
STEPS = (1, 2, 4, 1, 2)  # how far each convolution looks to either side
SPREAD_AFTER = 3
REACH = max(STEPS)
ROWS_AT_ONCE = 4
_PRIME = (1 << 31) - 1
CONVS = tuple(f"conv{i + 1}" for i in range(len(STEPS)))
TENSORS = (
    "letters", *CONVS, *(f"bias{i + 1}" for i in range(len(STEPS))), "spread", "bias_spread", "hidden", "bias_hidden",
    "out", "bias_out",
)  # fmt: skip


def buckets_of(key: str) -> list[int]:
    """Hashed parts of a key: the whole, and its three to five letters in a row; for Chinese the character and its pairs."""
    if key.startswith(reading.CHINESE_KEY):
        before, here, after = key[1:]
        parts = [here, before + here + "<", ">" + here + after, before + here + after]
    elif not key[0].isalnum():  # a mark, or the name of a group
        parts = [key]
    else:
        word = f"<{key}>"
        parts = [word, *(word[i : i + n] for n in (3, 4, 5) for i in range(len(word) - n + 1))]
    return [hash_of(part) % BUCKETS for part in parts]


def hash_of(text: str) -> int:
    """The same in every process (Python's own hash is salted)."""
    return int.from_bytes(text.encode()[:24], "little") * 0x9E3779B1 % _PRIME


class RiskNet:
    """Shapes of `tensors`: letters (BUCKETS, D); conv1 (3, D, C), the others (3, C, C); spread (2C, C); hidden (2C, H);
    out (H, 4); biases beside. vectors (W, D) of the listed words."""

    def __init__(
        self,
        words: list[str],
        vectors: np.ndarray,
        tensors: dict[str, np.ndarray],
        shift_chinese: float = 0.0,
    ) -> None:
        """`shift_chinese`: on the judged kinds' log-odds of a text with Chinese in it."""
        self.words, self.vectors, self.tensors, self.shift_chinese = words, vectors, tensors, shift_chinese
        self.letters = tensors["letters"]
        self.screen: Screen | None = None
        self.glance: Glance | None = None
        self._rows = {word: i for i, word in enumerate(words)}
        self._convs = [
            (np.ascontiguousarray(tensors[name]), tensors[f"bias{i + 1}"], STEPS[i])
            for i, name in enumerate(CONVS)
        ]
        self._windows = Windows(side_by_side(tensors["conv1"]), tensors["bias1"], self.vector, KEPT_KEYS)

    def known_words(self) -> frozenset[str]:
        """Those with a vector, and those that ordinary texts hold."""
        return frozenset(self.words) | frozenset(self.screen.weights if self.screen is not None else ())

    def vector(self, key: str) -> np.ndarray:
        """(D,) of one key."""
        row = self._rows.get(key, -1)
        return self.vectors[row] if row >= 0 else self.letters[buckets_of(key)].mean(axis=0)

    def logits(self, text: str) -> np.ndarray:
        """(4,) log-odds of one text by kind."""
        return self.logits_of([text])[0]

    def logits_of(self, texts: list[str]) -> np.ndarray:
        """(N, 4) log-odds by kind. Texts are computed together, rows of nothing between them: a sentence of sixteen words
        costs a third of what it costs alone."""
        return self._of_keys([_keys(text) for text in texts])

    def _of_keys(self, keys: list[list[str]]) -> np.ndarray:
        found = np.empty((len(keys), len(KINDS)), np.float32)
        start, most = 0, min(TOGETHER, self._windows.most)
        while start < len(keys):
            stop, rows = start, 0
            while stop < len(keys) and (stop == start or rows + len(keys[stop]) <= most):
                rows += len(keys[stop])
                stop += 1
            found[start:stop] = self._logits(keys[start:stop])
            start = stop
        if self.shift_chinese:
            for i, told in enumerate(keys):
                if any(key.startswith(reading.CHINESE_KEY) for key in told):
                    found[i, :JUDGED] += self.shift_chinese
        return found

    def _logits(self, keys: list[list[str]]) -> np.ndarray:
        """(N, 4) of texts that have at least one key each. Between two of them are rows of nothing, and at the end such as fill
        up what the product's kernels do at once: 20 rows cost less than 19."""
        texts = laid_out(keys, apart=REACH)
        nothing = [slice(where.stop, where.stop + REACH) for where in texts]
        t = self.tensors
        x = self._windows.of(keys, REACH, -(-texts[-1].stop // ROWS_AT_ONCE) * ROWS_AT_ONCE)
        _clear(x, nothing)
        for i, (weight, bias, step) in enumerate(self._convs[1:], start=1):
            if i == SPREAD_AFTER:
                for where, whole in zip(texts, _dense(pooled(x, texts), t, "spread"), strict=True):
                    x[where] += whole
            x = _wider(x, weight, bias, step)
            _clear(x, nothing)
        return _dense(pooled(x, texts), t, "hidden") @ t["out"] + t["bias_out"]

    def kinds(self, texts: list[str]) -> np.ndarray:
        """Probabilities (N, 4) float32 in the order of KINDS."""
        return _chances(self.logits_of(texts))

    def score(self, texts: list[str]) -> np.ndarray:
        """The gravest judged kind of each text, (N,) float32 in [0, 1]; 0 for one that screen or glance lets pass unread."""
        found = np.zeros(len(texts), np.float32)
        left = self.unscreened(texts)
        found[left] = self.score_unscreened([texts[i] for i in left])
        return found

    def unscreened(self, texts: Sequence[str]) -> list[int]:
        """Which of the texts the screen doesn't let pass."""
        return self.screen.heavy(texts) if self.screen is not None else list(range(len(texts)))

    def score_unscreened(self, texts: Sequence[str]) -> np.ndarray:
        """What `score` gives of texts that the screen doesn't let pass."""
        found = np.zeros(len(texts), np.float32)
        keys = [_keys(text) for text in texts]
        left = list(range(len(texts)))
        if self.glance is not None and keys:
            left = self.glance.heavy(keys)
            keys = [keys[i] for i in left]
        if keys:
            found[left] = _chances(self._of_keys(keys))[:, :JUDGED].max(axis=1)
        return found

    def save(self, path: Path) -> None:
        """Write as `.npz`: tables in 8 bits with a scale a column, the rest in 16."""
        tables = {}
        for name, table in (("vectors", self.vectors), ("letters", self.letters)):
            scale = np.maximum(np.abs(table).max(axis=0), 1e-6) / 127
            tables |= {
                name: np.round(table / scale).astype(np.int8),
                f"{name}_scale": scale.astype(np.float32),
            }
        others = {name: self.tensors[name].astype(np.float16) for name in TENSORS if name != "letters"}
        words = np.frombuffer("\n".join(self.words).encode(), np.uint8)
        shift = np.float16(self.shift_chinese)
        if self.screen is not None:
            weights = dict(sorted(self.screen.weights.items()))  # a fifth shorter than in the order of a fit
            others["screen_words"] = np.frombuffer("\n".join(weights).encode(), np.uint8)
            others["screen_weights"] = np.array(list(weights.values()), np.uint8)
        if self.glance is not None:
            others |= self.glance.stored()
        np.savez_compressed(path, words=words, shift_chinese=shift, **tables, **others)


def _keys(text: str) -> list[str]:
    return reading.keys(text)[:MOST_TOKENS] or ["."]


def _chances(logits: np.ndarray) -> np.ndarray:
    odds = np.minimum(np.maximum(logits.astype(np.float64), -60), 60)
    return (1.0 / (1.0 + np.exp(-odds))).astype(np.float32)


def _dense(x: np.ndarray, tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.maximum(x @ tensors[name] + tensors[f"bias_{name}"], 0)


def _clear(x: np.ndarray, nothing: list[slice]) -> None:
    """Beyond a text's ends there is nothing, whatever stands beside it."""
    for gap in nothing:
        x[gap] = 0


def _wider(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, step: int) -> np.ndarray:
    """x and what its places `step` before and after add to it. Shapes: x (T, C), weight (3, C, C) -> (T, C).

    Three products for one: up to thirty-nine rows each is so small that its kernel reads the weights where they lie, without
    laying them out anew, and what is added afterwards lies in one piece.
    """
    before, out, after = x @ weight
    out += bias
    if len(x) > step:
        out[step:] += before[:-step]
        out[:-step] += after[step:]
    np.maximum(out, 0, out=out)
    out += x
    return out


def load(path: Path) -> RiskNet:
    """Read what `save` wrote. Raises ValueError for another shape or a value that is no number."""
    with np.load(path, allow_pickle=False) as stored:
        missing = {"words", "vectors", "vectors_scale", "letters_scale", *TENSORS} - set(stored)
        if missing:
            raise ValueError(f"{path.name} lacks {', '.join(sorted(missing))}")
        words = stored["words"].tobytes().decode().split("\n")
        read = {name: stored[name].astype(np.float32) for name in TENSORS}
        read["letters"] *= stored["letters_scale"]
        vectors = stored["vectors"].astype(np.float32) * stored["vectors_scale"]
        shift = float(stored["shift_chinese"]) if "shift_chinese" in stored else 0.0
        screen = _screen_of(stored) if "screen_words" in stored else None
        glanced = {name: stored[name] for name in stored if name.startswith("glance_")}
    shapes = (
        len(words) == len(vectors),
        len(read["letters"]) == BUCKETS,
        read["out"].shape[1:] == (len(KINDS),),
    )
    if not all(shapes):
        raise ValueError(f"{path.name} holds tables of another shape than this reader's")
    if not all(np.isfinite(value).all() for value in (vectors, *read.values())):
        raise ValueError(f"{path.name} holds values that are no numbers")
    model = RiskNet(words, vectors, read, shift)
    model.screen = screen
    model.glance = glance.of(glanced, model.known_words(), model.vector)
    return model


def _screen_of(stored: Mapping[str, np.ndarray]) -> Screen:
    words = stored["screen_words"].tobytes().decode().split("\n")
    return Screen(dict(zip(words, stored["screen_weights"].tolist(), strict=True)))
