"""The classifier as it is served: sums of weights looked up by word, in plain Python, from one small file.

A dictionary look-up costs some 40 ns and a model in ONNX Runtime more than all of them (docs/decisions/0060); arrays only
say of a long text that it can't reach the threshold (ceiling.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, repeat
from operator import add, sub
from pathlib import Path

import numpy as np

from modelhub.ml.inspect.ceiling import Ceiling
from modelhub.ml.inspect.look import Look
from modelhub.ml.inspect.reading import Lists, candidates

Span = tuple[int, int]
SLACK = 2.0  # log-odds that a neighbour of a name may lack
WINDOW = (
    20  # words whose weights are added up: an attempt is loud somewhere, however long the text around it is
)
LONG = 64  # words from which on a ceiling in arrays costs less than the sums in Python
PARTICLES = (
    "van",
    "de",
    "der",
    "den",
    "von",
    "da",
    "di",
    "del",
    "la",
    "le",
    "ten",
    "ter",
    "bin",
    "al",
    "el",
    "dos",
    "y",
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which score on something is found."""

    names: float
    direct: float  # an attempt in what a person or an application wrote
    document: float  # an instruction in what was only to be read


@dataclass(frozen=True, slots=True)
class Loudness:
    """Weights of single words, and of two in a row; `bias` is added to the loudest window's sum."""

    words: Mapping[str, float]
    pairs: Mapping[tuple[str, str], float]
    bias: float
    ceiling: Ceiling = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ceiling", Ceiling(self.words, self.pairs))

    def reaches(self, sequence: Sequence[str], least: float) -> bool:
        """Whether `score` is at least this; a long text is only summed when its ceiling leaves that open."""
        if len(sequence) > LONG and self.ceiling.of(sequence, WINDOW) + self.bias < least:
            return False
        return self.score(sequence) >= least

    def score(self, sequence: Sequence[str]) -> float:
        """Log-odds of the WINDOW words in a row whose weights add up to most."""
        single = map(self.words.get, sequence, repeat(0.0))
        double = map(self.pairs.get, zip(sequence, [*sequence[1:], ""], strict=True), repeat(0.0))
        sums = list(accumulate(map(add, single, double), initial=0.0))
        loudest = sums[-1] if len(sums) <= WINDOW + 1 else max(map(sub, sums[WINDOW:], sums))
        return loudest + self.bias


@dataclass(frozen=True, slots=True)
class InspectionModel:
    """The three models with their thresholds."""

    names: Mapping[str, float]
    names_bias: float
    lists: Lists
    direct: Loudness
    document: Loudness
    threshold: Threshold

    def names_in(self, text: str | Look) -> Iterator[Span]:
        """Where people's names stand. Neighbours are one name when one of them surely is a name and none surely isn't."""
        look = text if isinstance(text, Look) else Look(text)
        get, written = self.names.get, look.text
        sure = self.threshold.names - self.names_bias
        least = sure - SLACK
        start = end = -1
        found = False
        for candidate in candidates(look, self.lists):
            score = sum(map(get, candidate.features, repeat(0.0)))
            initial = candidate.end - candidate.start == 1
            may = initial or score >= least
            if start >= 0 and not (may and candidate.start >= end and _joins(written[end : candidate.start])):
                if found:
                    yield start, end
                start, found = -1, False
            if not may:
                continue
            start = candidate.start if start < 0 else start
            end = candidate.end
            found = found or (score >= sure and not initial)
        if found:
            yield start, end

    def attempt(self, text: str | Look) -> float:
        """Log-odds that somewhere in it a model is told to leave its rules or to tell them."""
        return self.direct.score((text if isinstance(text, Look) else Look(text)).sequence)

    def instruction(self, text: str | Look) -> float:
        """Log-odds that a text which is only to be read tells its reader's assistant what to do."""
        return self.document.score((text if isinstance(text, Look) else Look(text)).sequence)

    def is_injection(self, text: str | Look, *, document: bool = False) -> bool:
        look = text if isinstance(text, Look) else Look(text)
        if self.direct.reaches(look.sequence, self.threshold.direct):
            return True
        return document and self.document.reaches(look.sequence, self.threshold.document)


def _joins(between: str) -> bool:
    """Whether what stands between two capitalised words leaves them one name."""
    plain = between.strip(" .")
    if len(between) <= 3 and not plain:
        return between != ""
    return between[:1] == " " and between[-1:] == " " and plain in PARTICLES


def save(model: InspectionModel, path: Path) -> None:
    """One `.npz`: words as joined bytes, weights in 16 bits; sets as joined bytes."""
    tables: dict[str, Mapping[str, float]] = {"names": model.names}
    for name in ("direct", "document"):
        loud: Loudness = getattr(model, name)
        tables[name] = {**loud.words, **{" ".join(pair): w for pair, w in loud.pairs.items()}}
    arrays: dict[str, np.ndarray] = {}
    for name, table in tables.items():
        keys = sorted(table)
        arrays[f"{name}_keys"] = _packed(keys)
        arrays[f"{name}_weights"] = np.array([table[key] for key in keys], np.float16)
    for name in ("given", "family", "common"):
        arrays[name] = _packed(sorted(getattr(model.lists, name)))
    t = model.threshold
    numbers = [model.names_bias, model.direct.bias, model.document.bias, t.names, t.direct, t.document]
    np.savez_compressed(path, numbers=np.array(numbers, np.float64), **arrays)  # type: ignore[arg-type]


def load(path: Path) -> InspectionModel:
    """Raises ValueError when the file is not one that `save` wrote, or holds what is no number."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        tables = {name: _table(arrays, name) for name in ("names", "direct", "document")}
        sets = [_unpacked(arrays[name]) for name in ("given", "family", "common")]
        bias, direct, document, *thresholds = (float(x) for x in arrays["numbers"])
        threshold = Threshold(*thresholds)
    except (KeyError, OSError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is no inspection model: {error}") from error
    numbers = [bias, direct, document, *thresholds, *(w for table in tables.values() for w in table.values())]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{path.name} holds a weight that is no finite number")
    return InspectionModel(
        tables["names"],
        bias,
        Lists.of(*sets),
        loudness(tables["direct"], direct),
        loudness(tables["document"], document),
        threshold,
    )


def loudness(table: Mapping[str, float], bias: float) -> Loudness:
    """Keys of one word, and of two with a space between."""
    pairs = {
        (a, b): weight for key, weight in table.items() if " " in key for a, _, b in [key.partition(" ")]
    }
    return Loudness({key: weight for key, weight in table.items() if " " not in key}, pairs, bias)


def _table(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, float]:
    keys, values = _unpacked(arrays[f"{name}_keys"]), arrays[f"{name}_weights"].astype(float).tolist()
    return dict(zip(keys, values, strict=True))


def _packed(words: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\0".join(words).encode(), np.uint8)


def _unpacked(packed: np.ndarray) -> list[str]:
    return packed.tobytes().decode().split("\0") if packed.size else []
