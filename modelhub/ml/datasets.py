"""The copied data sets as rows: what each workload reads, under the data set's own label strings."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "data"


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs (texts, or records of columns) and the right answer of each."""

    labels: list[Any]
    texts: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Any) -> Rows:
        """The rows at these positions, in this order."""
        return Rows(
            labels=[self.labels[i] for i in indices],
            texts=[self.texts[i] for i in indices] if self.texts else [],
            records=[self.records[i] for i in indices] if self.records else [],
        )


@dataclass(frozen=True, slots=True)
class TextSet:
    """Where a text workload's rows lie, and which column holds what."""

    folder: str
    text: str
    label: str
    title: str
    licence: str
    only: tuple[str, str] | None = None


TEXT_SETS: dict[str, TextSet] = {
    "support-intent": TextSet("banking77", "text", "intent", "Banking77", "CC BY 4.0"),
    "assistant-intent": TextSet("clinc150", "text", "intent", "CLINC150 with out-of-scope", "CC BY 3.0"),
    "support-sentiment": TextSet("reviews_en", "text", "label", "Sentiment Labelled Sentences", "CC BY 4.0"),
    "contract-clauses": TextSet(
        "cuad", "text", "clause_types", "CUAD, clauses of one type", "CC BY 4.0", only=("n_types", "1")
    ),
    "terms-review": TextSet("unfair_tos", "text", "label", "UNFAIR-ToS", "CC BY 4.0"),
    "clinical-notes": TextSet(
        "mts_dialog", "dialogue", "section_header", "MTS-Dialog, section from dialogue", "CC BY 4.0"
    ),
}
TEXT_WORKLOADS: tuple[str, ...] = tuple(TEXT_SETS)
MACRO_F1_WORKLOADS = frozenset({"terms-review", "clinical-notes"})


def read_csv(folder: str, split: str, root: Path | None = None) -> Iterator[dict[str, str]]:
    """Rows of `data/<folder>/<split>.csv.gz` as dictionaries. Raises FileNotFoundError."""
    path = (root or DATA) / folder / f"{split}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def load(workload: str, split: str = "train") -> Rows:
    """Rows of a text workload; `split` is `train` or `val`. Raises KeyError for an unknown workload."""
    if workload not in TEXT_SETS:
        raise KeyError(f"{workload!r} is no text workload; known: {', '.join(TEXT_SETS)}")
    source = TEXT_SETS[workload]
    texts, labels = [], []
    for row in read_csv(source.folder, split):
        if source.only is not None and row[source.only[0]] != source.only[1]:
            continue
        texts.append(row[source.text])
        labels.append(row[source.label])
    return Rows(labels=labels, texts=texts)


def label_names(workload: str) -> list[str]:
    """The labels of a workload's training rows, sorted: the order of every head's scores."""
    return sorted(set(load(workload, "train").labels))


def load_offensive(language: str, split: str) -> Rows:
    """Offensive-language rows, label 1 for offensive: `zh` is COLD, `en` the tweets (hate or offensive)."""
    if language == "zh":
        rows = [(row["text"], int(row["label"])) for row in read_csv("cold_zh", split)]
    elif language == "en":
        rows = [(row["text"], int(row["label"] != "neither")) for row in read_csv("offensive_tweets", split)]
    else:
        raise KeyError(f"no offensive-language set for {language!r}; known: en, zh")
    return Rows(texts=[text for text, _ in rows], labels=[label for _, label in rows])


def load_hatecheck() -> list[dict[str, str]]:
    """HateCheck cases (`text`, `label` hateful or non-hateful, `target_ident`, `functionality`)."""
    return list(read_csv("hatecheck", "dev"))
