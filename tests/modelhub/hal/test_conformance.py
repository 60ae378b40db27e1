"""Examination of backends: the real ones pass in the precision they claim, the misbehaving ones don't."""

import numpy as np
import pytest

from modelhub.hal import conformance, golden, registry
from modelhub.hal.backends.emulated import round_to
from modelhub.hal.operators import OPERATORS
from tests.fakes.devices import CrawlingDevice, FakeDevice, LyingDevice, NotANumberDevice, VanishingDevice

HERE = registry.load([m for m in registry.BACKENDS if not m.endswith("cuda")])


def the(device):
    return device.implementations()[0]


@pytest.mark.parametrize(
    "implementation",
    HERE.implementations,
    ids=lambda i: f"{i.operator}-{i.key.replace('/', '-')}" + ("" if i.fused else "-steps"),
)
def test_every_backend_that_is_here_is_what_it_says(implementation):
    verdict = conformance.examine(implementation, seed=20, timeout_s=60)
    assert verdict.passed, verdict.why


def test_what_is_not_here_is_reported_and_never_counted_as_run():
    for name in ("migraphx", "cann"):
        if HERE.presences[name].present:
            pytest.skip(f"this machine has {name}")
        assert "Provider" in HERE.presences[name].detail
        assert not [i for i in HERE.implementations if i.backend == name]


def test_openvino_is_among_the_backends():
    if not HERE.presences["openvino"].present:
        pytest.skip(HERE.presences["openvino"].detail)
    assert {i.operator for i in HERE.implementations if i.backend == "openvino"} == set(OPERATORS)


def test_an_honest_device_passes_and_one_that_rounds_to_sixteen_bits_is_refused():
    assert conformance.examine(the(FakeDevice()), seed=1).passed
    verdict = conformance.examine(the(LyingDevice()), seed=1)
    assert not verdict.passed
    assert 1e-5 < verdict.error < 1e-3 and "allowed 1e-05" in verdict.why


def test_the_same_device_passes_as_what_it_really_is():
    assert conformance.examine(the(LyingDevice(dtype="float16")), seed=1).passed


def test_numbers_that_are_not_finite_are_refused():
    verdict = conformance.examine(the(NotANumberDevice()), seed=1)
    assert not verdict.passed and "not finite" in verdict.why


def test_a_device_that_raises_is_refused_with_its_words():
    device = VanishingDevice()
    implementation = the(device)
    device.gone = True
    verdict = conformance.examine(implementation, seed=1)
    assert not verdict.passed and "device 0 is lost" in verdict.why


def test_a_device_that_does_not_answer_is_given_up_on():
    device = CrawlingDevice()
    verdict = conformance.examine(the(device), seed=1, timeout_s=0.2)
    device.stop.set()
    assert not verdict.passed and "timed out" in verdict.why


def test_a_device_that_learned_one_answer_is_found_out():
    op = OPERATORS["matmul"]
    recorded = op.exact(op.sample(seed=0))[0].astype(np.float32)

    class Recording(FakeDevice):
        def answer(self, found):
            return recorded if found.shape == recorded.shape else found

    assert not conformance.examine(the(Recording()), seed=None).passed


def test_a_call_that_changes_what_it_was_given_is_refused():
    def spoil(constants, attributes, dims):
        def run(a):
            a *= 2
            return a @ constants["b"] / 2

        return registry.Prepared(run)

    verdict = conformance.examine(registry.Implementation("matmul", "spoil", "cpu", "float32", spoil), seed=1)
    assert not verdict.passed and "changed its input a" in verdict.why


def test_an_implementation_that_fits_no_case_has_not_passed():
    nothing = registry.Implementation(
        "matmul", "x", "cpu", "float32", FakeDevice()._prepare, fits=lambda dims: False
    )
    assert not conformance.examine(nothing, seed=1).passed


def test_emulated_rounding_is_that_of_the_formats():
    one, step = np.float32(1), np.float32(2**-10)  # TF32 keeps ten bits of fraction
    assert round_to(one + step, "tf32") == one + step
    assert round_to(one + step / 2, "tf32") == one  # a tie goes to the even neighbour
    assert round_to(one + 3 * step / 2, "tf32") == one + 2 * step
    assert round_to(np.float32(1 + 2**-7), "bfloat16") == np.float32(1 + 2**-7)
    assert round_to(np.float32(1 + 2**-9), "bfloat16") == 1
    assert np.isinf(round_to(np.float32(70000), "float16"))
    assert np.isfinite(round_to(np.float32(70000), "tf32"))
    assert np.isnan(round_to(np.float32(np.nan), "tf32"))


def test_emulated_bfloat16_agrees_with_torch_on_a_million_numbers():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    assert np.array_equal(round_to(values, "bfloat16"), torch.from_numpy(values).bfloat16().float().numpy())


def test_golden_answers_agree_with_torch_in_double_precision():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = OPERATORS["ffn_gelu"].sample({"T": 5, "D": 8, "F": 16}, seed=3)
    t = {name: torch.from_numpy(value).double() for name, value in x.items()}
    want = functional.linear(functional.gelu(functional.linear(t["x"], t["w1"], t["b1"])), t["w2"], t["b2"])
    assert np.allclose(golden.ffn_gelu(**x), want.numpy(), rtol=0, atol=1e-12)
    x = OPERATORS["attention"].sample({"B": 3, "H": 2, "S": 7, "Dh": 4}, seed=3)
    t = {name: torch.from_numpy(value).double() for name, value in x.items()}
    allowed = (t["mask"] > 0)[:, None, None, :]
    want = functional.scaled_dot_product_attention(t["q"], t["k"], t["v"], attn_mask=allowed)
    assert np.allclose(golden.attention(**x), want.numpy(), rtol=0, atol=1e-12)
    x = OPERATORS["layernorm_residual"].sample({"T": 5, "D": 8}, seed=3)
    t = {name: torch.from_numpy(value).double() for name, value in x.items()}
    want = functional.layer_norm(t["x"] + t["residual"], (8,), t["gain"], t["bias"], 1e-5)
    assert np.allclose(golden.layernorm_residual(**x, eps=1e-5), want.numpy(), rtol=0, atol=1e-12)


def test_the_golden_gate_keeps_the_smallest_k_whose_mass_passes_by_hand():
    # softmax of log p is p: 0.5 alone passes 0.4, but at least two are kept; 0.5 + 0.3 mixed as 5/8 and 3/8
    logits = np.log(np.array([[0.5, 0.3, 0.1, 0.06, 0.04]]))
    weights, experts = golden.topk_gate(logits, np.zeros(5), 2, 4, 0.4)
    assert np.allclose(weights, [[0.625, 0.375, 0, 0]]) and experts.tolist() == [[0, 1, 2, 3]]
    # mass 0.85: 0.5 + 0.3 = 0.8 does not pass, the third is kept too, the fourth is not
    weights, _ = golden.topk_gate(logits, np.zeros(5), 2, 4, 0.85)
    assert np.allclose(weights, [[5 / 9, 3 / 9, 1 / 9, 0]])
    # a bias changes who is chosen, never how the chosen are mixed
    weights, experts = golden.topk_gate(logits, np.array([0, 0, 0, 0, 1.0]), 2, 4, 0.4)
    assert experts[0, :2].tolist() == [4, 0]
    assert np.allclose(weights[0, :2] / weights[0, 1], [0.04 / 0.5, 1])
