"""A card's measured capability profile from what the benchmark found: the planner's input, origin and date said."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

# Compute capability 9.0: one warpgroup instruction multiplies (64, 256, k), k by format (PTX ISA, wgmma).
UNITS = {
    "9.0": {"bfloat16": (64, 256, 16), "float16": (64, 256, 16), "tf32": (64, 256, 8), "int8": (64, 256, 32)}
}
PRODUCTS = ("float32", "tf32", "bfloat16", "float16", "int8")


def capability_profile(facts: dict[str, Any]) -> dict[str, Any] | None:
    """The profile as `modelhub.hal.profile` reads it, with `id` as the file's name; None where a ceiling is missing."""
    device = facts.get("device")
    rates = {name: round(facts[f"matmul_{name}"], 1) for name in PRODUCTS if facts.get(f"matmul_{name}")}
    if device is None or not facts.get("copy_gb_s") or "bfloat16" not in rates:
        return None
    major = float(device["capability"])
    return {
        "id": re.sub(r"[^a-z0-9]+", "-", device["name"].lower()).strip("-") + "-measured",
        "name": device["name"], "kind": "cuda", "cores": device["multiprocessors"],
        "isa": [f"sm_{device['capability'].replace('.', '')}"], "memory_bytes": device["memory_bytes"],
        "dtypes": list(rates), "providers": ["CUDAExecutionProvider", "TensorrtExecutionProvider"],
        "matrix_units": UNITS.get(device["capability"], {}), "tf32": major >= 8.0, "copy_gb_s": round(facts["copy_gb_s"], 1),
        "matmul_gflop_s": rates, "origin": "measured", "date": datetime.now(UTC).date().isoformat(),
        "source": (
            f"bench/gpu.py: copy of 4 GiB, products of side 8192, torch {device['torch']}, CUDA {device['cuda']}; "
            "8-bit products in GOP/s"
        ),
        "threads": 1,
    }  # fmt: skip
