"""What a graph asks of a runtime, read before anything is opened; graphs that may not be opened are refused here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
MAX_BYTES = 2 * 1024**3  # a protobuf cannot be larger; weights beside it are refused


class GraphRefused(ValueError):
    """The graph is not ONNX, names operators nobody knows, or wants files beside it."""


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """`operators`: (domain, type) → nodes, those of inner graphs too; `contrib`: beyond the standard; `weight_bytes`."""

    operators: dict[tuple[str, str], int]
    contrib: tuple[str, ...]
    opset: int
    weight_bytes: int


def read_graph(graph: Path | str | bytes) -> Any:
    """The parsed graph, weights included. Raises GraphRefused for what isn't ONNX; never reads a file beside it."""
    import onnx

    if not isinstance(graph, bytes):
        path = Path(graph)
        if path.stat().st_size > MAX_BYTES:
            raise GraphRefused(
                f"{path.name} has {path.stat().st_size:,} bytes, more than a graph can hold: {MAX_BYTES:,}"
            )
        graph = path.read_bytes()
    try:
        model = onnx.load_model_from_string(graph)
    except Exception as error:  # protobuf's own error class depends on its build
        raise GraphRefused(f"not an ONNX graph: {error}") from error
    if not model.graph.node:
        raise GraphRefused("not an ONNX graph: it has no nodes")
    return model


def inspect(graph: Path | str | bytes) -> GraphFacts:
    """Facts of a graph that may be opened. Raises GraphRefused for external data and for operators nobody knows."""
    import onnx

    model = read_graph(graph)
    found: Counter[tuple[str, str]] = Counter()
    local = {(f.domain, f.name) for f in model.functions}
    weight_bytes = 0
    for inner in _graphs(model.graph):
        for tensor in inner.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise GraphRefused(
                    f"weight {tensor.name!r} lies in another file; a graph must hold its weights: "
                    "save it without external data"
                )
            weight_bytes += tensor.ByteSize()
        found.update((node.domain, node.op_type) for node in inner.node)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    unknown = sorted(
        f"{d or 'ai.onnx'}.{t}" for d, t in found if (d, t) not in local and not _known(d, t, opsets)
    )
    if unknown:
        raise GraphRefused(f"nobody here knows the operators {', '.join(unknown)}: export without them")
    contrib = tuple(sorted(t for d, t in found if d == "com.microsoft"))
    return GraphFacts(dict(found), contrib, opsets.get("", opsets.get("ai.onnx", 0)), weight_bytes)


def _graphs(graph: Any) -> list[Any]:
    """A graph and those inside its nodes (branches, loop bodies)."""
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _graphs(attribute.g)
            for inner in attribute.graphs:
                found += _graphs(inner)
    return found


def _known(domain: str, kind: str, opsets: dict[str, int]) -> bool:
    import onnx

    if domain not in DOMAINS:
        return False
    if domain == "com.microsoft":
        return kind in contrib_operators()
    if domain == "ai.onnx":
        domain = ""
    try:
        onnx.defs.get_schema(kind, opsets.get(domain, opsets.get("ai.onnx", 1)), domain)
    except onnx.defs.SchemaError:
        return False
    return True


def contrib_operators() -> frozenset[str]:
    """Operators that ONNX Runtime adds; asked of the runtime where it tells, else those our graphs use."""
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        return frozenset(s.name for s in state.get_all_operator_schema() if s.domain == "com.microsoft")
    except (ImportError, AttributeError):
        return frozenset(
            {
                "MoE",
                "QMoE",
                "BiasGelu",
                "DynamicQuantizeMatMul",
                "SkipLayerNormalization",
                "MultiHeadAttention",
            }
        )
