"""What is inside an ONNX file, read without the onnx package: operators, outside data, quantised nodes.

The serving process opens files that others made, so it looks before ONNX Runtime does: data kept outside of the file
would let a graph read any file of this machine, and an operator of an unknown domain is better named than met.
Field numbers are those of onnx.proto3 (onnx 1.23); everything else in the file is stepped over.
"""

from __future__ import annotations

import hashlib
import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# message → {field number: message it holds, or "" for a string we keep}
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {1: "", 7: "Node", 10: ""},
    "Node": {4: "", 5: "Attribute", 7: ""},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {8: "", 13: "Outside"},
    "Outside": {},
}
KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
GATE_DOMAIN = (
    "ai.switchyard"  # its operator is a function that must lie in the file itself; `gates` checks it
)
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
    functions: set[tuple[str, str]] = field(default_factory=set)

    @property
    def quantised(self) -> int:
        """Nodes that compute with whole numbers."""
        return sum(count for (_, name), count in self.operators.items() if name in QUANTISED)

    @property
    def foreign(self) -> list[str]:
        """Operators of domains that nobody here implements."""
        return sorted(
            f"{domain}:{name}"
            for domain, name in self.operators
            if domain not in KNOWN_DOMAINS and (domain, name) not in self.functions
        )


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
    if kind == "Function" and words.get(10, "") == GATE_DOMAIN:
        facts.functions.add((words[10], words.get(1, "")))


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node of the main graph."""

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(slots=True)
class Structure:
    """How the main graph hangs together: nodes, names of outputs, constants by name, functions (domain, name) by digest."""

    nodes: list[NodeFacts] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    constants: dict[str, bytes] = field(default_factory=dict)
    functions: list[tuple[str, str, str]] = field(default_factory=list)


_SMALL = 256  # bytes of a constant that are kept: thresholds, not weights
_NAME_IN_GRAPH = {1: 3, 5: 8, 12: 1, 13: 1}  # field of a graph → the field of its message that holds the name


def read_structure(data: bytes) -> Structure:
    """Read the main graph. Raises NotAGraph for what is no protocol buffer of a model."""
    found = Structure()
    try:
        for number, value in _fields(memoryview(data)):
            if number == 7 and isinstance(value, memoryview):
                _read_main(value, found)
            elif number == 25 and isinstance(value, memoryview):
                words = _strings(value, (1, 10))
                digest = hashlib.sha256(value).hexdigest()
                found.functions.append(("".join(words[10]), "".join(words[1]), digest))
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise NotAGraph(f"it is no ONNX model: {error}") from None
    return found


def _read_main(graph: memoryview, found: Structure) -> None:
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            words = _strings(value, (1, 2, 3, 4, 7))
            one = {key: "".join(words[key]) for key in (3, 4, 7)}
            found.nodes.append(NodeFacts(one[4], one[7], one[3], tuple(words[1]), tuple(words[2])))
        elif number == 5:
            held = next(
                (v for n, v in _fields(value) if n == 9 and isinstance(v, memoryview)), memoryview(b"")
            )
            found.constants["".join(_strings(value, (8,))[8])] = bytes(held[:_SMALL])
        elif number == 12:
            found.outputs.append("".join(_strings(value, (1,))[1]))


def _strings(message: memoryview, wanted: tuple[int, ...]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {number: [] for number in wanted}
    for number, value in _fields(message):
        if number in found and isinstance(value, memoryview):
            found[number].append(bytes(value).decode("utf-8"))
    return found


_OUTPUT = 12  # field of a graph


def keep_part(
    data: bytes, wanted: Callable[[str], bool], leaves: Callable[[str], bool] | None = None
) -> bytes:
    """The same model without the nodes, constants and outputs whose names aren't wanted; `leaves` has its own say of outputs."""
    made = bytearray()
    for number, value in _fields(memoryview(data)):
        if number == 7 and isinstance(value, memoryview):
            inner = bytearray()
            for place, part in _fields(value):
                own = _NAME_IN_GRAPH.get(place)
                kept = leaves if place == _OUTPUT and leaves is not None else wanted
                if (
                    own is None
                    or not isinstance(part, memoryview)
                    or kept("".join(_strings(part, (own,))[own]))
                ):
                    inner += _field(place, part)
            made += _field(number, memoryview(bytes(inner)))
        else:
            made += _field(number, value)
    return bytes(made)


def _field(number: int, value: memoryview | int) -> bytes:
    if isinstance(value, int):
        return _as_varint(number << 3) + _as_varint(value)
    return _as_varint(number << 3 | 2) + _as_varint(len(value)) + bytes(value)


def _as_varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


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
