"""The wide channel: hashed one- and two-token counts with a linear map to labels, as strong as TF-IDF.

A text's n-grams are its word pieces and pairs of neighbours, hashed into `buckets`. Counts are damped
(1 + log count), weighted by inverse document frequency and scaled to length one, as TF-IDF does; a logistic
regression reads them. Everything after the tokenizer also exists as ONNX nodes, so that a served graph needs
nothing but token ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from modelhub.ml.graph import GraphBuilder

PRIME = 2_147_483_647
_FIRST, _SECOND, _ONE, _TWO = 1_000_003, 998_244_353, 12_345, 777_767_777


def hash_ngrams(ids: np.ndarray, buckets: int) -> np.ndarray:
    """Buckets of all single tokens, then of all neighbouring pairs. Shapes: (T,) int64 -> (2T - 1,) int64.

    Singles take the first quarter of the buckets and pairs the rest, so the two never share one.
    """
    quarter = buckets // 4
    single = (ids * _FIRST + _ONE) % PRIME % quarter
    pair = quarter + (ids[:-1] * _FIRST + ids[1:] * _SECOND + _TWO) % PRIME % (buckets - quarter)
    return np.concatenate([single, pair])


def count_matrix(rows: list[np.ndarray], buckets: int) -> sparse.csr_matrix:
    """Damped n-gram counts, one row a text. Shapes: N rows of ids -> (N, buckets) float32."""
    indptr, indices, data = [0], [], []
    for ids in rows:
        bucket, count = np.unique(hash_ngrams(ids, buckets), return_counts=True)
        indices.append(bucket)
        data.append(1.0 + np.log(count))
        indptr.append(indptr[-1] + len(bucket))
    flat = np.concatenate(data) if data else np.zeros(0)
    where = np.concatenate(indices) if indices else np.zeros(0, np.int64)
    return sparse.csr_matrix((flat.astype(np.float32), where, indptr), shape=(len(rows), buckets))


def inverse_frequency(counts: sparse.csr_matrix) -> np.ndarray:
    """Smoothed inverse document frequency of each bucket, as scikit-learn computes it. Gives (V,) float32."""
    seen = np.bincount(counts.indices, minlength=counts.shape[1])
    return (np.log((1 + counts.shape[0]) / (1 + seen)) + 1).astype(np.float32)


def weigh(counts: sparse.csr_matrix, idf: np.ndarray) -> sparse.csr_matrix:
    """Counts times idf, each row of length one."""
    weighted = counts @ sparse.diags(idf)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1))).ravel()
    return sparse.diags(1 / np.maximum(norms, 1e-12)) @ weighted


@dataclass(frozen=True, slots=True)
class WideTable:
    """A linear map from hashed n-grams to labels, with 8-bit weights for the buckets that training met.

    Shapes: row (V,) uint16, where a bucket's weights lie, 0 for none; idf (R,) float16; weight (R, L) int8;
    scale (L,) float32; bias (L,) float32. Row 0 is all zero.
    """

    row: np.ndarray
    idf: np.ndarray
    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray

    @property
    def buckets(self) -> int:
        return len(self.row)

    def logits(self, rows: list[np.ndarray]) -> np.ndarray:
        """What the graph computes, in numpy. Gives (N, L) float32."""
        features = weigh(compact(count_matrix(rows, self.buckets), self.row), self.idf.astype(np.float32))
        return np.asarray(features @ self.weight.astype(np.float32)) * self.scale + self.bias


@dataclass(frozen=True, slots=True)
class WideConfig:
    """Size and fit of a head's wide channel; `strength` is the regression's inverse regularisation, C."""

    buckets: int = 1 << 17
    least_texts: int = 1
    strength: float = 30.0


def choose_rows(counts: sparse.csr_matrix, least_texts: int) -> np.ndarray:
    """Number the buckets that at least so many texts hold, from 1; the rest get 0. Gives (V,) uint16."""
    seen = np.bincount(counts.indices, minlength=counts.shape[1])
    while (seen >= least_texts).sum() >= np.iinfo(np.uint16).max:
        least_texts += 1
    row = np.zeros(counts.shape[1], np.uint16)
    kept = np.flatnonzero(seen >= least_texts)
    row[kept] = np.arange(1, len(kept) + 1)
    return row


def compact(counts: sparse.csr_matrix, row: np.ndarray) -> sparse.csr_matrix:
    """Move counts from buckets to rows; what has no row goes to row 0. Shapes: (N, V) -> (N, R)."""
    shape = (counts.shape[0], int(row.max()) + 1)
    moved = sparse.csr_matrix((counts.data, row[counts.indices].astype(np.int64), counts.indptr), shape=shape)
    moved.sum_duplicates()
    return moved


def quantise(weight: np.ndarray, bias: np.ndarray, idf: np.ndarray, row: np.ndarray) -> WideTable:
    """Round a float table to 8 bits with one scale per label. Shapes: weight (R, L), bias (L,), idf (R,)."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-8) / 127
    rounded = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    return WideTable(row, idf.astype(np.float16), rounded, scale.astype(np.float32), bias.astype(np.float32))


def fit(rows: list[np.ndarray], labels: np.ndarray, n_labels: int, config: WideConfig) -> WideTable:
    """Fit the logistic regression and round it to 8 bits.

    A label that no row carries keeps zero weights and a bias under every other, so it is never chosen.
    """
    from sklearn.linear_model import LogisticRegression

    counts = count_matrix(rows, config.buckets)
    row = choose_rows(counts, config.least_texts)
    counts = compact(counts, row)
    idf = inverse_frequency(counts).astype(np.float16)
    idf[0] = 0
    features = weigh(counts, idf.astype(np.float32))
    model = LogisticRegression(C=config.strength, max_iter=500).fit(features.astype(np.float32), labels)
    weight = np.zeros((len(idf), n_labels), np.float32)
    bias = np.full(n_labels, float(model.intercept_.min()) - 10.0, np.float32)
    if len(model.classes_) == 2:
        negative, positive = model.classes_
        weight[:, positive], weight[:, negative] = model.coef_[0] / 2, -model.coef_[0] / 2
        bias[positive], bias[negative] = model.intercept_[0] / 2, -model.intercept_[0] / 2
    else:
        weight[:, model.classes_] = model.coef_.T
        bias[model.classes_] = model.intercept_
    weight[0] = 0
    return quantise(weight, bias, idf, row)


def write_nodes(g: GraphBuilder, table: WideTable, ids: str, mask: str) -> str:
    """Add the channel to a graph. Shapes: ids, mask (B, T) int64 -> logits (B, L) float."""
    single, pair, pair_mask = _hash_nodes(g, ids, mask, table.buckets)
    rows_of = g.const(table.row, "row")
    rows = [g.op("Cast", g.op("Gather", rows_of, hashed), to=7) for hashed in (single, pair)]
    parts = [_weights_of(g, table, *three) for three in ((single, rows[0], mask), (pair, rows[1], pair_mask))]
    where = g.op("Concat", *rows, axis=1)
    weights = g.op("Concat", *(weight for weight, _ in parts), axis=1)
    squares = g.op("Add", *(square for _, square in parts))
    norm = g.op("Max", g.op("Sqrt", squares), g.const(np.float32(1e-12)))
    found = g.op("Cast", g.op("Gather", g.const(table.weight, "wide_weight"), where), to=1)
    mixed = g.op("MatMul", g.op("Unsqueeze", g.op("Div", weights, norm), g.const(np.array([1]))), found)
    flat = g.op("Squeeze", mixed, g.const(np.array([1])))
    return g.op(
        "Add", g.op("Mul", flat, g.const(table.scale, "wide_scale")), g.const(table.bias, "wide_bias")
    )


def _hash_nodes(g: GraphBuilder, ids: str, mask: str, buckets: int) -> tuple[str, str, str]:
    first, second = (g.op("Mul", ids, g.const(np.array(factor))) for factor in (_FIRST, _SECOND))
    zero, one, last, far = (g.const(np.array([value])) for value in (0, 1, -1, 2**31))
    axis = g.const(np.array([1]))
    following = g.op("Slice", second, one, far, axis)
    leading = g.op("Slice", first, zero, last, axis)
    quarter = buckets // 4
    sums = [(first, _ONE, None, 0, quarter), (leading, _TWO, following, quarter, buckets - quarter)]
    hashed = []
    for start, offset, other, base, room in sums:
        value = g.op("Add", start, g.const(np.array(offset)))
        value = g.op("Add", value, other) if other else value
        value = g.op("Mod", value, g.const(np.array(PRIME)))
        value = g.op("Mod", value, g.const(np.array(room)))
        hashed.append(g.op("Add", value, g.const(np.array(base))))
    return hashed[0], hashed[1], g.op("Slice", mask, one, far, axis)


def _weights_of(g: GraphBuilder, table: WideTable, hashed: str, row: str, mask: str) -> tuple[str, str]:
    """Each position's share of its bucket's weight, and the sum of squared weights over distinct buckets.

    A bucket met c times weighs (1 + log c)·idf in all, so each of its positions carries that over c.
    """
    masked = g.op("Where", g.op("Cast", mask, to=9), hashed, g.const(np.array(-1)))
    same = g.op(
        "Equal",
        g.op("Unsqueeze", masked, g.const(np.array([2]))),
        g.op("Unsqueeze", masked, g.const(np.array([1]))),
    )
    count = g.op("ReduceSum", g.op("Cast", same, to=1), g.const(np.array([2])), keepdims=0)
    idf = g.op("Cast", g.op("Gather", g.const(table.idf, "idf"), row), to=1)
    damped = g.op("Add", g.op("Log", count), g.const(np.float32(1)))
    whole = g.op("Mul", g.op("Mul", damped, idf), g.op("Cast", mask, to=1))
    share = g.op("Div", whole, count)
    square = g.op("ReduceSum", g.op("Mul", whole, share), g.const(np.array([1])), keepdims=1)
    return share, square
