"""Devices reached through an ONNX Runtime provider: AMD by MIGraphX, Ascend by CANN, NVIDIA by CUDA or TensorRT.

The same graphs, conformance and autotuning as on the CPU. A provider counts as present only when a session made with it
says that it runs there: ONNX Runtime also lists providers that cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from modelhub.hal.backends.ort_cpu import session_operator
from modelhub.hal.device import runs_on
from modelhub.hal.graphs import HAS
from modelhub.hal.operators import Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence


@dataclass(frozen=True, slots=True)
class Provider:
    """`options` by dtype: what the provider is told so that it computes in that precision."""

    name: str
    device: str
    provider: str
    package: str
    options: Mapping[str, Mapping[str, str]]


PROVIDERS = (
    # CDNA2 (MI250X) multiplies in float32 and float16/bfloat16 and has no TF32, so none is offered.
    Provider("migraphx", "rocm", "MIGraphXExecutionProvider", "onnxruntime-migraphx", {
        "float32": {"device_id": "0", "migraphx_fp16_enable": "0", "migraphx_int8_enable": "0"},
        "float16": {"device_id": "0", "migraphx_fp16_enable": "1"},
    }),
    # Ascend 910: the cube unit takes float16; float32 is kept by `force_fp32`, which leaves the cube for the vector unit.
    Provider("cann", "ascend", "CANNExecutionProvider", "onnxruntime-cann", {
        "float32": {"device_id": "0", "precision_mode": "force_fp32", "op_select_impl_mode": "high_precision"},
        "float16": {"device_id": "0", "precision_mode": "allow_fp32_to_fp16", "op_select_impl_mode": "high_precision"},
    }),
    Provider("ort-cuda", "cuda", "CUDAExecutionProvider", "onnxruntime-gpu", {
        "float32": {"device_id": "0", "use_tf32": "0"}, "tf32": {"device_id": "0", "use_tf32": "1"},
    }),
    Provider("tensorrt", "cuda", "TensorrtExecutionProvider", "onnxruntime-gpu and TensorRT", {
        "float32": {"device_id": "0", "trt_fp16_enable": "0"}, "float16": {"device_id": "0", "trt_fp16_enable": "1"},
    }),
)  # fmt: skip


class OrtDevice:
    """One provider. Nodes it doesn't take would fall back to the CPU: `hal certify` counts them."""

    def __init__(self, spec: Provider) -> None:
        self.spec, self.name, self.device = spec, spec.name, spec.device

    def presence(self) -> Presence:
        try:
            import onnxruntime
        except ImportError as error:
            return Presence(False, f"onnxruntime is not installed: {error}")
        if self.spec.provider not in onnxruntime.get_available_providers():
            return Presence(
                False, f"this onnxruntime has no {self.spec.provider}: it comes with {self.spec.package}"
            )
        if not _runs_on(self.spec.provider):
            return Presence(
                False, f"{self.spec.provider} is listed, but a session made with it does not run on it"
            )
        return Presence(
            True, f"onnxruntime {onnxruntime.__version__}, {self.spec.provider}", onnxruntime.__version__
        )

    def implementations(self) -> Sequence[Implementation]:
        return [
            Implementation(
                name, self.name, self.device, dtype, partial(_prepare, name, self.spec.provider, dict(words)), priority=60
            )
            for name, forms in HAS.items() if "standard" in forms
            for dtype, words in self.spec.options.items()
        ]  # fmt: skip


@lru_cache(maxsize=8)
def _runs_on(provider: str) -> bool:
    return runs_on(provider)


def _prepare(
    name: str,
    provider: str,
    words: Mapping[str, str],
    constants: Operands,
    attributes: Mapping[str, Any],
    dims: Dims,
) -> Prepared:
    providers = ((provider, dict(words)), "CPUExecutionProvider")
    return session_operator(name, "standard", constants, attributes, dims, providers=providers)


def provider_options(backend: str, dtype: str = "float32") -> tuple[str, dict[str, str]]:
    """(provider, options) of a backend of this file. Raises KeyError for another backend or a dtype it doesn't compute in."""
    spec = next((each for each in PROVIDERS if each.name == backend), None)
    if spec is None or dtype not in spec.options:
        known = ", ".join(f"{each.name} ({'/'.join(each.options)})" for each in PROVIDERS)
        raise KeyError(f"no provider for {backend!r} in {dtype}: known are {known}")
    return spec.provider, dict(spec.options[dtype])


def backends() -> list[Backend]:
    return [OrtDevice(spec) for spec in PROVIDERS]
