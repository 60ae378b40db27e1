"""The sparse gates of the models table: speed of experts against dense layers of equal total size.

python -m bench.tools.sparse → bench/results/sparse.json; with names of parts (a shape, models, flops) those are only printed.
One thread, pinned to one core; times are of the thread's own CPU,
so that neighbours cost cache and memory but no waiting. Operators are chosen in a trial of their own, then both sides'
choice is timed again, call by call in turn, in REPEATS rounds; a row is the median of the rounds' ratios, with their range.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

import torch

from bench.common import Results
from bench.tools import model_flops, sparse_models
from bench.tools.contestants import Layers, Shape
from bench.tools.turns import check_agreement, fastest, timed

TOKENS = (1, 64, 1024)
SHAPES = (
    Shape("e16_d512", 16, 512, 512, 2, 2),
    Shape("e16_d1024", 16, 1024, 1024, 2, 2),
    Shape("e200", 200, 256, 64, 4, 4),
)
VARYING = Shape("e16_d512_dynamic_k", 16, 512, 512, 2, 4, spread=1.3)  # about as sure as the trained gates
INT8_AT_LEAST = 5.0


def main() -> None:
    results, parts = Results("sparse"), set(sys.argv[1:])
    rows(results, parts)
    if not parts or "flops" in parts:  # in the models' benchmark a part of its own
        model_flops.rows(results)
    if not parts:
        results.write()


def rows(results: Results, parts: Collection[str] = ()) -> None:
    """All rows and controls of the sparse gates, into `results`; or of the named parts alone."""
    pin()
    with torch.no_grad():
        for shape in SHAPES:
            if not parts or shape.name in parts:
                for tokens in TOKENS:
                    speed_rows(results, shape, tokens)
        if not parts or VARYING.name in parts:
            speed_rows(results, VARYING, 64)
        if not parts or "models" in parts:
            sparse_models.rows(results)


def pin() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def at_least(shape: Shape, tokens: int) -> float:
    """The gate: 3 times, but twice at 64 tokens of 16 experts, where products are small."""
    return 2.0 if tokens == 64 and shape.experts == 16 else 3.0


def speed_rows(results: Results, shape: Shape, tokens: int) -> None:
    """One shape at one batch size: float32, 8 bits, across precisions, and the dense controls."""
    layers = Layers(shape, tokens)
    sides = {
        "sparse": layers.sparse_float(),
        "dense": layers.dense_float(),
        "active": layers.dense_float(round(layers.mean_chosen() * shape.hidden)),
        "sparse_int8": layers.sparse_int8(),
        "dense_int8": layers.dense_int8(),
    }
    for side in ("sparse", "dense", "active"):
        check_agreement(sides[side])
    best = {side: fastest(found) for side, found in sides.items()}
    rounds = timed({side: sides[side][best[side]] for side in sides})
    place = f"{shape.name}_t{tokens}"
    what = f"E={shape.experts} d={shape.width} f={shape.hidden} k={layers.mean_chosen():.2f}, {tokens} tokens, gate included"

    def add(metric: str, over: str, under: str, target: float | None = None, control: bool = False) -> None:
        ratios = [one[over] / one[under] for one in rounds]
        how = f"{what}: {best[over]} over {best[under]}, CPU time of one thread"
        results.add(f"{metric}_{place}", ratios, "×", how, at_least=target, control=control)

    add("moe_speedup", "dense", "sparse", at_least(shape, tokens))
    add("moe_speedup_int8", "dense_int8", "sparse_int8", INT8_AT_LEAST)
    add("moe_speedup_int8_vs_fp32", "dense", "sparse_int8", INT8_AT_LEAST)
    add("dense_active_speedup", "dense", "active", control=True)
    dense_ms = [1e3 * one["dense"] for one in rounds]
    results.add(f"dense_total_ms_{place}", dense_ms, "ms", f"{what}: {best['dense']}, float32", control=True)


if __name__ == "__main__":
    main()
