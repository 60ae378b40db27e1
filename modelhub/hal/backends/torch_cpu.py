"""torch on the CPU, eager: float32 and bfloat16, and the chains of single steps that fusion is measured against."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence

MOE_FORMS = ("sorted", "grouped", "tokens", "dense")
FEW_TOKENS = 16  # past this, running tokens one by one never wins, so it isn't tried
FUSED = ("ffn_gelu", "layernorm_residual", "attention")


class Torch:
    """torch's own kernels, without a compiler."""

    name, device = "torch", "cpu"

    def presence(self) -> Presence:
        if importlib.util.find_spec("torch") is None:
            return Presence(False, "torch is not installed")
        import torch

        return Presence(True, f"torch {torch.__version__}", torch.__version__)

    def implementations(self) -> Sequence[Implementation]:
        found = [
            self._make(name, dtype, priority=10 if dtype == "float32" else 5)
            for name in OPERATORS if name not in ("moe_experts", "int8_matmul", "topk_gate") for dtype in ("float32", "bfloat16")
        ]  # fmt: skip
        for rank, form in enumerate(MOE_FORMS):
            fits = partial(_moe_fits, form)
            for dtype, first in (("float32", 10), ("bfloat16", 5)):
                found.append(self._make("moe_experts", dtype, variant=form, fits=fits, priority=first - rank))
        # the gate is float32 in every model of ours
        found.append(self._make("topk_gate", "float32", priority=10))
        found += [self._make("int8_matmul", dtype, priority=10) for dtype in ("float32", "int8")]
        found += [self._make(name, "float32", fused=False) for name in FUSED]
        found.append(self._make("ffn_gelu", "float32", fused=False, variant="library"))
        return found

    def _make(self, name: str, dtype: str, **more: Any) -> Implementation:
        form = more.get("variant") or ("" if more.get("fused", True) else "steps")
        return Implementation(
            name, self.name, self.device, dtype, partial(_prepare, name, dtype, form), **more
        )


def _moe_fits(form: str, dims: Dims) -> bool:
    """Shapes a form is worth trying on: tokens one by one for a few, every expert on every token for a tiny bank."""
    if form == "tokens":
        return dims["T"] <= FEW_TOKENS
    if form == "dense":
        return dims["E"] * dims["F"] <= 2048 and dims["T"] <= 256
    if form == "grouped":
        return dims["D"] % 8 == 0 and dims["F"] % 8 == 0
    return True


def _prepare(
    name: str, dtype: str, form: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims
) -> Prepared:
    """Weights become tensors of the dtype once; activations are narrowed and the answer widened inside the call."""
    import torch

    from modelhub.hal.backends import torch_kernels

    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}[dtype]
    held = {k: _narrow(torch.from_numpy(np.ascontiguousarray(v)), kind, k) for k, v in constants.items()}
    step: Callable[..., Any] = torch_kernels.maker(name, form, dtype)(held, attributes, dims)

    def run(*activations: Any) -> Any:
        with torch.inference_mode():
            return step(*activations)

    def load(array: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array))

    def read(value: Any) -> Any:
        found = tuple(v.float().numpy() if v.is_floating_point() else v.numpy() for v in _tuple(value))
        return found if len(found) > 1 else found[0]

    return Prepared(run, load, read, extra_bytes=sum(v.nbytes for v in held.values()))


def _narrow(value: Any, kind: Any, name: str) -> Any:
    """Floating-point weights take the dtype; whole numbers, and the gate's bias, stay."""
    return value.to(kind) if value.is_floating_point() and name != "scale" else value


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def backends() -> list[Backend]:
    return [Torch()]
