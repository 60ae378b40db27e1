"""What competes in the sparse benchmark: one feed-forward layer, dense or of experts, in torch, ONNX Runtime and our kernels.

The gate is part of a sparse layer and of its time.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch.nn import functional as F

from bench.tools.turns import INPUTS, Contestant
from modelhub.hal.native import bank, build
from modelhub.ml.features import open_session
from modelhub.ml.graph import GraphBuilder
from modelhub.ml.moe import kernels
from modelhub.ml.moe.expert_graph import activation_nodes, expert_nodes, linear_nodes
from modelhub.ml.moe.gate import DynamicGate
from modelhub.ml.moe.gate_graph import CosineTerms, gate_nodes

ACTIVATION = "silu"
FORMS_UP_TO = {"tokens": 16, "dense": 64, "loop": 1024, "sorted": 4096, "columns": 4096, "grouped": 4096}


@dataclass(frozen=True, slots=True)
class Shape:
    """Experts, width, hidden width of one, and how many a token uses: k_min..k_max by the gate's mass."""

    name: str
    experts: int
    width: int
    hidden: int
    k_min: int
    k_max: int
    mass: float = 0.4
    spread: float = 1.0  # of the gate's logits: a trained gate is surer of itself than a fresh one


class Layers:
    """The weights of one shape, and what can be built of them. Inputs: INPUTS batches of `tokens` rows."""

    def __init__(self, shape: Shape, tokens: int, seed: int = 0) -> None:
        self.shape, self.tokens = shape, tokens
        rng = torch.Generator().manual_seed(seed)
        e, d, f = shape.experts, shape.width, shape.hidden
        self.w1 = torch.randn(e, f, d, generator=rng) * d**-0.5
        self.w2 = torch.randn(e, d, f, generator=rng) * f**-0.5
        self.x = [torch.randn(tokens, d, generator=rng) for _ in range(INPUTS)]
        self.arrays = [x.numpy() for x in self.x]
        self.gate = DynamicGate(d, e, k_min=shape.k_min, k_max=shape.k_max, mass=shape.mass)
        self.gate.scale.data.fill_(shape.spread * d**0.5)  # the cosine of random vectors has deviation d^-1/2

    def mean_chosen(self) -> float:
        return float(torch.cat([self.gate(x).chosen for x in self.x]).float().mean())

    def sparse_float(self) -> dict[str, Contestant]:
        """Every form in torch that suits the batch, and both float32 graphs."""
        width, hidden = self.shape.width, self.shape.hidden
        found: dict[str, Contestant] = {
            f"torch {form}": self._torch_sparse(form) for form, most in FORMS_UP_TO.items()
            if self.tokens <= most and (form != "grouped" or kernels.can_group("cpu", torch.float32, width, hidden))
        }  # fmt: skip
        graphs = {f"onnxruntime {form}": self._ort(self._sparse_graph(form)) for form in ("moe", "unrolled")}
        return found | graphs | self._native_sparse(eight_bits=False)

    def sparse_int8(self) -> dict[str, Contestant]:
        forms = ("qmoe", "unrolled_int8")
        graphs = {f"onnxruntime {form}": self._ort(self._sparse_graph(form)) for form in forms}
        return graphs | self._native_sparse(eight_bits=True)

    def dense_float(self, hidden: int | None = None) -> dict[str, Contestant]:
        """A plain layer of equal total parameters, or of the first `hidden` units."""
        up, down = self._dense_weights(hidden)
        layer: Contestant = lambda i: F.linear(F.silu(F.linear(self.x[i], up)), down)  # noqa: E731
        found = {"torch dense": layer, "onnxruntime dense": self._ort(self._dense_graph(hidden, "moe"))}
        return found | self._native_dense(hidden, eight_bits=False)

    def dense_int8(self) -> dict[str, Contestant]:
        """The plain layer in 8 bits: with a step per token, as ONNX Runtime's own quantiser does it, and by our kernels."""
        return {
            "onnxruntime dense MatMulInteger": self._ort(self._dense_graph(None, "unrolled_int8")),
            "onnxruntime dense dynamic int8": self._ort(self._dense_graph(None, "moe"), dynamic_int8=True),
        } | self._native_dense(None, eight_bits=True)

    def _native_sparse(self, *, eight_bits: bool) -> dict[str, Contestant]:
        """Gate and experts by our kernels; nothing where no compiler built them."""
        try:
            run = bank.ExpertBank(self.w1.numpy(), self.w2.numpy(), ACTIVATION, eight_bits=eight_bits)
        except build.NotBuilt:
            return {}
        terms, s = self._terms(), self.shape
        gate = bank.CosineGate(terms.keys, terms.scale, terms.bias, k_min=s.k_min, k_max=s.k_max, mass=s.mass)
        return {"native": lambda i: run(self.arrays[i], *gate(self.arrays[i]))}

    def _native_dense(self, hidden: int | None, *, eight_bits: bool) -> dict[str, Contestant]:
        """The plain layer as one expert that every token chooses."""
        up, down = (weight.numpy()[None] for weight in self._dense_weights(hidden))
        try:
            run = bank.ExpertBank(up, down, ACTIVATION, eight_bits=eight_bits)
        except build.NotBuilt:
            return {}
        whole, first = np.ones((self.tokens, 1), np.float32), np.zeros((self.tokens, 1), np.int64)
        return {"native dense": lambda i: run(self.arrays[i], whole, first)}

    def _torch_sparse(self, form: str) -> Contestant:
        def run(i: int) -> torch.Tensor:
            routing = self.gate(self.x[i])
            return kernels.moe_experts(
                self.x[i], routing.weights, routing.experts, self.w1, self.w2, ACTIVATION, form
            )

        return run

    def _dense_weights(self, hidden: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        d = self.shape.width
        up = self.w1.reshape(-1, d)[:hidden].contiguous()
        down = self.w2.permute(1, 0, 2).reshape(d, -1)[:, :hidden].contiguous()
        return up, down

    def _terms(self) -> CosineTerms:
        gate, s = self.gate, self.shape
        return CosineTerms(
            gate.keys.detach().numpy(), float(gate.scale.detach()), gate.selection_bias.numpy(),
            k_min=s.k_min, k_max=s.k_max, mass=s.mass,
        )  # fmt: skip

    def _sparse_graph(self, form: str) -> GraphBuilder:
        g, s = GraphBuilder("sparse"), self.shape
        x = g.input("x", "float", ["T", s.width])
        terms = self._terms()
        w1, w2 = self.w1.numpy(), self.w2.numpy()
        gate = gate_nodes(g, x, terms)
        y = expert_nodes(g, x, gate, w1, w2, form=form, k=s.k_max, activation=ACTIVATION, half=False)
        g.output("y", y, "float", ["T", s.width])
        return g

    def _dense_graph(self, hidden: int | None, form: str) -> GraphBuilder:
        g = GraphBuilder("dense")
        x = g.input("x", "float", ["T", self.shape.width])
        up, down = (weight.numpy() for weight in self._dense_weights(hidden))
        inner = activation_nodes(g, linear_nodes(g, x, up, form=form, half=False), ACTIVATION)
        g.output("y", linear_nodes(g, inner, down, form=form, half=False), "float", ["T", self.shape.width])
        return g

    def _ort(self, g: GraphBuilder, dynamic_int8: bool = False) -> Contestant:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "layer.onnx"
            g.save(path)
            if dynamic_int8:
                from modelhub.ml.quantize.ptq import quantise_dynamic

                quantise_dynamic(path, path.with_name("int8.onnx"))
                path = path.with_name("int8.onnx")
            session = open_session(path)
        return session_contestant(session, [{"x": x} for x in self.arrays])


def session_contestant(session: ort.InferenceSession, feeds: list[dict[str, np.ndarray]]) -> Contestant:
    """Answers with the last of the graph's outputs; all are computed."""
    return lambda i: session.run(None, feeds[i])[-1]
