"""Torch to ONNX with an explicit cache, weights kept in half precision, checked against torch.

Graph: inputs `ids` (1, S) int64 and `past` (L, 1, P, C+R) float32, outputs `logits` (1, V) of the last token
and `present` (L, 1, P+S, C+R). Matrices are stored as float16 and widened when the session is made, so the file
is half the size and the arithmetic stays float32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from modelhub.ml.lm.model import TinyDeepseek

SMALLEST_HALF = 1024  # elements; norms and biases stay float32


class Stepper(nn.Module):
    """The model as one step: new ids and the stacked cache in, last logits and the grown cache out."""

    def __init__(self, model: TinyDeepseek) -> None:
        super().__init__()
        self.inner = model

    def forward(self, ids: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        output = self.inner(ids, list(past.unbind(0)), last_only=True)
        return output.logits[:, 0], torch.stack(output.past)


def cache_width(model: TinyDeepseek) -> int:
    """Numbers kept per token and layer: the latent and the rotary key."""
    return model.cfg.kv_lora_rank + model.cfg.qk_rope_head_dim


def halve(graph_model: onnx.ModelProto) -> None:
    """Store large float32 initialisers as float16 behind a Cast, which the session folds once at load."""
    graph = graph_model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST_HALF:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def round_to_half(model: TinyDeepseek) -> None:
    """Round the matrices of the torch model to the float16 values the file will hold."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() >= SMALLEST_HALF:
                parameter.copy_(parameter.half().float())


def export_onnx(model: TinyDeepseek, path: Path) -> None:
    """Write the graph; raises RuntimeError when ONNX Runtime and torch disagree by more than 1e-3."""
    model.eval()
    round_to_half(model)
    layers, width = model.cfg.num_hidden_layers, cache_width(model)
    ids = torch.arange(10, 17)[None]
    past = torch.zeros(layers, 1, 5, width)
    steps, seen = torch.export.Dim("steps", min=1), torch.export.Dim("seen", min=0)
    program = torch.onnx.export(
        Stepper(model).eval(),
        (ids, past),
        dynamo=True,
        dynamic_shapes={"ids": {1: steps}, "past": {2: seen}},
        input_names=["ids", "past"],
        output_names=["logits", "present"],
        opset_version=18,
        optimize=False,  # keeps one initialiser per weight, under its own name; the session folds at load
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter gave no program")
    graph_model = program.model_proto
    for node in graph_model.graph.node:  # stack traces of the export weigh as much as the weights
        node.doc_string = ""
        del node.metadata_props[:]
    halve(graph_model)
    onnx.checker.check_model(graph_model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph_model, path)
    difference = parity(model, path)
    if difference > 1e-3:
        raise RuntimeError(f"ONNX and torch differ by {difference:.2e} in the logits; the file is not usable")


@torch.no_grad()
def parity(model: TinyDeepseek, path: Path, steps: int = 24) -> float:
    """Largest difference of logits between torch in one pass and ONNX Runtime fed in pieces (7, then 1 by 1)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ids = torch.randint(7, model.cfg.vocab_size, (1, steps), generator=torch.Generator().manual_seed(5))
    wanted = model(ids).logits[0].numpy()
    past = np.zeros((model.cfg.num_hidden_layers, 1, 0, cache_width(model)), np.float32)
    worst, position = 0.0, 0
    for size in [7] + [1] * (steps - 7):
        piece = ids[:, position : position + size].numpy()
        logits, past = session.run(None, {"ids": piece, "past": past})
        position += size
        worst = max(worst, float(np.abs(logits[0] - wanted[position - 1]).max()))
    return worst


def load_reference(path: Path, model: TinyDeepseek) -> None:
    """Fill the torch model from the weights inside an exported file (the file is the only copy we ship)."""
    graph = onnx.load(path).graph
    stored = {t.name.removesuffix(".fp16").removeprefix("inner."): t for t in graph.initializer}
    wanted = model.state_dict()
    if missing := sorted(set(wanted) - set(stored)):
        raise ValueError(f"the exported file lacks weights of the model: {missing[:3]}")
    model.load_state_dict(
        {n: torch.from_numpy(numpy_helper.to_array(stored[n]).astype(np.float32)) for n in wanted},
        strict=True,
    )
