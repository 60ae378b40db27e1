"""The wide channel as few nodes, for a student whose whole answer takes as long as a few dozen of them.

The same values as `wide.write_nodes`, by three short cuts. A single token's bucket depends on the token alone, so its
row is looked up by token id. Two n-grams of one row are the same n-gram (row 0 aside, which weighs nothing), so counts
are taken over rows. And what is filling gets row 0, which needs no mask afterwards.
"""

from __future__ import annotations

import numpy as np

from modelhub.ml.text import wide
from modelhub.ml.text.gate_graph import GatedBuilder
from modelhub.ml.text.student import VOCABULARY

FIRST, SECOND, OFFSET = wide._FIRST, wide._SECOND, wide._TWO


def wide_nodes(g: GatedBuilder, prefix: str, table: wide.WideTable, ids: str, mask: str) -> str:
    """Add the channel under names that begin with `prefix`. Shapes: ids, mask (N, T) int64 -> logits (N, L) float.

    Raises ValueError for a table whose row 0 weighs something.
    """
    if table.idf[0] != 0:
        raise ValueError(
            f"row 0 of a wide table stands for unknown n-grams and must weigh nothing, got {table.idf[0]}"
        )
    rows = _rows(g, prefix, table, ids, mask)
    across, down = (g.op("Unsqueeze", rows, g.const(np.array([place]))) for place in (2, 1))
    count = g.op(
        "ReduceSum", g.op("Cast", g.op("Equal", across, down), to=1), g.const(np.array([2])), keepdims=0
    )
    idf = g.op("Gather", g.op("Cast", g.keep(table.idf, prefix + "idf"), to=1), rows)
    whole = g.op("Mul", g.op("Add", g.op("Log", count), g.const(np.float32(1))), idf)
    share = g.op("Div", whole, count)
    square = g.op("ReduceSum", g.op("Mul", whole, share), g.const(np.array([1])), keepdims=1)
    weights = g.op("Div", share, g.op("Max", g.op("Sqrt", square), g.const(np.float32(1e-12))))
    found = g.op("Cast", g.op("Gather", g.keep(table.weight, prefix + "weight"), rows), to=1)
    mixed = g.op("MatMul", g.op("Unsqueeze", weights, g.const(np.array([1]))), found)
    flat = g.op("Squeeze", mixed, g.const(np.array([1])))
    scaled = g.op("Mul", flat, g.keep(table.scale, prefix + "scale"))
    return g.op("Add", scaled, g.keep(table.bias, prefix + "bias"))


def _rows(g: GatedBuilder, prefix: str, table: wide.WideTable, ids: str, mask: str) -> str:
    """Rows of all tokens, then of all neighbouring pairs; filling has row 0. Gives (N, 2T - 1) int64."""
    quarter = table.buckets // 4
    single = table.row[wide.hash_ngrams(np.arange(VOCABULARY), table.buckets)[:VOCABULARY]]
    zero, one, last, far, axis = (g.const(np.array([value])) for value in (0, 1, -1, 2**31, 1))
    leading, following = g.op("Slice", ids, zero, last, axis), g.op("Slice", ids, one, far, axis)
    parts = [
        g.op("Mul", part, g.const(np.array(factor)))
        for part, factor in ((leading, FIRST), (following, SECOND))
    ]
    summed = g.op("Add", g.op("Add", *parts), g.const(np.array(OFFSET)))
    hashed = g.op(
        "Mod", g.op("Mod", summed, g.const(np.array(wide.PRIME))), g.const(np.array(table.buckets - quarter))
    )
    of_single = g.op("Cast", g.keep(single, prefix + "single"), to=7)
    of_pair = g.op("Cast", g.keep(table.row[quarter:], prefix + "pair"), to=7)
    rows = g.op("Concat", g.op("Gather", of_single, ids), g.op("Gather", of_pair, hashed), axis=1)
    return g.op("Mul", rows, g.op("Concat", mask, g.op("Slice", mask, one, far, axis), axis=1))


def read_table(held: dict[str, np.ndarray]) -> wide.WideTable:
    """The table again from what `wide_nodes` kept. Buckets that no token id falls into are forgotten: none can occur."""
    quarter = len(held["pair"]) // 3
    row = np.zeros(4 * quarter, np.uint16)
    row[quarter:] = held["pair"]
    row[wide.hash_ngrams(np.arange(VOCABULARY), len(row))[:VOCABULARY]] = held["single"]
    return wide.WideTable(row, *(held[field] for field in ("idf", "weight", "scale", "bias")))
