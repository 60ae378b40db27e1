"""Two slow backends that are always there: the float64 answers, and ONNX's own evaluator of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from modelhub.hal import graphs
from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence, always


class NumpyReference:
    """numpy in double precision, rounded to float32 at the end."""

    name, device = "numpy", "cpu"

    def presence(self) -> Presence:
        return Presence(True, "numpy, float64 inside", np.__version__)

    def implementations(self) -> Sequence[Implementation]:
        return [
            Implementation(name, self.name, self.device, "float32", partial(_prepare, name), priority=-100)
            for name in OPERATORS
        ]


def _prepare(name: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims) -> Prepared:
    op = OPERATORS[name]

    def run(*activations: np.ndarray) -> Any:
        found = op.exact({**dict(zip(op.activations, activations, strict=True)), **constants}, attributes)
        rounded = tuple(a.astype(np.float32) if a.dtype == np.float64 else a for a in found)
        return rounded if op.outputs > 1 else rounded[0]

    return Prepared(run, extra_bytes=sum(array.nbytes for array in constants.values()))


class OnnxReference:
    """The ONNX reference evaluator: what a graph means, by the book, one node after the other."""

    name, device = "onnx-reference", "cpu"

    def presence(self) -> Presence:
        import onnx

        return Presence(True, f"onnx {onnx.__version__}", onnx.__version__)

    def implementations(self) -> Sequence[Implementation]:
        return [
            Implementation(
                name,
                self.name,
                self.device,
                "float32",
                partial(_evaluate, name),
                priority=-50,
                fits=_few_experts if name == "topk_gate" else always,
            )  # fmt: skip
            for name, forms in graphs.HAS.items()
            if "standard" in forms
        ]


def _few_experts(dims: Dims) -> bool:
    """Its GatherElements raises beyond 32 columns (onnx 1.23)."""
    return dims["E"] <= 32


def _evaluate(name: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims) -> Prepared:
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph = graphs.build(name, "standard", constants, attributes, dims)
    evaluator = ReferenceEvaluator(onnx.load_from_string(graph))
    inputs = OPERATORS[name].activations

    def run(*activations: np.ndarray) -> Any:
        found: Any = evaluator.run(None, dict(zip(inputs, activations, strict=True)))
        return tuple(found) if len(found) > 1 else found[0]

    return Prepared(run, extra_bytes=len(graph))


def backends() -> list[Backend]:
    return [NumpyReference(), OnnxReference()]
