"""The operator inside a model's graph: `ai.switchyard::BiasGate(logits, risk, tau) → (safe_logits, blocked)`.

It is a model-local ONNX function, so it travels in the same file as the weights and every runtime that reads functions
computes it. A row is let through only when every kind of risk is below its threshold; what can't be compared, NaN
included, is blocked. Blocked rows leave as −inf: whoever opens the session finds no answer in them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelhub.ml.graph import OPSET, GraphBuilder

DOMAIN, GATE = "ai.switchyard", "BiasGate"
SAFE, RISK, BLOCKED, TAU = "safe_logits", "risk", "blocked", "tau"


def answer_names(head: str, several: bool) -> tuple[str, str]:
    """The outputs with a head's gated logits and with what was blocked; in a file of several heads they carry its name."""
    return (f"{SAFE}:{head}", f"{BLOCKED}:{head}") if several else (SAFE, BLOCKED)


def gate_function() -> onnx.FunctionProto:
    """The function's definition. Shapes: logits (N, L), risk (N, K), tau (1, K) -> (N, L), (N, 1) of bool."""
    nodes = [
        helper.make_node("Less", ["risk", "tau"], ["below"]),
        helper.make_node("ReduceMin", ["below", "axis"], ["through"], keepdims=1),
        helper.make_node("Where", ["through", "logits", "nothing"], [SAFE]),
        helper.make_node("Not", ["through"], [BLOCKED]),
    ]
    axis = helper.make_node("Constant", [], ["axis"], value_ints=[1])
    nothing = helper.make_node("Constant", [], ["nothing"], value_float=float("-inf"))
    return helper.make_function(
        DOMAIN, GATE, ["logits", "risk", "tau"], [SAFE, BLOCKED], [axis, nothing, *nodes],
        [helper.make_opsetid("", OPSET)],
    )  # fmt: skip


class GatedBuilder(GraphBuilder):
    """A graph whose answers leave through the gate, and that can take in another finished graph.

    What is made while `scope` is set has a name that begins with it, so that a head can be told from the rest of a file.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._domains: dict[str, int] = {DOMAIN: 1}
        self.scope = ""

    def _fresh(self, stem: str) -> str:
        return self.scope + super()._fresh(stem)

    def gate(self, logits: str, risk: str, tau: str) -> tuple[str, str]:
        """Add the operator; gives the names of safe logits and blocked rows."""
        safe, blocked = self._fresh("safe"), self._fresh("stopped")
        self._nodes.append(helper.make_node(GATE, [logits, risk, tau], [safe, blocked], domain=DOMAIN))
        return safe, blocked

    def expose(self, name: str, value: str, kind: int, shape: list[int | str]) -> None:
        """Declare an output of any element type, by its number in TensorProto, made by the node that makes `value`."""
        made = next(node for node in reversed(self._nodes) if value in node.output)
        made.output[list(made.output).index(value)] = name
        for node in self._nodes:
            for place, used in enumerate(node.input):
                if used == value:
                    node.input[place] = name
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def keep(self, value: Any, name: str) -> str:
        """Hold an array under exactly this name, to be found again."""
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _scoped(self, output: str) -> str:
        stem, _, head = output.partition(":")
        return f"{head}/{stem}" if head else output

    def include(self, model: onnx.ModelProto, prefix: str, inputs: dict[str, str]) -> dict[str, str]:
        """Take in a finished graph, its names under a prefix. `inputs`: its input → our value; gives output → our value."""
        graph = model.graph
        renamed = {"": "", **inputs}

        def own(name: str) -> str:
            return renamed.setdefault(name, f"{prefix}/{name}")

        for tensor in graph.initializer:
            kept = onnx.TensorProto()
            kept.CopyFrom(tensor)
            kept.name = own(tensor.name)
            self._constants.append(kept)
        for node in graph.node:
            taken = onnx.NodeProto()
            taken.CopyFrom(node)
            taken.name = f"{prefix}/{node.name}" if node.name else ""
            for field in (taken.input, taken.output):
                names = [own(name) for name in field]
                del field[:]
                field.extend(names)
            self._nodes.append(taken)
        self._domains |= {entry.domain: entry.version for entry in model.opset_import if entry.domain}
        return {value.name: own(value.name) for value in graph.output}

    def model(self) -> onnx.ModelProto:
        """The finished model with the function in it, checked by ONNX; a node is called what its first output is called."""
        for node in self._nodes:
            node.name = node.name or self._scoped(node.output[0])
        made = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
        used = {node.domain for node in self._nodes if node.domain}
        imports = [helper.make_opsetid("", OPSET)]
        imports += [
            helper.make_opsetid(name, version)
            for name, version in sorted(self._domains.items())
            if name in used
        ]
        functions = [gate_function()] if DOMAIN in used else []
        model = helper.make_model(
            made, opset_imports=imports, functions=functions, producer_name="switchyard", ir_version=10
        )
        onnx.checker.check_model(model)
        return model


def read_tau(path: Path) -> np.ndarray:
    """The thresholds a graph holds, (K,) float32. Raises KeyError where it has none."""
    for tensor in onnx.load(str(path)).graph.initializer:
        if tensor.name == TAU:
            return numpy_helper.to_array(tensor).ravel()
    raise KeyError(f"{Path(path).name} holds no {TAU}")


def set_tau(path: Path, tau: np.ndarray) -> None:
    """Write other thresholds into a finished file, everything else left as it is, bit for bit."""
    model = onnx.load(str(path))
    found = [tensor for tensor in model.graph.initializer if tensor.name == TAU]
    if len(found) != 1:
        raise KeyError(f"{Path(path).name} holds {len(found)} tensors called {TAU}, expected one")
    found[0].CopyFrom(numpy_helper.from_array(np.asarray(tau, np.float32).reshape(1, -1), TAU))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(model.SerializeToString())
    os.replace(temporary, path)
