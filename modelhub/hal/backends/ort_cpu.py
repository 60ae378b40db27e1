"""ONNX Runtime on the CPU: float32 with its fused operators, INT8 with dynamic activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from modelhub.hal import graphs, threads
from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence, always

# Which graph forms stand for an operator, besides INT8. SkipLayerNormalization is many times slower than Add and
# LayerNormalization on a CPU with ONNX Runtime 1.32, so both are offered and measured.
FLOAT_FORMS: dict[str, tuple[str, ...]] = {
    "matmul": ("standard",), "int8_matmul": ("steps",), "ffn_gelu": ("contrib",),
    "layernorm_residual": ("standard", "contrib"), "attention": ("contrib", "standard"),
    "moe_experts": ("contrib", "standard"), "topk_gate": ("standard",),
}  # fmt: skip
UNFUSED = ("ffn_gelu", "layernorm_residual", "attention")


class OnnxRuntime:
    """Sessions of the stock wheel on its CPU provider."""

    name, device = "onnxruntime", "cpu"

    def presence(self) -> Presence:
        try:
            import onnxruntime
        except ImportError as error:
            return Presence(False, f"onnxruntime is not installed: {error}")
        return Presence(True, f"onnxruntime {onnxruntime.__version__}", onnxruntime.__version__)

    def implementations(self) -> Sequence[Implementation]:
        found = []
        for name, forms in FLOAT_FORMS.items():
            for rank, form in enumerate(forms):
                found.append(
                    self._make(name, "float32", form, priority=30 - rank, variant=form if rank else "")
                )
        for name, forms in graphs.HAS.items():
            if "int8" in forms:
                fits = _blocks if name == "moe_experts" else always
                found.append(self._make(name, "int8", "int8", priority=40, fits=fits))
        found += [self._make(name, "float32", "steps", fused=False) for name in UNFUSED]
        return found

    def _make(self, name: str, dtype: str, form: str, **more: Any) -> Implementation:
        run = partial(_prepare, name, form, more.get("fused", True))
        return Implementation(name, self.name, self.device, dtype, run, **more)


def _blocks(dims: Dims) -> bool:
    """8-bit experts are held in blocks."""
    return dims["D"] % 16 == 0 and dims["F"] % 16 == 0


def options(optimise: bool = True) -> Any:
    """Session options: our number of threads, one operator at a time, optimisations on or off."""
    import onnxruntime

    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = threads.count()
    made.inter_op_num_threads = 1
    made.log_severity_level = 3
    if not optimise:
        made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return made


def session_operator(
    name: str, form: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims, *,
    optimise: bool = True, providers: Sequence[Any] = ("CPUExecutionProvider",),
) -> Prepared:  # fmt: skip
    """One operator as a session. Raises BackendFailed's cause as ONNX Runtime gives it."""
    import onnxruntime

    graph = graphs.build(name, form, constants, attributes, dims)
    session = onnxruntime.InferenceSession(graph, options(optimise), providers=list(providers))
    inputs, outputs = OPERATORS[name].activations, [o.name for o in session.get_outputs()]
    if len(outputs) == 1:

        def run(*activations: np.ndarray) -> Any:
            return session.run(outputs, dict(zip(inputs, activations, strict=True)))[0]
    else:

        def run(*activations: np.ndarray) -> Any:
            return tuple(session.run(outputs, dict(zip(inputs, activations, strict=True))))

    return Prepared(run, extra_bytes=len(graph))


def _prepare(
    name: str, form: str, optimise: bool, constants: Operands, attributes: Mapping[str, Any], dims: Dims
) -> Prepared:
    return session_operator(name, form, constants, attributes, dims, optimise=optimise)


def backends() -> list[Backend]:
    return [OnnxRuntime()]
