"""How alike two fine-tuned models are in what they add to the shared base: numbers only, nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.adapters.stored import AdapterFile, read_adapter

Term = tuple[np.ndarray, np.ndarray]  # down (K, r), up (r, N): the matrix that their product is


@dataclass(frozen=True, slots=True)
class Delta:
    """What was added: low-rank terms in order, and the head's change as one vector; labels say what the head answers.

    Two are comparable where both have terms of the same kind and blocks, or heads of the same labels.
    """

    method: str
    blocks: int
    terms: tuple[Term, ...]
    head: np.ndarray
    labels: tuple[str, ...]


def delta_of(folder: Path, base: Path) -> Delta:
    """What the fine-tuned head in `folder` changes about the model in `base`. Raises ArtifactCorrupt."""
    from modelhub.ml.text.graphs import read_head

    manifest = artifacts.load_manifest(folder)
    own = read_head(artifacts.file_of(folder, manifest, "head")).weight
    shipped = artifacts.load_manifest(base)
    name = manifest.get("head", "")
    if f"head:{name}" in shipped["files"]:
        old = read_head(artifacts.file_of(base, shipped, f"head:{name}")).weight
        own = own.copy()
        own[: len(old)] -= old
    adapter = read_adapter(folder, manifest)
    terms = terms_of(adapter) if adapter is not None else ()
    blocks = adapter.blocks if adapter is not None else 0
    return Delta(adapter.method if adapter else "head", blocks, terms, own.ravel(), tuple(manifest["labels"]))


def terms_of(adapter: AdapterFile) -> tuple[Term, ...]:
    """The products that an adapter adds, block by block. A plugin expert's two matrices count as its terms."""
    a = adapter.arrays
    pairs = (("qkv_down", "qkv_up"), ("out_down", "out_up")) if adapter.method == "lora" else (("w1", "w2"),)
    return tuple((a[down][block], a[up][block]) for block in range(adapter.blocks) for down, up in pairs)


def inner(first: tuple[Term, ...], second: tuple[Term, ...]) -> float:
    """Sum of the products of all entries of both sides' matrices, without building a matrix: ⟨AB, CD⟩ = tr((AᵀC)(DBᵀ))."""
    return float(sum(((a.T @ c) * (b @ d.T)).sum() for (a, b), (c, d) in zip(first, second, strict=True)))


def cosine(first: Delta, second: Delta) -> float | None:
    """From −1 to 1 over terms and head together; None where they can't be compared."""
    if (first.method, first.blocks, first.labels) != (second.method, second.blocks, second.labels):
        return None
    if [t[0].shape[0] for t in first.terms] != [
        t[0].shape[0] for t in second.terms
    ] or first.head.shape != second.head.shape:
        return None

    def size(one: Delta) -> float:
        return (inner(one.terms, one.terms) + float(one.head @ one.head)) ** 0.5

    lengths = size(first) * size(second)
    return (inner(first.terms, second.terms) + float(first.head @ second.head)) / lengths if lengths else None


def agreement(first: list[Any], second: list[Any]) -> float:
    """Share of rows to which both give the same label. Raises ValueError for lists of unequal length, or none."""
    if len(first) != len(second) or not first:
        raise ValueError(
            f"{len(first)} and {len(second)} answers: expected as many of both, and at least one"
        )
    return float(np.mean([a == b for a, b in zip(first, second, strict=True)]))
