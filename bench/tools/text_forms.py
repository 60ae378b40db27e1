"""A text model in every form a CPU runs: torch eager, and the graphs of each backend, on real texts.

It is the pretrained encoder, whose weights are at hand in torch and as a graph, under a gating network of the default shape.
The torch form is transformers' own encoder and our gating network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.hal import sessions
from modelhub.hal.models import Form
from modelhub.ml import datasets, tokens, trunk
from modelhub.ml.moe.body import write_body

MODEL, HEAD = "txt-base", "support-intent"
LAYERS, MASS = 2, 0.4
TAUGHT, RIDGE = 2_000, 1.0
Feed = dict[str, np.ndarray]


@dataclass(frozen=True)
class TextModel:
    """The forms, the inputs (one text each), and `label`, which reads the head's answer off features (N, D)."""

    forms: list[Form]
    inputs: list[Feed]
    label: Callable[[np.ndarray], np.ndarray]
    trunk: Path
    body: Path


def seeded_state() -> dict[str, np.ndarray]:
    """Weights of a gating network of the default shape, as they begin: how long an answer takes doesn't depend on what they
    learned, and two forms of them must agree as two forms of learned ones must."""
    import torch

    from modelhub.ml.moe.model import GatingClassifier, GatingConfig

    torch.manual_seed(1)
    network = GatingClassifier(GatingConfig(layers=LAYERS, mass=MASS), {})
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


def load(count: int) -> TextModel:
    """Everything for `count` validation texts of one workload."""
    home, folder = artifacts.home(), artifacts.find(MODEL)
    manifest = artifacts.verify(folder)
    trunk_dir = trunk.ensure_trunk(home)
    state = seeded_state()
    tokenizer = tokens.load_tokenizer(trunk_dir / "tokenizer.json")
    texts = datasets.load(HEAD, "val").texts[:count]
    rows = [row[: manifest["max_tokens"]] for row in tokens.encode(tokenizer, texts, manifest["wide_tokens"])]
    inputs = [dict(zip(("input_ids", "attention_mask"), tokens.pad([row]), strict=True)) for row in rows]
    work = Path(tempfile.mkdtemp(prefix="text-forms-"))
    encoder = trunk_dir / "model.onnx"
    paths = {form: work / f"{form}.onnx" for form in ("moe", "qmoe", "unrolled")}
    for form, path in paths.items():
        write_body(state, path, layers=LAYERS, mass=MASS, form=form)
    forms = [
        Form("torch eager", "float32", lambda: torch_form(state)),
        Form("torch eager bf16", "bfloat16", lambda: torch_form(state, narrow=True)),
        Form("onnxruntime", "float32", lambda: graph_form("onnxruntime", encoder, paths["moe"])),
        Form(
            "onnxruntime unrolled", "float32", lambda: graph_form("onnxruntime", encoder, paths["unrolled"])
        ),
        Form(
            "onnxruntime int8",
            "int8",
            lambda: graph_form("onnxruntime", int8_encoder(encoder, work), paths["qmoe"]),
        ),
        Form("openvino", "float32", lambda: graph_form("openvino", encoder, paths["unrolled"])),
    ]

    known = datasets.load(HEAD, "train")
    taught = tokens.encode(tokenizer, known.texts[:TAUGHT], manifest["max_tokens"])
    weights = fitted_head(graph_form("onnxruntime", encoder, paths["moe"]), taught, known.labels[:TAUGHT])

    def label(features: np.ndarray) -> np.ndarray:
        return (features @ weights[:-1] + weights[-1]).argmax(axis=-1)

    return TextModel(forms, inputs, label, encoder, paths["moe"])


def fitted_head(run: Callable[[Feed], np.ndarray], ids: list[np.ndarray], labels: list[str]) -> np.ndarray:
    """A linear head by ridge regression on one-hot labels, so that answers have the margins of a model that knows its task.

    Gives (D + 1, L), the bias last.
    """
    features = np.concatenate(
        [run(dict(zip(("input_ids", "attention_mask"), tokens.pad([row]), strict=True))) for row in ids]
    )
    names = sorted(set(labels))
    wanted = np.array([[label == name for name in names] for label in labels], np.float64)
    x = np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float64)
    return np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ wanted).astype(np.float32)


def torch_form(state: dict[str, np.ndarray], *, narrow: bool = False) -> Callable[[Feed], np.ndarray]:
    """transformers' BERT in eager mode, mean pooling, our gating network."""
    import torch
    from transformers import AutoModel

    from modelhub.ml.moe.model import GatingClassifier, GatingConfig

    kind = torch.bfloat16 if narrow else torch.float32
    encoder = AutoModel.from_pretrained(str(trunk.find_weights()), local_files_only=True).eval().to(kind)
    banks = state["layers.0.bank.w1"].shape
    config = GatingConfig(width=banks[2], layers=LAYERS, experts=banks[0], hidden=banks[1], mass=MASS)
    network = GatingClassifier(config, {})
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    network.eval().to(kind)

    def run(feed: Feed) -> np.ndarray:
        with torch.inference_mode():
            mask = torch.from_numpy(feed["attention_mask"])
            ids = torch.from_numpy(feed["input_ids"])
            states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask[..., None].to(states.dtype)
            pooled = (states * weight).sum(1) / weight.sum(1).clamp_min(1e-9)
            return network.features(pooled)[0].float().numpy()

    return run


def graph_form(backend: str, encoder: Path | bytes, body: Path | bytes) -> Callable[[Feed], np.ndarray]:
    first, second = sessions.open_session(encoder, backend), sessions.open_session(body, backend)

    def run(feed: Feed) -> np.ndarray:
        pooled = first.run(["pooled"], feed)[0]
        return second.run(["features"], {"pooled": pooled})[0]

    return run


def int8_encoder(encoder: Path, work: Path) -> Path:
    """The trunk with dynamic INT8 products, by ONNX Runtime's own quantiser."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = work / "trunk-int8.onnx"
    options: dict[str, Any] = {"op_types_to_quantize": ["MatMul", "Gemm"], "per_channel": True}
    quantize_dynamic(str(encoder), str(target), weight_type=QuantType.QInt8, **options)
    return target
