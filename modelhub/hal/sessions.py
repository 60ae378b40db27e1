"""Whole graphs on a device: opened by the backend's name, with the truth about where they run.

onnxruntime and numpy are all the model server needs; OpenVINO and onnx are loaded only when they are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.hal import threads
from modelhub.hal.device import CPU, best_device

ORT, OPENVINO, REFERENCE = "onnxruntime", "openvino", "onnx-reference"
PROVIDER_BACKENDS = ("migraphx", "cann", "ort-cuda", "tensorrt")
BACKENDS = (ORT, OPENVINO, *PROVIDER_BACKENDS, REFERENCE)
_TYPES = {"f32": "tensor(float)", "i64": "tensor(int64)", "i32": "tensor(int32)", "f16": "tensor(float16)"}


class NotPresent(LookupError):
    """The backend is known, but its runtime or device isn't here."""


class UnknownBackend(KeyError):
    """No backend of that name opens graphs."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph, as ONNX Runtime describes it."""

    name: str
    shape: tuple[int | str | None, ...]
    type: str


def providers_for(backend: str = ORT, dtype: str = "float32") -> list[Any]:
    """What to hand to `onnxruntime.InferenceSession(providers=…)`, the CPU last. Raises UnknownBackend, NotPresent.

    `onnxruntime` gives what really runs here, best first (CUDA where a session runs on it, else the CPU).
    """
    if backend == ORT:
        return list(best_device().providers)
    if backend not in PROVIDER_BACKENDS:
        raise UnknownBackend(
            f"{backend!r} is not an ONNX Runtime provider here: {ORT}, {', '.join(PROVIDER_BACKENDS)}"
        )
    from modelhub.hal.backends.ort_devices import backends, provider_options

    presence = next(each for each in backends() if each.name == backend).presence()
    if not presence.present:
        raise NotPresent(f"{backend}: {presence.detail}")
    name, words = provider_options(backend, dtype)
    return [(name, words), CPU]


def open_session(
    graph: Path | str | bytes, backend: str = ORT, *, dtype: str = "float32", thread_count: int | None = None
) -> Any:
    """An object with ONNX Runtime's `run`, `get_inputs`, `get_outputs`, `get_providers`, and `backend`, `runs_on` beside.

    Raises UnknownBackend, NotPresent, and what the runtime raises for a graph it doesn't take.
    """
    count = thread_count or threads.count()
    if backend == OPENVINO:
        return OpenVinoSession(graph, dtype, count)
    if backend == REFERENCE:
        return ReferenceSession(graph)
    if backend not in BACKENDS:
        raise UnknownBackend(f"no backend {backend!r}: {', '.join(BACKENDS)}")
    return OrtSession(graph, backend, dtype, count)


class OrtSession:
    """A session of ONNX Runtime; `nodes_on` counts nodes by the provider that really has them."""

    def __init__(self, graph: Path | str | bytes, backend: str, dtype: str, count: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = count, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        source = graph if isinstance(graph, bytes) else str(graph)
        self.backend = backend
        self.session = onnxruntime.InferenceSession(source, options, providers=providers_for(backend, dtype))
        self.run = self.session.run
        self.get_inputs, self.get_outputs = self.session.get_inputs, self.session.get_outputs
        self.get_providers = self.session.get_providers

    @property
    def nodes_on(self) -> dict[str, int]:
        """Provider → nodes. Empty where this ONNX Runtime doesn't tell (before 1.24)."""
        found: dict[str, int] = {}
        tell = getattr(self.session, "get_provider_graph_assignment_info", None)
        for part in tell() if tell else ():
            found[part.ep_name] = found.get(part.ep_name, 0) + len(part.get_nodes())
        return found

    @property
    def runs_on(self) -> str:
        """Where it runs, with the share of nodes that fell back to the CPU."""
        first, counts = self.get_providers()[0], self.nodes_on
        fallen = counts.get(CPU, 0) if first != CPU else 0
        return f"{first}, {fallen} of {sum(counts.values())} nodes on the CPU" if fallen else first


class OpenVinoSession:
    """The same calls on OpenVINO's CPU plugin. One request at a time; callers queue."""

    def __init__(self, graph: Path | str | bytes, dtype: str, count: int) -> None:
        try:
            import openvino  # noqa: F401
        except ImportError:
            raise NotPresent("openvino is not installed: pip install --no-deps openvino") from None
        from modelhub.hal.backends.openvino_cpu import compile_graph

        self.backend, self._lock = OPENVINO, threading.Lock()
        self._compiled = compile_graph(graph if isinstance(graph, bytes) else str(graph), dtype, count)
        self._request = self._compiled.create_infer_request()
        self._names = [port.get_any_name() for port in self._compiled.outputs]
        self._places = {name: i for i, port in enumerate(self._compiled.outputs) for name in port.get_names()}
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.runs_on = f"OpenVINO CPU, {used}"

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with self._lock:
            self._request.infer(dict(feeds), share_inputs=True)
            wanted = names or self._names
            return [self._request.get_output_tensor(self._places[n]).data.copy() for n in wanted]

    def get_providers(self) -> list[str]:
        return [self.runs_on]

    def get_inputs(self) -> list[Port]:
        return [_port(port) for port in self._compiled.inputs]

    def get_outputs(self) -> list[Port]:
        return [_port(port) for port in self._compiled.outputs]


def _port(port: Any) -> Port:
    shape = tuple(None if d.is_dynamic else d.get_length() for d in port.get_partial_shape())
    kind = port.get_element_type().get_type_name()
    return Port(port.get_any_name(), shape, _TYPES.get(kind, kind))


class ReferenceSession:
    """The same calls on the ONNX reference evaluator: slow, by the book."""

    def __init__(self, graph: Path | str | bytes) -> None:
        from onnx.reference import ReferenceEvaluator

        from modelhub.hal.graph_facts import read_graph

        model = read_graph(graph)
        self.backend = self.runs_on = REFERENCE
        self._evaluator = ReferenceEvaluator(model)
        self._ports = [
            [Port(p.name, (), "") for p in side] for side in (model.graph.input, model.graph.output)
        ]

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        found: Any = self._evaluator.run(list(names) if names else None, dict(feeds))
        return list(found)

    def get_providers(self) -> list[str]:
        return [self.runs_on]

    def get_inputs(self) -> list[Port]:
        return self._ports[0]

    def get_outputs(self) -> list[Port]:
        return self._ports[1]
