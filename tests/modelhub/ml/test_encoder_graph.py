"""A whole encoder as a graph, against the same sums written in torch with its weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from modelhub.ml import features
from modelhub.ml.moe import body, kernels
from modelhub.ml.moe.encoder_graph import write_encoder
from modelhub.ml.moe.expert_graph import EIGHT_BITS, FORMS
from modelhub.ml.moe.gate import route

WIDTH, HEADS, LAYERS, EXPERTS, HIDDEN = 32, 4, 2, 32, 16
BAND = {"layers": LAYERS, "attention_heads": HEADS, "mass": 0.4}


def some_state(experts: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)

    def matrix(*shape: int) -> torch.Tensor:
        return torch.randn(*shape) * shape[-1] ** -0.5

    state = {"enter.weight": matrix(WIDTH, 48), "enter.bias": torch.randn(WIDTH)}
    for layer in range(LAYERS):
        name = f"layers.{layer}."
        state |= {name + "qkv.weight": matrix(3 * WIDTH, WIDTH), name + "qkv.bias": torch.randn(3 * WIDTH)}
        state |= {name + "out.weight": matrix(WIDTH, WIDTH), name + "out.bias": torch.randn(WIDTH)}
        for norm in ("attended", "fed"):
            state |= {
                f"{name}{norm}.weight": torch.rand(WIDTH) + 0.5,
                f"{name}{norm}.bias": torch.randn(WIDTH),
            }
        part = name + "experts."
        state |= {
            part + "up": matrix(16, WIDTH),
            part + "down": matrix(WIDTH, 16),
            part + "bias": torch.randn(WIDTH),
        }
        if experts:
            state |= {
                part + "w1": matrix(EXPERTS, HIDDEN, WIDTH),
                part + "w2": 3 * matrix(EXPERTS, WIDTH, HIDDEN),
            }
            state |= {
                part + "gate.keys": torch.randn(EXPERTS, WIDTH),
                part + "gate.scale": torch.tensor(10.0),
            }
            state[part + "gate.selection_bias"] = torch.randn(EXPERTS) * 0.01
    return state | {"norm.weight": torch.rand(WIDTH) + 0.5, "norm.bias": torch.randn(WIDTH)}


def norm(state, name: str, x: torch.Tensor, epsilon: float = 1e-12) -> torch.Tensor:
    return F.layer_norm(x, (WIDTH,), state[name + ".weight"], state[name + ".bias"], epsilon)


def text_by_text(state, embedded: torch.Tensor, mask: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Each text by itself, cut to its length, so that no padding exists."""
    rows, counts = [], torch.zeros(LAYERS, EXPERTS, dtype=torch.int64)
    for text, length in zip(embedded, mask.sum(1).tolist(), strict=True):
        x = F.linear(text[:length], state["enter.weight"], state["enter.bias"])
        for layer in range(LAYERS):
            name = f"layers.{layer}."
            qkv = F.linear(x, state[name + "qkv.weight"], state[name + "qkv.bias"])
            query, key, value = qkv.view(length, 3, HEADS, -1).permute(1, 2, 0, 3)
            mixed = F.scaled_dot_product_attention(query, key, value).transpose(0, 1).reshape(length, WIDTH)
            mixed = F.linear(mixed, state[name + "out.weight"], state[name + "out.bias"])
            x = norm(state, name + "attended", x + mixed)
            x = norm(state, name + "fed", x + feed_forward(state, name + "experts.", x, counts[layer]))
        rows.append(norm(state, "norm", x.mean(0), 1e-5))
    return torch.stack(rows).numpy(), counts.numpy()


def feed_forward(state, part: str, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    inner = F.gelu(x @ state[part + "up"].T, approximate="tanh")
    fed = inner @ state[part + "down"].T + state[part + "bias"]
    if part + "gate.keys" not in state:
        return fed
    keys = F.normalize(state[part + "gate.keys"], dim=-1)
    logits = state[part + "gate.scale"] * F.normalize(x, dim=-1) @ keys.T
    routing = route(logits, state[part + "gate.selection_bias"], k_min=2, k_max=4, mass=0.4)
    counts += torch.bincount(routing.experts[routing.weights > 0], minlength=EXPERTS)
    w1, w2 = state[part + "w1"], state[part + "w2"]
    return fed + kernels.moe_experts(x, routing.weights, routing.experts, w1, w2, "gelu_tanh", "loop")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.ones(4, 9, dtype=torch.int64)
    mask[1, 5:], mask[2, 1:] = 0, 0
    return torch.randn(4, 9, 48, generator=torch.Generator().manual_seed(3)), mask


@pytest.mark.parametrize("form", FORMS)
def test_the_graph_answers_as_the_sums_and_padding_passes_no_expert(form, batch, tmp_path):
    state, (embedded, mask) = some_state(experts=True), batch
    arrays = {name: value.numpy() for name, value in state.items()}
    write_encoder(arrays, tmp_path / "e.onnx", **BAND, form=form, counts=True, half=False)
    feed = {"embedded": embedded.numpy(), "attention_mask": mask.numpy()}
    found, counted = features.open_session(tmp_path / "e.onnx").run(["features", body.COUNTS], feed)
    wanted, counts = text_by_text(state, embedded, mask)
    eight_bits = form in EIGHT_BITS
    assert np.allclose(found, wanted, atol=0.15 if eight_bits else 1e-4)
    if not eight_bits:  # rounding may tip a choice
        assert counted.tolist() == counts.tolist()
    assert 2 * 24 <= counted[0].sum() <= 4 * 24  # 9 + 5 + 1 + 9 tokens are real


def test_an_encoder_without_experts_is_written_the_same_way(batch, tmp_path):
    state, (embedded, mask) = some_state(experts=False), batch
    write_encoder(
        {name: value.numpy() for name, value in state.items()}, tmp_path / "e.onnx", **BAND, half=False
    )
    feed = {"embedded": embedded.numpy(), "attention_mask": mask.numpy()}
    found = features.open_session(tmp_path / "e.onnx").run(None, feed)[0]
    assert np.allclose(found, text_by_text(state, embedded, mask)[0], atol=1e-4)


def test_padding_that_is_rubbish_changes_nothing(batch, tmp_path):
    state, (embedded, mask) = some_state(experts=True), batch
    write_encoder(
        {name: value.numpy() for name, value in state.items()}, tmp_path / "e.onnx", **BAND, half=False
    )
    session = features.open_session(tmp_path / "e.onnx")
    clean = session.run(None, {"embedded": embedded.numpy(), "attention_mask": mask.numpy()})[0]
    embedded[mask == 0] = 1e3
    found = session.run(None, {"embedded": embedded.numpy(), "attention_mask": mask.numpy()})[0]
    assert np.allclose(found, clean, atol=1e-5)
