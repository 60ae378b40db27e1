"""Experts by our own C kernels: float32, and 8 bits with whole-number products where the processor has them.

One call does what a graph spreads over two dozen nodes, reads the weights of chosen experts only, each once, and rounds an
activation once a token. One thread a call. Not present without a C compiler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from modelhub.hal.native import bank, build
from modelhub.hal.operators import Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence


class Native:
    """The library that `modelhub/hal/native` builds."""

    name, device = "native", "cpu"

    def presence(self) -> Presence:
        try:
            build.library()
        except (build.NotBuilt, OSError) as error:
            return Presence(False, str(error))
        version = build.library_path(build.SOURCE.parent).stem.partition("-")[2]
        return Presence(True, f"our own kernels, built here ({version})", version)

    def implementations(self) -> Sequence[Implementation]:
        return [
            Implementation(
                "moe_experts", self.name, self.device, dtype, partial(_prepare, dtype), priority=first
            )
            for dtype, first in (("float32", 35), ("int8", 45))
        ]


def _prepare(dtype: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims) -> Prepared:
    run = bank.ExpertBank(
        constants["w1"], constants["w2"], attributes["activation"], eight_bits=dtype == "int8"
    )
    return Prepared(run, extra_bytes=run.nbytes)


def backends() -> list[Backend]:
    return [Native()]
