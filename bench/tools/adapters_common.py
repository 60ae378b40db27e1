"""What the benchmarks of adapters share: rows of other data sets, the trunk's files, when a curve gets somewhere."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import FULL
from modelhub import artifacts
from modelhub.ml import tokens, trunk

SEEDS = (1, 2, 3)


def data() -> Path:
    """The folder of data sets that benchmarks may read; `SWITCHYARD_DATA` names it. Raises FileNotFoundError."""
    named = os.environ.get("SWITCHYARD_DATA", "")
    if not named or not Path(named).is_dir():
        raise FileNotFoundError("set SWITCHYARD_DATA to the folder of data sets")
    return Path(named)


def seeds() -> tuple[int, ...]:
    """Three, or as many as SWITCHYARD_BENCH_SEEDS says: a trial of the script."""
    return SEEDS[: int(os.environ.get("SWITCHYARD_BENCH_SEEDS", len(SEEDS)))]


def csv_rows(path: Path, text: str, label: str, most: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts and labels of a seeded sample."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        rows = [(row[text], row[label]) for row in csv.DictReader(stream)]
    order = np.random.default_rng(seed).permutation(len(rows))[:most]
    return [rows[i][0] for i in order], [rows[i][1] for i in order]


def scaled(small: int, large: int) -> int:
    """Rows of this run; a trial of the script takes the share of them that SWITCHYARD_BENCH_ROWS says."""
    return max(60, round((large if FULL else small) * float(os.environ.get("SWITCHYARD_BENCH_ROWS", 1.0))))


def one_core() -> None:
    """Processor seconds are compared: everything runs on one thread."""
    torch.set_num_threads(1)


def files() -> tuple[Path, Path]:
    """The served body and the trunk's folder."""
    directory = artifacts.find("txt-base")
    body = artifacts.file_of(directory, artifacts.load_manifest(directory), "body")
    return body, trunk.ensure_trunk(artifacts.home())


def encode(trunk_dir: Path, texts: list[str]) -> list[np.ndarray]:
    return tokens.encode(tokens.load_tokenizer(trunk_dir / "tokenizer.json"), texts, trunk.MAX_TOKENS)


def first_reaching(curve: Sequence[dict[str, Any]], target: float) -> float | None:
    """Processor seconds at the first point whose `value` is at least the target; None when it never was."""
    return next((float(point["cpu_s"]) for point in curve if point["value"] >= target), None)


def share(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """(ours / theirs in processor seconds to the same value, that value): the highest that both reached."""
    target = min(max(point["value"] for point in ours), max(point["value"] for point in theirs))
    mine, other = first_reaching(ours, target), first_reaching(theirs, target)
    assert mine is not None and other is not None
    return mine / other, target
