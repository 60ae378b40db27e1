"""What is inside an ONNX file, read without the onnx package: operators, outside data, quantised nodes.

The serving process opens files that others made, so it looks before ONNX Runtime does: data kept outside of the file
would let a graph read any file of this machine, and an operator of an unknown domain is better named than met.
Field numbers are those of onnx.proto3 (onnx 1.23); everything else in the file is stepped over.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# message → {field number: message it holds, or "" for a string we keep}
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node"},
    "Node": {4: "", 5: "Attribute", 7: ""},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {8: "", 13: "Outside"},
    "Outside": {},
}
KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
QUANTISED = frozenset(
    {
        "MatMulInteger", "DynamicQuantizeLinear", "QuantizeLinear", "QLinearMatMul", "QLinearConv", "ConvInteger",
        "QMoE", "QGemm", "QAttention", "MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QLinearAdd",
        "DynamicQuantizeLSTM", "GatherBlockQuantized", "QEmbedLayerNormalization",
    }
)  # fmt: skip


class NotAGraph(ValueError):
    """The bytes are no ONNX model."""


@dataclass(slots=True)
class GraphFacts:
    """Operators by (domain, name) with how often each occurs; names of tensors whose data lies elsewhere."""

    operators: Counter[tuple[str, str]] = field(default_factory=Counter)
    outside: list[str] = field(default_factory=list)

    @property
    def quantised(self) -> int:
        """Nodes that compute with whole numbers."""
        return sum(count for (_, name), count in self.operators.items() if name in QUANTISED)

    @property
    def foreign(self) -> list[str]:
        """Operators of domains that nobody here implements."""
        return sorted(f"{domain}:{name}" for domain, name in self.operators if domain not in KNOWN_DOMAINS)


def read_graph(path: Path) -> GraphFacts:
    """Walk a file. Raises NotAGraph for what is no protocol buffer of a model."""
    facts = GraphFacts()
    try:
        with Path(path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                _walk(view, "Model", facts)
            finally:
                view.release()
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise NotAGraph(f"{Path(path).name} is no ONNX model: {error}") from None
    if not facts.operators:
        raise NotAGraph(f"{Path(path).name} holds no graph")
    return facts


def _walk(data: memoryview, kind: str, facts: GraphFacts) -> None:
    inner = _FIELDS[kind]
    words: dict[int, str] = {}
    for number, value in _fields(data):
        if number not in inner or not isinstance(value, memoryview):
            continue
        if inner[number]:
            if kind == "Tensor":
                facts.outside.append(words.get(8, "a tensor"))
            else:
                _walk(value, inner[number], facts)
        elif len(value) <= 1024:  # names are short; what is longer is no name
            words[number] = bytes(value).decode("utf-8")
        value.release()
    if kind == "Node":
        facts.operators[(words.get(7, ""), words.get(4, ""))] += 1


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("a field is longer than the file")
            yield number, data[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is unknown")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
