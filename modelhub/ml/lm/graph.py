"""The language model as a graph that many conversations share: rows of a batch are at different places.

A row's cache is a fixed width of slots of which the first `lengths` are filled, so that rows join and leave a batch
between steps without their caches being moved; only the new slots come out. Queries meet cached and new keys
separately, so the cache is read and never copied. Experts run as ONNX Runtime's `com.microsoft.MoE`; a backend that
lacks the operator is given the unrolled graph of `modelhub.ml.lm.export`.

Shapes: B rows, S new tokens (padded on the right), P slots of cache, N = B·S, H heads, D width, C latent, R rotary,
W = C+R, E experts, k chosen, V vocabulary.
Inputs:  ids (B, S), lengths (B) slots filled, counts (B) real new tokens, past.0 … (B, P, W) float32.
Outputs: logits (B, V) after each row's last real token, fresh.0 … (B, S, W), expert_counts (B, sparse layers, E).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from modelhub.ml.graph import CONTRIB, GraphBuilder
from modelhub.ml.lm.config import LmConfig
from modelhub.ml.lm.model import TinyDeepseek

HIDDEN = np.float32(
    -1e30
)  # added to scores that must not be seen; finite, so that a row of pads gives no NaN
UNCHOSEN = np.float32(-1e9)  # a router logit whose softmax is exactly zero in float32


class _Rows:
    """Names that every layer shares: the angles of this step and what may be seen."""

    def __init__(self, g: LmGraph, cfg: LmConfig) -> None:
        zero, one = g.ints(0), g.ints(1)
        shape = g.op("Shape", "ids")
        self.batch, self.steps = g.op("Gather", shape, g.scalar(0)), g.op("Gather", shape, g.scalar(1))
        steps = g.op("Range", g.scalar(0), self.steps, g.scalar(1))
        positions = g.op("Add", g.op("Unsqueeze", "lengths", one), g.op("Unsqueeze", steps, zero))
        half = cfg.qk_rope_head_dim // 2
        exponents = np.arange(0, cfg.qk_rope_head_dim, 2, dtype=np.float32) / cfg.qk_rope_head_dim
        frequencies = g.const((cfg.rope_theta**-exponents).astype(np.float32), "inv_freq")
        flat = g.op("Reshape", g.op("Cast", positions, to=onnx.TensorProto.FLOAT), g.ints(-1, 1))
        angles = g.op("Mul", flat, frequencies)  # (N, R/2)
        self.cos, self.sin = g.op("Cos", angles), g.op("Sin", angles)
        shaped = g.op("Concat", g.op("Unsqueeze", self.batch, zero), one, g.op("Unsqueeze", self.steps, zero),
                      g.ints(half), axis=0)  # fmt: skip
        self.cos_rows, self.sin_rows = g.op("Reshape", self.cos, shaped), g.op("Reshape", self.sin, shaped)
        slots = g.op("Gather", g.op("Shape", "past.0"), g.scalar(1))
        places = g.op("Range", g.scalar(0), slots, g.scalar(1))
        filled = g.op("Less", g.op("Unsqueeze", places, zero), g.op("Unsqueeze", "lengths", one))
        seen = g.op("Where", filled, g.const(np.float32(0)), g.const(HIDDEN))
        self.past_mask = g.op("Unsqueeze", seen, one)  # (B, 1, P)
        later = g.op("Greater", g.op("Unsqueeze", steps, zero), g.op("Unsqueeze", steps, one))
        self.causal = g.op("Where", later, g.const(HIDDEN), g.const(np.float32(0)))  # (S, S)
        self.slots = g.op("Unsqueeze", slots, zero)
        self.step_axis, self.batch_axis = (
            g.op("Unsqueeze", self.steps, zero),
            g.op("Unsqueeze", self.batch, zero),
        )
        real = g.op("Less", g.op("Unsqueeze", steps, zero), g.op("Unsqueeze", "counts", one))
        self.real = g.op("Cast", real, to=onnx.TensorProto.FLOAT)  # (B, S)


class LmGraph(GraphBuilder):
    """Builds the graph of a model's weights, each initialiser under its parameter's own name."""

    def __init__(self, model: TinyDeepseek) -> None:
        super().__init__("lm")
        self.cfg = model.cfg
        self._weights = {name: value.float().numpy() for name, value in model.state_dict().items()}
        self._held: set[str] = set()
        self.width = self.cfg.kv_lora_rank + self.cfg.qk_rope_head_dim

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        return self.const(np.array(value, np.int64))

    def weight(self, name: str) -> str:
        """A parameter as an initialiser, held once."""
        if name not in self._held:
            self._held.add(name)
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(self._weights[name]), name))
        return name

    def linear(self, x: str, name: str) -> str:
        """x (N, in) times a weight (out, in)."""
        return self.op("Gemm", x, self.weight(name), transB=1)

    def norm(self, x: str, name: str) -> str:
        """Root mean square norm, written so that ONNX Runtime knows it and fuses it."""
        square = self.op("Pow", x, self.const(np.float32(2)))
        mean = self.op("ReduceMean", square, self.ints(-1), keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.const(np.float32(self.cfg.rms_norm_eps))))
        return self.op("Mul", self.op("Div", x, root), self.weight(name))

    def rotate(self, x: str, cos: str, sin: str) -> str:
        """Interleaved pairs turned by their angles, halves side by side, as the torch model does."""
        last = self.ints(-1)
        most = self.ints(np.iinfo(np.int64).max)
        even = self.op("Slice", x, self.ints(0), most, last, self.ints(2))
        odd = self.op("Slice", x, self.ints(1), most, last, self.ints(2))
        left = self.op("Sub", self.op("Mul", even, cos), self.op("Mul", odd, sin))
        right = self.op("Add", self.op("Mul", odd, cos), self.op("Mul", even, sin))
        return self.op("Concat", left, right, axis=-1)

    # ------------------------------------------------------------------ layers
    def attention(self, x: str, index: int, rows: _Rows) -> str:
        """x (N, D) → (N, D); declares `fresh.<index>`."""
        cfg, prefix = self.cfg, f"model.layers.{index}.self_attn"
        heads, nope, rope = cfg.num_attention_heads, cfg.qk_nope_head_dim, cfg.qk_rope_head_dim
        value, latent = cfg.v_head_dim, cfg.kv_lora_rank
        low = self.norm(self.linear(x, f"{prefix}.q_a_proj.weight"), f"{prefix}.q_a_layernorm.weight")
        q = self.linear(low, f"{prefix}.q_b_proj.weight")
        by_head = self.op("Concat", rows.batch_axis, rows.step_axis, self.ints(heads, nope + rope), axis=0)
        q = self.op("Transpose", self.op("Reshape", q, by_head), perm=[0, 2, 1, 3])
        q_nope, q_rope = self.ops("Split", q, self.ints(nope, rope), outputs=2, axis=-1)
        kv = self.linear(x, f"{prefix}.kv_a_proj_with_mqa.weight")
        seen, k_rope = self.ops("Split", kv, self.ints(latent, rope), outputs=2, axis=-1)
        seen = self.norm(seen, f"{prefix}.kv_a_layernorm.weight")
        fresh = self.op("Concat", seen, self.rotate(k_rope, rows.cos, rows.sin), axis=-1)
        by_row = self.op("Concat", rows.batch_axis, rows.step_axis, self.ints(self.width), axis=0)
        fresh = self.op("Reshape", fresh, by_row)
        self.output(f"fresh.{index}", fresh, "float", ["B", "S", self.width])
        up = self.op(
            "Reshape", self.weight(f"{prefix}.kv_b_proj.weight"), self.ints(heads, nope + value, latent)
        )
        up_key, up_value = self.ops("Split", up, self.ints(nope, value), outputs=2, axis=1)
        query = self.op("Concat", self.op("MatMul", q_nope, up_key),
                        self.rotate(q_rope, rows.cos_rows, rows.sin_rows), axis=-1)  # fmt: skip
        mixed = self._mix(query, f"past.{index}", fresh, rows)
        kept = self.op("Slice", mixed, self.ints(0), self.ints(latent), self.ints(-1))
        out = self.op("MatMul", kept, self.op("Transpose", up_value, perm=[0, 2, 1]))
        flat = self.op("Reshape", self.op("Transpose", out, perm=[0, 2, 1, 3]), self.ints(-1, heads * value))
        return self.linear(flat, f"{prefix}.o_proj.weight")

    def _mix(self, query: str, past: str, fresh: str, rows: _Rows) -> str:
        """Attention over cached and new slots: query (B, H, S, W) → (B, H, S, W).

        Heads and steps are one axis for the products: a row is then one product, not one a head.
        """
        heads = self.cfg.num_attention_heads
        scale = self.const(np.float32((self.cfg.qk_nope_head_dim + self.cfg.qk_rope_head_dim) ** -0.5))
        query = self.op(
            "Reshape", query, self.op("Concat", rows.batch_axis, self.ints(-1, self.width), axis=0)
        )
        query = self.op("Mul", query, scale)
        old = self.op("MatMul", query, self.op("Transpose", past, perm=[0, 2, 1]))
        old = self.op("Add", old, rows.past_mask)
        new = self.op("MatMul", query, self.op("Transpose", fresh, perm=[0, 2, 1]))
        by_head = self.op("Concat", rows.batch_axis, self.ints(heads), rows.step_axis, rows.step_axis, axis=0)
        new = self.op("Add", self.op("Reshape", new, by_head), rows.causal)
        new = self.op(
            "Reshape", new, self.op("Concat", rows.batch_axis, self.ints(-1), rows.step_axis, axis=0)
        )
        weights = self.op("Softmax", self.op("Concat", old, new, axis=-1), axis=-1)
        sizes = self.op("Concat", rows.slots, rows.step_axis, axis=0)
        of_old, of_new = self.ops("Split", weights, sizes, outputs=2, axis=-1)
        mixed = self.op("Add", self.op("MatMul", of_old, past), self.op("MatMul", of_new, fresh))
        shape = self.op(
            "Concat", rows.batch_axis, self.ints(heads), rows.step_axis, self.ints(self.width), axis=0
        )
        return self.op("Reshape", mixed, shape)

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def dense(self, x: str, prefix: str) -> str:
        """SwiGLU feed-forward."""
        gate = self.silu(self.linear(x, f"{prefix}.gate_proj.weight"))
        inner = self.op("Mul", gate, self.linear(x, f"{prefix}.up_proj.weight"))
        return self.linear(inner, f"{prefix}.down_proj.weight")

    def experts(self, x: str, prefix: str, rows: _Rows) -> tuple[str, str]:
        """x (N, D) → (N, D), and how often each expert was chosen by each row (B, E).

        The operator takes a softmax over the chosen k of what it is given, so it is given the logarithms of the
        weights: their softmax is the weights divided by their sum, which is DeepSeek's normalisation.
        """
        cfg = self.cfg
        scores = self.op("Sigmoid", self.linear(x, f"{prefix}.gate.weight"))
        steered = self.op("Add", scores, self.weight(f"{prefix}.gate.e_score_correction_bias"))
        _, chosen = self.ops("TopK", steered, self.ints(cfg.num_experts_per_tok), outputs=2, axis=-1)
        logs = self.op("Log", self.op("GatherElements", scores, chosen, axis=1))
        blank = self.op("Expand", self.const(UNCHOSEN), self.op("Shape", scores))
        router = self.op("ScatterElements", blank, chosen, logs, axis=1)
        # ONNX Runtime's CPU kernel takes gate and up row by row in turns; the session folds this once at load
        paired = self.op("Reshape", self.weight(f"{prefix}.experts.gate_up_proj"),
                         self.ints(cfg.n_routed_experts, 2, cfg.moe_intermediate_size, cfg.hidden_size))  # fmt: skip
        turns = self.op("Reshape", self.op("Transpose", paired, perm=[0, 2, 1, 3]),
                        self.ints(cfg.n_routed_experts, 2 * cfg.moe_intermediate_size, cfg.hidden_size))  # fmt: skip
        out = self.op(
            "MoE", x, router, turns, "", self.weight(f"{prefix}.experts.down_proj"), domain=CONTRIB,
            k=cfg.num_experts_per_tok, activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.0,
            activation_beta=0.0, normalize_routing_weights=1,
        )  # fmt: skip
        if cfg.routed_scaling_factor != 1.0:
            out = self.op("Mul", out, self.const(np.float32(cfg.routed_scaling_factor)))
        picked = self.op(
            "Cast", self.op("Greater", router, self.const(UNCHOSEN / 2)), to=onnx.TensorProto.FLOAT
        )
        shape = self.op("Concat", rows.batch_axis, rows.step_axis, self.ints(cfg.n_routed_experts), axis=0)
        counted = self.op(
            "Mul", self.op("Reshape", picked, shape), self.op("Unsqueeze", rows.real, self.ints(2))
        )
        counts = self.op("ReduceSum", counted, self.ints(1), keepdims=0)
        return self.op("Add", out, self.dense(x, f"{prefix}.shared_experts")), counts

    # ------------------------------------------------------------------ the whole
    def build(self) -> onnx.ModelProto:
        """The finished graph. Raises onnx.checker.ValidationError."""
        cfg = self.cfg
        self.input("ids", "int64", ["B", "S"])
        self.input("lengths", "int64", ["B"])
        self.input("counts", "int64", ["B"])
        for index in range(cfg.num_hidden_layers):
            self.input(f"past.{index}", "float", ["B", "P", self.width])
        rows = _Rows(self, cfg)
        table = self.weight("model.embed_tokens.weight")
        x = self.op("Gather", table, self.op("Reshape", "ids", self.ints(-1)))
        counts = []
        for index in range(cfg.num_hidden_layers):
            prefix = f"model.layers.{index}"
            seen = self.norm(x, f"{prefix}.input_layernorm.weight")
            x = self.op("Add", x, self.attention(seen, index, rows))
            inner = self.norm(x, f"{prefix}.post_attention_layernorm.weight")
            if index < cfg.first_k_dense_replace:
                x = self.op("Add", x, self.dense(inner, f"{prefix}.mlp"))
            else:
                fed, picked = self.experts(inner, f"{prefix}.mlp", rows)
                counts.append(self.op("Unsqueeze", picked, self.ints(1)))
                x = self.op("Add", x, fed)
        self._answer(x, rows, table)
        if counts:
            told = self.op("Cast", self.op("Concat", *counts, axis=1), to=onnx.TensorProto.INT64)
            self.output("expert_counts", told, "int64", ["B", len(counts), cfg.n_routed_experts])
        return self.model()

    def _answer(self, x: str, rows: _Rows, table: str) -> None:
        first = self.op("Mul", self.op("Range", self.scalar(0), rows.batch, self.scalar(1)), rows.steps)
        last = self.op("Add", first, self.op("Sub", "counts", self.ints(1)))
        ended = self.norm(self.op("Gather", x, last), "model.norm.weight")
        self.output("logits", self.op("Gemm", ended, table, transB=1), "float", ["B", self.cfg.vocab_size])


@torch.no_grad()
def build(model: TinyDeepseek) -> onnx.ModelProto:
    """The serving graph of a model, its matrices stored as float16 and widened when the session is made."""
    from modelhub.ml.lm.export import halve

    made = LmGraph(model.eval()).build()
    halve(made)
    onnx.checker.check_model(made)
    return made


def save(model: TinyDeepseek, path: Path) -> float:
    """Write the serving graph and give the largest difference of logits to torch. Raises RuntimeError over 1e-3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(build(model), path)
    difference = parity(model, path)
    if difference > 1e-3:
        raise RuntimeError(f"ONNX and torch differ by {difference:.2e} in the logits; the file is not usable")
    return difference


@torch.no_grad()
def parity(model: TinyDeepseek, path: Path, steps: int = 24) -> float:
    """Largest difference of logits between torch in one pass and ONNX Runtime with two rows out of step.

    One row reads 7 tokens and then one by one; the other is three tokens behind it and padded.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    cfg = model.cfg
    ids = torch.randint(7, cfg.vocab_size, (2, steps), generator=torch.Generator().manual_seed(5))
    wanted = model(ids).logits.numpy()
    width = cfg.kv_lora_rank + cfg.qk_rope_head_dim
    past = [np.zeros((2, steps + 3, width), np.float32) for _ in range(cfg.num_hidden_layers)]
    lengths, worst = np.zeros(2, np.int64), 0.0
    while lengths[0] < steps:
        counts = np.array([7, 4], np.int64) if lengths[0] == 0 else np.ones(2, np.int64)
        piece = np.full((2, counts.max()), 3, np.int64)
        for row in range(2):
            piece[row, : counts[row]] = ids[row, lengths[row] : lengths[row] + counts[row]]
        feed = {
            "ids": piece,
            "lengths": lengths,
            "counts": counts,
            **{f"past.{i}": p for i, p in enumerate(past)},
        }
        names = ["logits", *(f"fresh.{i}" for i in range(len(past)))]
        logits, *fresh = session.run(names, feed)
        for row in range(2):
            at, count = lengths[row], counts[row]
            for layer, new in zip(past, fresh, strict=True):
                layer[row, at : at + count] = new[row, :count]
            worst = max(worst, float(np.abs(logits[row] - wanted[row, at + count - 1]).max()))
        lengths = lengths + counts
    return worst
