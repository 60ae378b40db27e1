"""Which rows the data loop learns from: the slices of weak busy experts, cleaned and oversampled, and random rows beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from modelhub.ml.activation.cards import Rows, WeakExpert, weakest_busy
from modelhub.ml.activation.served_encoder import slice_names
from modelhub.ml.text.packing import TokenRows

NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What one half of the validation rows says: the weakest busy experts, their slices, and the rows that judge."""

    weakest: list[WeakExpert]
    slices: tuple[str, ...]
    judged: np.ndarray  # positions of the other half
    on_slices: np.ndarray  # of bool, for each judged row


@dataclass(frozen=True, slots=True)
class Chosen:
    """Positions of training rows. `own`: of the slices, less the `suspect` ones; `extra`: drawn to be learnt again."""

    own: np.ndarray
    suspect: np.ndarray
    extra: np.ndarray


def halves(rows: TokenRows, seed: int = 1) -> np.ndarray:
    """Which of two halves each row belongs to, label by label as even as it goes. Gives (N,) of 0 or 1."""
    rng = np.random.default_rng(seed)
    names = np.array(slice_names(rows), dtype=object)
    half = np.zeros(len(rows), np.int64)
    for index, name in enumerate(sorted(set(names))):
        mine = rng.permutation(np.flatnonzero(names == name))
        half[mine] = (np.arange(len(mine)) + index) % 2
    return half


def find(seen: Rows, half: np.ndarray, which: int, experts: int = 3) -> Finding:
    """The weakest busy experts by the rows of half `which`, to be judged by the other half.

    Who is found weak on some rows is weaker there than it is: on the rows that found it, any change looks like a cure.
    """
    mine, other = np.flatnonzero(half == which), np.flatnonzero(half != which)
    labels = [seen.labels[int(i)] for i in mine]
    assert seen.correct is not None
    part = Rows(seen.counts[mine], labels, seen.tokens[mine], seen.correct[mine])
    weakest = weakest_busy(part, experts)
    slices = tuple(sorted({name for weak in weakest for name, _, _ in weak.slices}))
    named = set(slices)
    on = np.array([seen.labels[int(i)] in named for i in other])
    return Finding(weakest, slices, other, on)


def suspects(rows: TokenRows, which: np.ndarray) -> np.ndarray:
    """Of these rows, those whose nearest neighbours all bear one other label: likely mislabelled.

    Neighbours are the five most alike other rows of the same workload, by cosine over tokens weighted by rarity; no
    trained model is asked, since it has learnt the wrong labels too. Gives positions, a part of `which`.
    """
    found: list[int] = []
    for workload in np.unique(rows.workload[which]):
        everyone = np.flatnonzero(rows.workload == workload)
        asked = which[rows.workload[which] == workload]
        unit = token_vectors(rows, everyone)
        place = {int(row): i for i, row in enumerate(everyone)}
        alike = np.asarray((unit[[place[int(row)] for row in asked]] @ unit.T).todense())
        alike[np.arange(len(asked)), [place[int(row)] for row in asked]] = -1
        if alike.shape[1] <= NEIGHBOURS:
            continue
        nearest = np.argpartition(-alike, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        labels = rows.y[everyone][nearest]
        same = (labels == labels[:, :1]).all(axis=1)
        found += asked[same & (labels[:, 0] != rows.y[asked])].tolist()
    return np.array(sorted(found), np.int64)


def token_vectors(rows: TokenRows, which: np.ndarray) -> sparse.csr_matrix:
    """Each text's tokens as a unit vector, rare ones weighing more. Gives (len(which), V)."""
    pieces = [np.unique(rows.piece(i)) for i in which]
    indptr = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
    indices = np.concatenate(pieces)
    seen = np.bincount(indices)
    weight = np.log(len(pieces) / seen[indices]).astype(np.float32)
    matrix = sparse.csr_matrix((weight, indices, indptr), shape=(len(pieces), len(seen)))
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    return sparse.diags(1 / np.maximum(norm, 1e-12)) @ matrix


def choose(train: TokenRows, slices: tuple[str, ...], extra: int, seed: int) -> Chosen:
    """Rows of the slices without the suspect ones, and `extra` draws from them, slice after slice equally often.

    Raises ValueError where the slices have no training rows.
    """
    names = np.array(slice_names(train), dtype=object)
    mine = np.flatnonzero(np.isin(names, slices))
    suspect = suspects(train, mine)
    own = np.setdiff1d(mine, suspect)
    groups = [own[names[own] == name] for name in slices]
    groups = [group for group in groups if len(group)]
    if not groups:
        raise ValueError(f"no training rows of {', '.join(slices) or 'any slice'}: nothing to learn again")
    rng = np.random.default_rng((seed, 1))
    turns = [groups[i % len(groups)] for i in range(extra)]
    return Chosen(own, suspect, np.array([rng.choice(group) for group in turns]))


def random_rows(train: TokenRows, count: int, seed: int) -> np.ndarray:
    """As many rows drawn from all training rows: the control."""
    return np.random.default_rng((seed, 2)).choice(len(train), count)
