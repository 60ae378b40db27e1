"""The expert operator: every form gives what a float64 loop over tokens gives, whatever the batch."""

import math

import numpy as np
import pytest
import torch

from modelhub.ml.moe import kernels

EXPERTS, WIDTH, HIDDEN = 6, 16, 8


def silu(v: np.ndarray) -> np.ndarray:
    return v / (1 + np.exp(-v))


def gelu(v: np.ndarray) -> np.ndarray:
    return v * 0.5 * (1 + np.vectorize(math.erf)(v / math.sqrt(2)))


def by_hand(x, weights, experts, w1, w2, activation) -> np.ndarray:
    """The definition, token by token in float64, sharing no line with the code it judges."""
    out = np.zeros_like(x)
    for t in range(len(x)):
        for weight, e in zip(weights[t], experts[t], strict=True):
            inner = w1[e] @ x[t]
            half = len(inner) // 2
            inner = {
                "silu": lambda v: silu(v),
                "gelu": lambda v: gelu(v),
                "gelu_tanh": lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3))),
                "relu": lambda v: np.maximum(v, 0),
                "swiglu": lambda v, h=half: silu(v[:h]) * v[h:],
                "geglu": lambda v, h=half: gelu(v[:h]) * v[h:],
            }[activation](inner)
            out[t] += weight * (w2[e] @ inner)
    return out


def some_case(tokens: int, activation: str, seed: int = 0):
    rng = np.random.default_rng(seed)
    rows = 2 if activation in kernels.GATED else 1
    x = rng.normal(size=(tokens, WIDTH))
    weights = rng.random((tokens, 3))
    weights[rng.random(tokens) < 0.5, 2] = 0.0  # a slot that these tokens don't use
    experts = np.argsort(rng.random((tokens, EXPERTS)), axis=1)[:, :3]
    w1 = rng.normal(size=(EXPERTS, rows * HIDDEN, WIDTH)) * 0.3
    w2 = rng.normal(size=(EXPERTS, WIDTH, HIDDEN)) * 0.3
    return x, weights, experts, w1, w2


def tensors(x, weights, experts, w1, w2, dtype=torch.float32):
    return (
        torch.tensor(x, dtype=dtype),
        torch.tensor(weights, dtype=torch.float32),
        torch.tensor(experts),
        torch.tensor(w1, dtype=dtype),
        torch.tensor(w2, dtype=dtype),
    )


@pytest.mark.parametrize("form", kernels.FORMS)
@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_every_form_gives_what_a_float64_loop_gives(form, activation):
    case = some_case(17, activation)
    found = kernels.moe_experts(*tensors(*case), activation, form)
    # 1e-5: float32 sums of 16 and 8 terms of order one
    assert np.abs(found.numpy() - by_hand(*case, activation)).max() < 1e-5


@pytest.mark.parametrize("form", kernels.FORMS)
@pytest.mark.parametrize("tokens", [0, 1])
def test_an_empty_batch_and_a_batch_of_one_are_answered(form, tokens):
    case = some_case(tokens, "silu")
    found = kernels.moe_experts(*tensors(*case), "silu", form)
    assert found.shape == (tokens, WIDTH)
    assert np.allclose(found, by_hand(*case, "silu"), atol=1e-5)


@pytest.mark.parametrize("form", ["sorted", "columns", "grouped", "loop"])
def test_ten_thousand_tokens_for_one_expert_are_all_served(form):
    x, _, _, w1, w2 = tensors(*some_case(10_000, "silu"))
    ones, crowd = torch.ones(10_000, 1), torch.full((10_000, 1), 4)
    found = kernels.moe_experts(x, ones, crowd, w1, w2, "silu", form)
    alone = torch.nn.functional.silu(x @ w1[4].T) @ w2[4].T
    assert torch.allclose(found, alone, atol=1e-5)
    assert bool((found != 0).any(dim=1).all())


@pytest.mark.parametrize("form", kernels.FORMS)
def test_every_form_gives_the_loops_gradients(form):
    x, weights, experts, w1, w2 = tensors(*some_case(9, "swiglu"))

    def gradients(name: str) -> list[torch.Tensor]:
        leaves = [t.clone().requires_grad_() for t in (x, weights, w1, w2)]
        a, b, c, d = leaves
        kernels.moe_experts(a, b, experts, c, d, "swiglu", name).square().sum().backward()
        return [leaf.grad for leaf in leaves]

    used = weights != 0  # an unused slot has a gradient only where the form computes it
    for found, wanted, name in zip(
        gradients(form), gradients("loop"), ["x", "weights", "w1", "w2"], strict=True
    ):
        if name == "weights":
            found, wanted = found[used], wanted[used]
        assert torch.allclose(found, wanted, atol=1e-4), name


@pytest.mark.parametrize("form", kernels.FORMS)
def test_half_precision_comes_back_in_half_precision(form):
    x, weights, experts, w1, w2 = tensors(*some_case(5, "gelu"), dtype=torch.bfloat16)
    found = kernels.moe_experts(x, weights, experts, w1, w2, "gelu", form)
    assert found.dtype == torch.bfloat16
    assert np.abs(found.float().numpy() - by_hand(*some_case(5, "gelu"), "gelu")).max() < 0.1


@pytest.mark.parametrize("form", kernels.FORMS)
def test_a_token_that_is_not_a_number_spoils_no_other(form):
    x, weights, experts, w1, w2 = tensors(*some_case(6, "silu"))
    clean = kernels.moe_experts(x, weights, experts, w1, w2, "silu", form)
    x[2, 3] = float("nan")
    found = kernels.moe_experts(x, weights, experts, w1, w2, "silu", form)
    assert bool(found[2].isnan().all())
    others = [0, 1, 3, 4, 5]
    assert torch.allclose(found[others], clean[others], atol=1e-6)


def test_experts_that_do_not_fit_are_refused_with_both_shapes():
    x, weights, experts, w1, w2 = tensors(*some_case(4, "silu"))
    with pytest.raises(ValueError, match=r"w1 is \(5, 8, 16\).*\(6, 8, 16\)"):
        kernels.moe_experts(x, weights, experts, w1[:5], w2, "silu")
    with pytest.raises(ValueError, match="swiglu asks for"):
        kernels.moe_experts(x, weights, experts, w1, w2, "swiglu")
    with pytest.raises(ValueError, match=r"expected \(T, 16\)"):
        kernels.moe_experts(x[:, :8], weights, experts, w1, w2, "silu")
    with pytest.raises(ValueError, match=r"must both be \(4, K\)"):
        kernels.moe_experts(x, weights[:3], experts, w1, w2, "silu")
    with pytest.raises(ValueError, match="unknown"):
        kernels.moe_experts(x, weights, experts, w1, w2, "tanh")


def test_the_grouped_form_says_which_sizes_it_does_not_take():
    x, weights, experts, w1, w2 = tensors(*some_case(4, "silu"))
    with pytest.raises(ValueError, match="no grouped product.*use the sorted form"):
        kernels.moe_experts(x, weights, experts, w1[:, :7], w2[:, :, :7], "silu", "grouped")
    with pytest.raises(ValueError, match="float64"):
        kernels.moe_experts(x.double(), weights, experts, w1.double(), w2.double(), "silu", "grouped")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is present")
@pytest.mark.parametrize("activation", ["silu", "swiglu"])
def test_the_grouped_form_on_cuda_gives_what_a_float64_loop_gives(activation):
    case = some_case(300, activation)
    x, weights, experts, w1, w2 = (t.cuda() for t in tensors(*case, dtype=torch.bfloat16))
    found = kernels.moe_experts(x, weights, experts, w1, w2, activation, "grouped")
    assert found.dtype == torch.bfloat16
    assert np.abs(found.float().cpu().numpy() - by_hand(*case, activation)).max() < 0.1
    assert kernels.default_form(x, WIDTH, HIDDEN) == "grouped"


def test_more_choices_than_experts_are_refused():
    x, _, _, w1, w2 = tensors(*some_case(4, "silu"))
    with pytest.raises(ValueError, match=r"k=7 must lie in 1\.\.6"):
        kernels.moe_experts(x, torch.ones(4, 7), torch.zeros(4, 7, dtype=torch.int64), w1, w2, "silu")
