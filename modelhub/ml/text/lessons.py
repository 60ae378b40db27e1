"""What the student of the text models is taught on: training texts and broken copies of them, heard by the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelhub import artifacts
from modelhub.ml import datasets, features, tokens, trunk
from modelhub.ml.distill.loop import Lesson, RiskLesson
from modelhub.ml.distill.targets import cached_logits, needs_pooled
from modelhub.ml.risk import identities
from modelhub.ml.risk.operator import training_rows
from modelhub.ml.text import augment
from modelhub.ml.text.corpus import Part, Parts
from modelhub.ml.text.split import spread

COPIES = {  # of each training text
    "support-intent": 1,
    "assistant-intent": 1,
    "support-sentiment": 12,
    "contract-clauses": 1,
    "terms-review": 1,
    "clinical-notes": 6,
}
LONG_WINDOW = {"clinical-notes": 240}  # words of a broken copy: a dialogue's section often shows late
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an audit asked for: answers alike when groups are swapped, and groups drawn alike often.

    `groups` names each training row's group, in the order of the rows ("" for none).
    """

    paired: bool = False
    groups: list[str] | None = None


class Reader:
    """Texts to token ids, by the trunk's own tokenizer; the trunk's pooled states too, where a teacher reads those."""

    def __init__(self, trunk_dir: Path, *, pooled: bool = False) -> None:
        self._folder, self._pooled = trunk_dir, pooled
        self._tokenizer = tokens.load_tokenizer(trunk_dir / "tokenizer.json")

    @classmethod
    def of(cls, trunk_dir: Path, teacher_dir: Path) -> Reader:
        """A reader for rows that this teacher will be asked about."""
        return cls(trunk_dir, pooled=needs_pooled(artifacts.load_manifest(teacher_dir)))

    def read(self, texts: list[str]) -> list[np.ndarray]:
        """Up to 512 tokens of each text."""
        return tokens.encode(self._tokenizer, texts, features.WIDE_TOKENS)

    def part(self, texts: list[str], y: np.ndarray, labels: list[str]) -> Part:
        """Rows with labels; without the trunk's states where nobody asks for them."""
        if self._pooled:
            return Part(texts, features.cached(texts, self._folder), y, labels)
        ids = self.read(texts)
        return Part(texts, features.Features(np.zeros((len(ids), 0), np.float32), ids), y, labels)


def load_parts(reader: Reader, split: str, names: tuple[str, ...], limit: int | None = None) -> Parts:
    """The named workloads' rows of a split; `limit` keeps the first so many of each, for a smoke run."""
    parts: Parts = {}
    for name in names:
        rows = datasets.load(name, split)
        labels = datasets.label_names(name)
        if limit is not None:
            rows = rows.take(spread(rows.labels, limit))
        place = {label: index for index, label in enumerate(labels)}
        parts[name] = reader.part(rows.texts, np.array([place[label] for label in rows.labels]), labels)
    return parts


def make_lesson(
    reader: Reader,
    name: str,
    part: Part,
    teacher_dir: Path,
    *,
    copies: int,
    seed: int,
    asked: Asked | None = None,
    told: Told | None = None,
    more: Sequence[str] = (),
    views: np.ndarray | None = None,
) -> Lesson:
    """A workload's training rows, `copies` broken ones of each and the texts `more`, with the teacher's logits for all.

    `views` are those logits where they are known already, in this order.
    """
    asked = asked or Asked()

    def heard(rows: features.Features, what: str) -> np.ndarray:
        if views is not None:
            return views[: len(rows.ids)] if what == "rows" else views[-len(rows.ids) :]
        tell = None if told is None else lambda done, of: told(f"{name}, {what}", done, of)
        return cached_logits(teacher_dir, name, rows, tell)

    texts, ids, y = list(part.texts), list(part.features.ids), part.y
    logits = heard(part.features, "rows")
    made = augment.augment(part.texts, copies, seed, LONG_WINDOW.get(name, augment.MOST_WORDS)) + list(more)
    if made:
        broken = reader.part(made, np.full(len(made), -1), part.labels)
        texts, ids = texts + made, ids + broken.features.ids
        logits, y = (
            np.concatenate([logits, heard(broken.features, "broken rows")]),
            np.concatenate([y, broken.y]),
        )
    partners = reader.read([swapped(text, seed) for text in texts]) if asked.paired else None
    shares = None
    if asked.groups is not None:
        shares = group_shares(asked.groups * (1 + copies) + [""] * len(more))
    return Lesson(ids, logits, y, partners, shares)


def swapped(text: str, seed: int) -> str:
    """The text about other groups, always the same ones for the same text; itself where it names none."""
    swaps = identities.identity_swaps(text)
    return swaps[(len(text) + seed) % len(swaps)] if swaps else text


def group_shares(groups: list[str]) -> np.ndarray:
    """How often to draw each row so that all groups come alike often. Gives (N,) with sum one."""
    which, counts = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    weight = 1 / counts[which]
    return weight / weight.sum()


def make_risk_lesson(reader: Reader, seed: int, limit: int | None = None) -> RiskLesson:
    """The operator's rows as token ids."""
    rows = training_rows(seed, limit)
    return RiskLesson(reader.read(rows.texts), rows.labels(), reader.read(rows.partners), rows.shares())


def trunk_words() -> np.ndarray:
    """The pretrained trunk's word embeddings, (30522, 384)."""
    from safetensors.numpy import load_file

    from modelhub.ml.text.pretrained import WORDS

    return load_file(str(trunk.find_weights() / "model.safetensors"))[WORDS]
