"""OpenVINO on the CPU (extra `openvino`): float32, bfloat16 where the processor multiplies in it, INT8 weights.

Left to itself it quantises the activations of whole-number weights, whatever precision was hinted: that is offered as what
it is, INT8, and switched off where float32 was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from modelhub.hal import graphs, threads
from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
INT8_GROUP = "32"  # activations that share one scale


@lru_cache(maxsize=1)
def core() -> Any:
    import openvino

    return openvino.Core()


class OpenVino:
    """One precision of OpenVINO's CPU plugin. bfloat16 without instructions of its own would silently run in float32."""

    device = "cpu"

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.name = "openvino" if dtype == "float32" else f"openvino-{PRECISIONS[dtype]}"

    def presence(self) -> Presence:
        try:
            import openvino
        except ImportError:
            return Presence(False, "openvino is not installed: pip install --no-deps openvino")
        if self.dtype == "bfloat16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return Presence(False, "the processor has no bfloat16 products (AVX-512 BF16 or AMX)")
        return Presence(True, f"OpenVINO {openvino.__version__.partition('-')[0]}", openvino.__version__)

    def implementations(self) -> Sequence[Implementation]:
        found = [
            Implementation(
                name, self.name, self.device, self.dtype, partial(_prepare, name, self.dtype), priority=20
            )
            for name, forms in graphs.HAS.items()
            if "standard" in forms
        ]
        if self.dtype == "float32":
            run = partial(_prepare, "int8_matmul", "int8")
            found.append(Implementation("int8_matmul", self.name, self.device, "int8", run, priority=25))
        return found


def compile_graph(graph: bytes | str, dtype: str = "float32", thread_count: int | None = None) -> Any:
    """A compiled model for one caller at a time; `graph`: serialised ONNX, or its path."""
    model = core().read_model(graph)
    settings = {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(thread_count or threads.count()),
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if dtype == "int8" else "0",
    }  # fmt: skip
    return core().compile_model(model, "CPU", settings)


def _prepare(
    name: str, dtype: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims
) -> Prepared:
    graph = graphs.build(name, "standard", constants, attributes, dims)
    request = compile_graph(graph, dtype).create_infer_request()
    inputs, count = OPERATORS[name].activations, OPERATORS[name].outputs

    def run(*activations: np.ndarray) -> Any:
        request.infer(dict(zip(inputs, activations, strict=True)), share_inputs=True)
        found = tuple(request.get_output_tensor(i).data.copy() for i in range(count))
        return found if count > 1 else found[0]

    return Prepared(run, extra_bytes=len(graph))


def backends() -> list[Backend]:
    return [OpenVino("float32"), OpenVino("bfloat16")]
