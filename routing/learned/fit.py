"""Fits a scorer on a table of prompts and each model's score: parts on all rows, their mix on rows that no part had seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, sparse

from routing.learned.features import TERMS, Read
from routing.learned.scorer import LEAST, MOST, PARTS, Mix, Parts, Scorer

SHRINK = 50.0  # rows


@dataclass(frozen=True, slots=True)
class Recipe:
    """What may be chosen. The defaults were chosen on training folds (docs/decisions/0061)."""

    least_rows: float = 1 / 600  # share of the rows that a term must occur in; never fewer than three
    term_penalty: float = 40.0
    domain_penalty: float = 1.0
    dense_penalty: float = 1_000.0
    token_scale: float = 8.0  # of token means beside marks of unit variance
    prior_rows: float = 40.0  # a domain's mean counts as this many rows of the whole table's
    neighbours: int = 300
    folds: int = 4
    parts: tuple[str, ...] = PARTS  # a trial leaves some out


@dataclass(frozen=True, slots=True)
class Table:
    """N prompts: as read, the domain of each, and each model's score (N, M) in [0, 1]."""

    rows: Read
    domain: np.ndarray
    score: np.ndarray
    models: tuple[str, ...]
    group: np.ndarray | None = None  # (N,): the table a row is from, where several were joined

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: np.ndarray) -> Table:
        group = None if self.group is None else self.group[rows]
        return Table(self.rows.take(rows), self.domain[rows], self.score[rows], self.models, group)


def fit(table: Table, recipe: Recipe | None = None, *, seed: int = 0) -> Scorer:
    """A scorer whose mix was fitted on out-of-fold predictions; `familiar` admits 95 % of those rows."""
    recipe = recipe or Recipe()
    unseen, alike = out_of_fold(table, recipe, seed=seed)
    return fitted(table, recipe, unseen, alike)


def fitted(table: Table, recipe: Recipe, unseen: np.ndarray, alike: np.ndarray) -> Scorer:
    """The scorer, from predictions that are there already."""
    mix = mixed(unseen, table.score, recipe)
    domains = tuple(sorted(set(table.domain.tolist())))
    offset = offsets(table, mix.chances(unseen), domains)
    return Scorer(
        table.models, domains, parts_of(table, recipe), mix, offset, float(np.quantile(alike, 0.05))
    )


def offsets(table: Table, chance: np.ndarray, domains: tuple[str, ...]) -> np.ndarray:
    """What the chances are off by in each domain's table (C, M), drawn to zero where rows are few."""
    group = table.group if table.group is not None else np.zeros(len(table), int)
    found = np.zeros((len(domains), len(table.models)), np.float32)
    for name in np.unique(group):
        rows = group == name
        off = (table.score[rows] - chance[rows]).sum(axis=0) / (rows.sum() + SHRINK)
        of = set(table.domain[rows].tolist())
        found[[i for i, domain in enumerate(domains) if domain in of]] = off
    return found


def unseen_chances(table: Table, recipe: Recipe, unseen: np.ndarray) -> np.ndarray:
    """Chances of the rows themselves (N, M) from predictions that hadn't seen them."""
    mix = mixed(unseen, table.score, recipe)
    chance = mix.chances(unseen)
    domains, which = np.unique(table.domain, return_inverse=True)
    return np.clip(chance + offsets(table, chance, tuple(domains.tolist()))[which], LEAST, MOST)


def out_of_fold(table: Table, recipe: Recipe, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Each part's prediction (N, 4, M) by parts that hadn't seen the row, and the likeness (N,) to rows they had seen."""
    order = np.random.default_rng(seed).permutation(len(table))
    found = np.empty((len(table), len(PARTS), len(table.models)), np.float32)
    alike = np.empty(len(table), np.float32)
    for held in np.array_split(order, recipe.folds):
        rest = np.setdiff1d(order, held)
        found[held], _, alike[held] = parts_of(table.take(rest), recipe).predict(table.rows.take(held))
    return found, alike


def mixed(parts: np.ndarray, score: np.ndarray, recipe: Recipe) -> Mix:
    """Weights ≥ 0 by least squares, what is common and what differs apart; a part left out of the recipe has none.

    Shapes: parts (N, 4, M), score (N, M).
    """
    centre, base = parts.mean(axis=0), score.mean(axis=0)
    moved, wanted = parts - centre, score - base
    shared, wanted_shared = moved.mean(axis=2, keepdims=True), wanted.mean(axis=1, keepdims=True)
    used = [i for i, name in enumerate(PARTS) if name in recipe.parts]
    common, apart = np.zeros(len(PARTS)), np.zeros(len(PARTS))
    common[used] = optimize.nnls(shared[:, used, 0], wanted_shared[:, 0])[0]
    if score.shape[1] > 1:
        sides = (moved - shared).transpose(0, 2, 1).reshape(-1, len(PARTS))
        apart[used] = optimize.nnls(sides[:, used], (wanted - wanted_shared).ravel())[0]
    return Mix(common.astype(np.float32), apart.astype(np.float32), base.astype(np.float32), centre)


def parts_of(table: Table, recipe: Recipe) -> Parts:
    """The four parts, fitted on all rows of a table."""
    least = max(3, round(recipe.least_rows * len(table)))
    matrix, slot, idf = term_matrix(table.rows.terms, least)
    mean = table.score.mean(axis=0)
    weight = ridge(matrix, table.score - mean, recipe.term_penalty)
    into, bias, prior = _domains(matrix, table, recipe)
    dense = np.concatenate([table.rows.means, table.rows.marks], axis=1)
    centre, scale = dense.mean(axis=0), dense.std(axis=0) + 1e-6
    width = table.rows.means.shape[1]
    scale[:width] = np.sqrt((scale[:width] ** 2).mean() * width) / recipe.token_scale
    plain = (dense - centre) / scale
    gram = plain.T @ plain + recipe.dense_penalty * np.eye(plain.shape[1])
    near = table.rows.means - centre[:width]
    near = near / np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-6)
    values = {
        "idf": idf, "term_weight": weight, "term_bias": mean, "domain_weight": into, "domain_bias": bias, "prior": prior,
        "centre": centre, "scale": scale, "dense_weight": np.linalg.solve(gram, plain.T @ (table.score - mean)),
        "near": near, "near_score": table.score, "mean": mean,
    }  # fmt: skip
    exact: dict[str, Any] = {name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}
    return Parts(slot=slot, neighbours=min(recipe.neighbours, max(1, len(table) // 5)), **exact)


def term_matrix(terms: list[np.ndarray], least_rows: int) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Rows of unit length over the terms that enough rows have (N, F), each term's column (TERMS,), and its weight (F,)."""
    seen = np.zeros(TERMS, np.int64)
    for row in terms:
        seen[row] += 1
    kept = np.flatnonzero(seen >= least_rows)
    slot = np.full(TERMS, -1, np.int32)
    slot[kept] = np.arange(len(kept))
    idf = (np.log((1 + len(terms)) / (1 + seen[kept])) + 1).astype(np.float32)
    columns = [slot[row][slot[row] >= 0] for row in terms]
    starts = np.concatenate([[0], np.cumsum([len(c) for c in columns])])
    flat = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    values = [idf[c] / max(float(np.sqrt((idf[c] ** 2).sum())), 1e-6) for c in columns]
    matrix = sparse.csr_matrix((np.concatenate(values), flat, starts), shape=(len(terms), len(kept)))
    return matrix, slot, idf


def ridge(matrix: sparse.csr_matrix, wanted: np.ndarray, penalty: float, steps: int = 15) -> np.ndarray:
    """(F, M) weights of min |Xw − y|² + penalty·|w|², all columns at once by conjugate gradients."""
    other = matrix.T.tocsr()
    weight = np.zeros((matrix.shape[1], wanted.shape[1]))
    left = other @ wanted.astype(np.float64)
    step, size = left.copy(), (left**2).sum(axis=0)
    first = size.copy()
    for _ in range(steps):
        if (size <= 1e-8 * first).all():
            break
        through = other @ (matrix @ step) + penalty * step
        length = size / np.maximum((step * through).sum(axis=0), 1e-30)
        weight += length * step
        left -= length * through
        new = (left**2).sum(axis=0)
        step = left + (new / np.maximum(size, 1e-30)) * step
        size = new
    return weight


def _domains(
    matrix: sparse.csr_matrix, table: Table, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A map from terms to domains (F, C) with its bias, and each domain's mean scores (C, M), drawn to the table's.

    The map keeps its full rank: through 40 directions instead of 57 APGR on held-back MMLU rows falls from 0.68 to 0.61.
    """
    names, which = np.unique(table.domain, return_inverse=True)
    member = np.eye(len(names))[which]
    bias, mean = member.mean(axis=0), table.score.mean(axis=0)
    weight = ridge(matrix, member - bias, recipe.domain_penalty, steps=8)
    rows = member.sum(axis=0)[:, None]
    prior = (member.T @ table.score + recipe.prior_rows * mean) / (rows + recipe.prior_rows)
    return weight, bias, prior
