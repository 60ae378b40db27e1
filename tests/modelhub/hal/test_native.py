"""Our own kernels against a float64 loop and against torch: any batch, any k, both precisions, and what isn't a number."""

import shutil

import numpy as np
import pytest
import torch

from modelhub.hal import golden
from modelhub.hal.native import bank, build
from modelhub.ml.moe.gate import DynamicGate

EXPERTS, WIDTH, HIDDEN = 7, 36, 20  # no multiples of a panel, nor of a register


@pytest.fixture(autouse=True)
def built():
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    build.library()


def some_case(tokens, seed=0, *, experts=EXPERTS, width=WIDTH, hidden=HIDDEN, rows=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tokens, width)).astype(np.float32)
    weights = rng.random((tokens, 3)).astype(np.float32)
    weights[rng.random(tokens) < 0.5, 2] = 0.0
    chosen = np.argsort(rng.random((tokens, experts)), axis=1)[:, :3].astype(np.int64)
    w1 = (rng.normal(size=(experts, rows * hidden, width)) * width**-0.5).astype(np.float32)
    w2 = (rng.normal(size=(experts, width, hidden)) * hidden**-0.5).astype(np.float32)
    return x, weights, chosen, w1, w2


@pytest.mark.parametrize("tokens", [0, 1, 11, 12, 13, 300])
@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_float_answers_are_those_of_a_float64_loop(tokens, activation):
    x, weights, chosen, w1, w2 = some_case(tokens)
    found = bank.ExpertBank(w1, w2, activation, eight_bits=False)(x, weights, chosen)
    wanted = golden.moe_experts(x, weights, chosen, w1, w2, activation=activation)
    assert found.shape == (tokens, WIDTH)
    assert np.abs(found - wanted).max(initial=0.0) < 1e-5


def test_gated_and_curved_activations_are_those_of_torch():
    x, weights, chosen, w1, w2 = some_case(9, hidden=32, rows=2)
    from modelhub.ml.moe import kernels

    for activation, first in (("swiglu", w1), ("gelu_tanh", w1[:, :32])):
        found = bank.ExpertBank(first, w2, activation, eight_bits=False)(x, weights, chosen)
        words = (torch.from_numpy(np.ascontiguousarray(part)) for part in (x, weights, chosen, first, w2))
        wanted = kernels.moe_experts(*words, activation, "loop").numpy()
        assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("tokens", [1, 5, 60])
def test_eight_bits_are_exactly_the_sums_that_their_rounding_asks_for(tokens):
    """The same rounding done in numpy, its sums in float64: what is left is float32's own rounding."""
    x, weights, chosen, w1, w2 = some_case(tokens)
    found = bank.ExpertBank(w1, w2, "relu", eight_bits=True)(x, weights, chosen)

    def rounded(rows):
        step = np.maximum(np.abs(rows).max(-1, keepdims=True) / 127.0, 1e-12)
        return np.rint(rows / step) * step

    first, second = rounded(w1.astype(np.float64)), rounded(w2.astype(np.float64))
    wanted = np.zeros(x.shape)
    for t in range(tokens):
        for weight, e in zip(weights[t], chosen[t], strict=True):
            inner = np.maximum(first[e] @ rounded(x[t].astype(np.float64)), 0)
            wanted[t] += weight * (second[e] @ rounded(inner))
    # An activation half-way between two bytes may fall to either: one step of one of twenty of them.
    assert np.abs(found - wanted).max() < 0.02
    assert np.median(np.abs(found - wanted)) < 1e-5


def test_an_answer_does_not_depend_on_its_company():
    x, weights, chosen, w1, w2 = some_case(70)
    for eight_bits in (False, True):
        run = bank.ExpertBank(w1, w2, "silu", eight_bits=eight_bits)
        together = run(x, weights, chosen)
        alone = np.concatenate([run(x[i : i + 1], weights[i : i + 1], chosen[i : i + 1]) for i in range(70)])
        assert np.array_equal(together, alone)


@pytest.mark.parametrize("eight_bits", [False, True])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_stays_where_it_is(eight_bits, poison):
    x, weights, chosen, w1, w2 = some_case(20)
    run = bank.ExpertBank(w1, w2, "silu", eight_bits=eight_bits)
    clean = run(x, weights, chosen)
    x[7, 3] = poison
    found = run(x, weights, chosen)
    assert np.isnan(found[7]).all()
    assert np.array_equal(np.delete(found, 7, 0), np.delete(clean, 7, 0))


def test_an_expert_outside_the_bank_and_foreign_shapes_are_refused():
    x, weights, chosen, w1, w2 = some_case(4)
    run = bank.ExpertBank(w1, w2, "silu", eight_bits=True)
    with pytest.raises(bank.KernelFailed, match="outside the bank"):
        run(x, weights, np.where(chosen == 0, EXPERTS, chosen) + EXPERTS)
    with pytest.raises(ValueError, match="must be"):
        run(x[:, 1:], weights, chosen)
    with pytest.raises(ValueError, match="no kernel here"):
        bank.ExpertBank(w1, w2, "gelu", eight_bits=True)
    with pytest.raises(ValueError, match="w1 is"):
        bank.ExpertBank(w1[:, 1:], w2, "silu", eight_bits=True)


@pytest.mark.parametrize(("k_min", "k_max", "spread"), [(2, 2, 1.0), (2, 4, 1.5), (1, 4, 6.0)])
def test_the_gate_chooses_as_torch_does(k_min, k_max, spread):
    torch.manual_seed(3)
    gate = DynamicGate(WIDTH, 45, k_min=k_min, k_max=k_max)
    gate.scale.data.fill_(spread * WIDTH**0.5)
    gate.selection_bias.normal_(std=0.01)
    x = torch.randn(200, WIDTH)
    with torch.no_grad():
        wanted = gate(x)
    keys, bias = gate.keys.detach().numpy(), gate.selection_bias.numpy()
    own = bank.CosineGate(keys, float(gate.scale.detach()), bias, k_min=k_min, k_max=k_max, mass=gate.mass)
    weights, chosen = own(x.numpy())
    assert np.array_equal(chosen, wanted.experts.numpy())
    assert np.abs(weights - wanted.weights.numpy()).max() < 1e-5
    assert (len(set((weights > 0).sum(1))) > 1) == (k_min < k_max)


def test_equal_scores_go_to_the_lower_expert_and_a_row_without_a_number_is_mixed_of_none():
    keys = np.tile(np.eye(1, WIDTH, dtype=np.float32), (5, 1))
    own = bank.CosineGate(keys, 10.0, np.zeros(5, np.float32), k_min=2, k_max=2)
    x = np.ones((2, WIDTH), np.float32)
    x[1, 0] = np.nan
    weights, chosen = own(x)
    assert chosen[0].tolist() == [0, 1] and np.allclose(weights[0], 0.5)
    assert np.isnan(weights[1]).all()


def test_without_a_compiler_the_backend_says_that_it_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(build.NotBuilt, match="no C compiler"):
        build.build(tmp_path / "experts.so")


def test_a_compiler_that_refuses_is_quoted(tmp_path, monkeypatch):
    broken = tmp_path / "broken.c"
    broken.write_text("int main( {")
    monkeypatch.setattr(build, "SOURCE", broken)
    with pytest.raises(build.NotBuilt, match="refused"):
        build.build(tmp_path / "experts.so")
    assert not (tmp_path / "experts.so").exists()


@pytest.mark.parametrize("tokens", [1, 40])
def test_in_the_benchmark_every_contestant_of_a_side_does_the_same_work(tokens):
    from bench.tools.contestants import Layers, Shape
    from bench.tools.turns import check_agreement

    layers = Layers(Shape("small", 8, 64, 32, 2, 3), tokens)
    with torch.no_grad():
        sides = {
            "sparse": layers.sparse_float(),
            "dense": layers.dense_float(),
            "active": layers.dense_float(64),
        }
        for found in sides.values():
            check_agreement(found)
        low = {"sparse": layers.sparse_int8(), "dense": layers.dense_int8()}
        for side, found in low.items():
            assert any("native" in name for name in found)
            wanted = np.asarray(sides[side]["onnxruntime unrolled" if side == "sparse" else "torch dense"](0))
            for name, run in found.items():
                assert np.abs(np.asarray(run(0)) - wanted).max() < 0.1 * np.abs(wanted).max(), name
