"""A customer's rows made ready: split, rehearsed beside, tokenized, with the wide channel's logits and a head to start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml import datasets, tokens, trunk
from modelhub.ml.text import graphs, wide
from modelhub.ml.text.served import shipped_head
from modelhub.ml.text.split import spread

HELD_SHARE, MOST_HELD = 0.25, 500
REHEARSED_PER_LABEL, MOST_REHEARSED, GUARD_ROWS = 10, 1000, 300
WIDE = wide.WideConfig(buckets=1 << 16, strength=10.0)

Row = tuple[str, str]


class TooFewRows(ValueError):
    """The rows cannot be split into a part to learn from and a part to judge by, or carry one label only."""


@dataclass(frozen=True, slots=True)
class Part:
    """Shapes: y (N,) int64, offset (N, L), the wide channel's fixed share of the logits."""

    texts: list[str]
    ids: list[np.ndarray]
    y: np.ndarray
    offset: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows to learn from, the customer's rows to judge by, and shipped validation rows to see forgetting.

    `known`: how many of `labels` the shipped head has; none where the workload is new to this model. A new head's wide
    channel is fitted on the rows to learn from, so it knows them by heart: it gets its share at the end, on rows held back.
    """

    head: str
    labels: list[str]
    known: int
    weights: graphs.HeadWeights
    train: Part
    held: Part
    guard: Part
    rehearsed: int

    @property
    def fresh(self) -> bool:
        return not self.known


def split_rows(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """A seeded quarter (at most 500) to judge by, the rest to learn from. Raises TooFewRows under 8 rows."""
    if len(rows) < 8:
        raise TooFewRows(f"{len(rows)} rows: at least 8 are needed, so that 2 can be held back to judge by")
    order = np.random.default_rng(seed).permutation(len(rows))
    held = min(MOST_HELD, max(2, round(len(rows) * HELD_SHARE)))
    return [rows[i] for i in order[held:]], [rows[i] for i in order[:held]]


def prepare(
    directory: Path, manifest: dict[str, Any], head: str, rows: list[Row], *, seed: int, trunk_dir: Path | None,
    validation: list[Row] | None = None, rehearse: int = MOST_REHEARSED,
) -> Prepared:  # fmt: skip
    """`validation` rows are judged by where they are given, instead of a quarter of the rows. Raises TooFewRows."""
    train, held = split_rows(rows, seed) if not validation else (rows, validation)
    known = list(manifest["heads"].get(head, {}).get("labels", []))
    labels = [*known, *sorted({label for _, label in [*train, *held]} - set(known))]
    own = {text for text, _ in held}
    old = shipped_rows(head, "train", rehearse) if known else []
    old = [row for row in old[: REHEARSED_PER_LABEL * len(labels)] if row[0] not in own]
    guard = shipped_rows(head, "val", GUARD_ROWS) if known else []
    place = {label: index for index, label in enumerate(labels)}
    encode = encoder_of(directory, manifest, trunk_dir)
    parts = [
        (texts, encode(texts), np.array([place[label] for _, label in part], np.int64))
        for part in (train + old, held, guard)
        for texts in [[text for text, _ in part]]
    ]
    weights = start_of(directory, manifest, head, len(labels), parts[0][1], parts[0][2])
    made = [Part(texts, ids, y, _offset(weights, ids, len(labels))) for texts, ids, y in parts]
    return Prepared(head, labels, len(known), weights, *made, len(old))


def _offset(weights: graphs.HeadWeights, ids: list[np.ndarray], n_labels: int) -> np.ndarray:
    if not ids or not weights.wide_share:
        return np.zeros((len(ids), n_labels), np.float32)
    return (weights.wide_share * weights.table.logits(ids)).astype(np.float32)


def encoder_of(
    directory: Path, manifest: dict[str, Any], trunk_dir: Path | None
) -> Callable[[list[str]], list[np.ndarray]]:
    """Texts to token ids as the artifact reads them."""
    if "trunk" in manifest["requires"]:
        path = (trunk_dir or trunk.ensure_trunk(artifacts.home())) / "tokenizer.json"
    else:
        path = artifacts.file_of(directory, manifest, "tokenizer")
    tokenizer = tokens.load_tokenizer(path)
    return lambda texts: tokens.encode(tokenizer, texts, manifest["wide_tokens"])


def start_of(
    directory: Path, manifest: dict[str, Any], head: str, n_labels: int, ids: list[np.ndarray], y: np.ndarray
) -> graphs.HeadWeights:
    """The shipped head with room for new labels; for a workload without one zeros, and a wide channel of its own rows."""
    if head in manifest["heads"]:
        return widen(shipped_head(directory, manifest, head), n_labels)
    if len(np.unique(y)) < 2:
        raise TooFewRows("the rows to learn from carry one label only: a classifier needs two or more")
    width = _width(directory, manifest)
    table = wide.fit(ids, y, n_labels, WIDE)
    return graphs.HeadWeights(
        np.zeros((n_labels, width), np.float32), np.zeros(n_labels, np.float32), table, 0.0
    )


def _width(directory: Path, manifest: dict[str, Any]) -> int:
    any_head = next(iter(manifest["heads"]))
    return int(shipped_head(directory, manifest, any_head).weight.shape[1])


def widen(weights: graphs.HeadWeights, n_labels: int) -> graphs.HeadWeights:
    """Room for new labels: zero weights, and the mean bias, in both channels."""
    more = n_labels - len(weights.bias)
    if not more:
        return weights
    table = weights.table
    grown = type(table)(
        row=table.row,
        idf=table.idf,
        weight=np.pad(table.weight, ((0, 0), (0, more))),
        scale=np.pad(table.scale, (0, more), constant_values=1.0),
        bias=np.pad(table.bias, (0, more), constant_values=float(table.bias.mean())),
    )
    weight = np.pad(weights.weight, ((0, more), (0, 0)))
    bias = np.pad(weights.bias, (0, more), constant_values=float(weights.bias.mean()))
    return graphs.HeadWeights(weight, bias.astype(np.float32), grown, weights.wide_share)


def shipped_rows(head: str, split: str, most: int) -> list[Row]:
    """Rows that the head was shipped with, labels in turn; none for a workload that isn't ours."""
    if head not in datasets.TEXT_SETS:
        return []
    rows = datasets.load(head, split)
    return [(rows.texts[i], rows.labels[i]) for i in spread(rows.labels, most)]
