"""Public tables of who answered what right: read, named, and marked by whether a shipped router may learn from them."""

from __future__ import annotations

import csv
import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CHEAP, STRONG = "mixtral-8x7b", "gpt-4-1106"
PAIR = ("mixtral_8x7b_correct", "gpt_4_1106_correct")
MT_PAIR = ("mixtral_8x7b_score", "gpt_4_1106_score")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table lies and what its columns hold. `columns` empty: those that end in `:score`, or all after `prompt`."""

    folder: str  # in the repository's data/, where the licence allows a copy
    file: str  # in a folder of public sets
    prompt: str
    domain: str
    columns: tuple[str, ...]
    licence: str
    shipped: bool  # a shipped router may be trained on it


SOURCES: dict[str, Source] = {
    "mmlu": Source("routing_mmlu", "mmlu_mixtral_gpt4", "prompt", "subject", PAIR, "Apache-2.0 (MMLU: MIT)", True),
    "gsm8k": Source("routing_gsm8k", "gsm8k_mixtral_gpt4", "prompt", "", PAIR, "Apache-2.0 (GSM8K: MIT)", True),
    "mt_bench": Source("routing_mt_bench", "mt_bench_scores", "prompt", "category", MT_PAIR, "Apache-2.0", True),
    "routerbench": Source("", "routerbench_11_models", "question", "dataset", (), "unclear: measured only", False),
    "open_7b": Source("", "open_7b_7_models", "prompt", "dataset", (), "unclear: measured only", False),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answered:
    """N prompts, the domain of each, each model's score (N, M) in [0, 1], and its cost (N, M) in dollars where known."""

    texts: list[str]
    domain: np.ndarray
    score: np.ndarray
    models: tuple[str, ...]
    cost_usd: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)


def public_data() -> Path:
    """The folder of public sets that aren't copied here: `SWITCHYARD_DATA`."""
    return Path(os.environ.get("SWITCHYARD_DATA", ROOT.parent / "shared" / "data"))


def load(name: str, split: str) -> Answered:
    """A table's `train`, `val` or `dev` part. Raises KeyError for an unknown table, FileNotFoundError."""
    source = SOURCES[name]
    rows = _rows(source, split)
    columns = source.columns or _model_columns(list(rows[0]), source)
    score = np.array([[float(row[column]) for column in columns] for row in rows])
    if source.columns == MT_PAIR:
        score = (score - 1) / 9  # a judge's 1–10
    models = (CHEAP, STRONG) if source.columns else tuple(c.removesuffix(":score") for c in columns)
    priced = f"{models[0]}:cost_usd" in rows[0]
    cost = np.array([[float(row[f"{m}:cost_usd"]) for m in models] for row in rows]) if priced else None
    domain = np.array([row[source.domain] if source.domain else name for row in rows])
    return Answered([_bare(row[source.prompt]) for row in rows], domain, score, models, cost)


def _rows(source: Source, split: str) -> list[dict[str, str]]:
    own = ROOT / "data" / source.folder / f"{split}.csv.gz"
    path = (
        own
        if source.folder and own.is_file()
        else public_data() / "routing" / f"{source.file}_{split}.csv.gz"
    )
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _model_columns(names: list[str], source: Source) -> tuple[str, ...]:
    scores = tuple(name for name in names if name.endswith(":score"))
    return scores or tuple(names[names.index(source.prompt) + 1 :])


def _bare(prompt: str) -> str:
    """Without the closing cue that every row of a table has."""
    return prompt.removesuffix("\nAnswer:").removesuffix("\n答案：")
