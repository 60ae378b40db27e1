"""This machine's library, ready to choose: registry, profile and autotuner in one, and the shapes worth tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelhub.hal import ceilings, registry, threads
from modelhub.hal.autotune import Autotuner
from modelhub.hal.operators import OPERATORS
from modelhub.hal.profile import CapabilityProfile
from modelhub.hal.registry import Registry
from modelhub.hal.tune_cache import TuneCache

TOKENS = (1, 64, 1024)
# The shapes of the models that ship: the text trunk (384, 1536), the gating networks (E=32, f=128) and MODELS' E=16.
SHAPES: Mapping[str, tuple[Mapping[str, int], ...]] = {
    "matmul": ({"K": 384, "N": 384},), "ffn_gelu": ({"D": 384, "F": 1536},), "layernorm_residual": ({"D": 384},),
    "attention": ({"B": 1, "H": 12, "Dh": 32},),
    "moe_experts": ({"D": 384, "E": 32, "F": 128, "K": 4}, {"D": 512, "E": 16, "F": 512, "K": 3}),
    "topk_gate": ({"E": 32},), "int8_matmul": ({"K": 384, "N": 384},),
}  # fmt: skip
LONGEST = 256  # tokens of one text; attention is tuned up to here


@dataclass(frozen=True, slots=True)
class Library:
    registry: Registry
    profile: CapabilityProfile
    tuner: Autotuner


def library(home: Path | None = None) -> Library:
    """Loads every runtime that is here, on one inference's number of threads: for processes that compute."""
    held = registry.load()
    if held.presences.get("torch") and held.presences["torch"].present:
        import torch

        torch.set_num_threads(threads.count())
    profile = ceilings.this_cpu(home, threads.count())
    return Library(held, profile, Autotuner(held, profile, TuneCache.for_device(profile, home)))


def shapes(operator: str) -> Iterator[dict[str, int]]:
    """Dimensions worth tuning for an operator."""
    op = OPERATORS[operator]
    for shape in SHAPES[operator]:
        for tokens in TOKENS:
            place = "S" if operator == "attention" else op.batch[0]
            size = min(tokens, LONGEST) if operator == "attention" else tokens
            yield {**op.dims, **shape, place: size}


def backend_rows(held: Registry) -> Iterator[dict[str, Any]]:
    """What `tune_cache.keep_backends` keeps of a registry."""
    for name, device, presence in held.rows():
        count = sum(each.backend == name for each in held.implementations)
        yield {
            "name": name, "device": device, "present": presence.present, "detail": presence.detail,
            "version": presence.version, "implementations": count,
        }  # fmt: skip
