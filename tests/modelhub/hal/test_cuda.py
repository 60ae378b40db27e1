"""The CUDA backend: what can be known of it without a GPU, and the whole examination where there is one."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from modelhub.hal import conformance
from modelhub.hal.backends import cuda, cuda_torch
from modelhub.hal.operators import OPERATORS
from modelhub.hal.registry import DTYPES, TOLERANCES, Registry

BACKEND = cuda.Cuda()
HERE = BACKEND.presence()
IMPLEMENTATIONS = BACKEND.implementations() if HERE.present else []
FORMS = [form for form in cuda.forms() if not form.triton and not form.graph]


def answer(form, operands):
    """A torch form on CPU tensors, as the backend calls it."""
    op = OPERATORS[form.operator]
    tensors = {name: torch.from_numpy(array) for name, array in operands.items()}
    if form.variant == "product":
        tensors["w"] = tensors["w"].T.contiguous()
    found = form.load()(*tensors.values(), **op.attributes)
    return tuple(each.float().numpy() for each in (found if isinstance(found, tuple) else (found,)))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.operator}-{form.variant or 'torch'}")
def test_each_torch_form_is_the_operator(form):
    op = OPERATORS[form.operator]
    dims = {**op.dims, **{"moe_experts": {"T": 21, "D": 64, "F": 32, "E": 5, "K": 3}}.get(op.name, {})}
    operands = op.sample(dims, seed=8)
    allowed = {"product": 3e-2, "epilogue": 1e-3}.get(form.variant, 2e-5)  # rows in 8 bits; the tanh GELU
    for got, want in zip(answer(form, operands), op.exact(operands), strict=True):
        assert np.abs(got - want).max() <= allowed * np.abs(want).max()


def test_a_pair_of_weight_zero_is_left_out_even_when_its_expert_would_give_no_number():
    operands = OPERATORS["moe_experts"].sample({"T": 6, "D": 16, "F": 16, "E": 4, "K": 3}, seed=2)
    operands["experts"][:] = [0, 1, 3]
    operands["weights"][:, 2] = 0.0
    operands["w1"][3] = np.nan
    for form in FORMS:
        if form.operator == "moe_experts" and form.variant != "gathered":
            assert np.isfinite(answer(form, operands)[0]).all(), form.variant


def test_rounding_to_tf32_keeps_ten_bits_and_leans_to_neither_side():
    exact = torch.tensor([1.0, 1.0 + 2**-10, 1.0 + 2**-11, -(1.0 + 2**-10 + 2**-12)])
    assert cuda_torch.round_tf32(exact).tolist() == [1.0, 1.0 + 2**-10, 1.0 + 2**-10, -(1.0 + 2**-10)]
    drawn = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    relative = (cuda_torch.round_tf32(drawn) - drawn) / drawn
    assert relative.abs().max() <= 2**-11 * 1.001
    assert abs(float(relative.mean())) < 1e-5  # cutting would give -3.5e-4


def test_product_precision_is_put_back_after_an_error():
    before = torch.backends.cuda.matmul.fp32_precision
    with pytest.raises(RuntimeError, match="stop"), cuda_torch.products_in("tf32"):
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        raise RuntimeError("stop")
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_every_operator_has_a_fused_form_and_every_form_a_function_and_a_name_of_its_own():
    forms = cuda.forms()
    assert {form.operator for form in forms if form.fused} == set(OPERATORS)
    names = [(form.operator, form.variant, dtype) for form in forms for dtype in form.dtypes]
    assert len(names) == len(set(names))
    assert {dtype for _, _, dtype in names} <= set(DTYPES)
    for form in forms:
        if not form.triton:
            assert callable(form.load())


def test_forms_refuse_shapes_their_kernels_cannot_take():
    by_name = {(form.operator, form.variant): form for form in cuda.forms()}
    assert not by_name["int8_matmul", "product"].fits({"T": 16, "K": 64, "N": 64})
    assert by_name["int8_matmul", "product"].fits({"T": 17, "K": 64, "N": 64})
    assert not by_name["moe_experts", "few"].fits({"T": 64, "K": 2})
    assert not by_name["moe_experts", "grouped"].fits({"D": 100, "F": 64})
    assert not by_name["attention", "triton"].fits({"Dh": 48})


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.operator}-{form.variant or 'torch'}")
def test_each_form_answers_through_the_registry_in_every_precision_it_offers(form, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)  # the same steps, on the CPU's memory
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    op = OPERATORS[form.operator]
    dims = {**op.dims, **{"moe_experts": {"T": 21, "D": 64, "F": 32, "E": 5, "K": 3}}.get(op.name, {})}
    operands = op.sample(dims, seed=9)
    for dtype in form.dtypes:
        prepared = cuda.prepare(form, dtype, {name: operands[name] for name in op.constants}, {}, dims)
        found = prepared(*(operands[name] for name in op.activations))
        # twice the bound that a card is held to: the CPU's own half precision sums in half
        allowed = 3e-2 if dtype == "int8" else 2 * TOLERANCES[dtype]
        for got, want in zip(found, op.exact(operands), strict=True):
            assert np.abs(got - want).max() <= allowed * np.abs(want).max(), dtype
        prepared.synchronise()


def test_a_machine_without_a_gpu_says_so_and_offers_nothing():
    if HERE.present:
        pytest.skip(f"this machine has a GPU: {HERE.detail}")
    registry = Registry()
    presence = registry.add(BACKEND)
    assert not presence.present and "CUDA" in presence.detail
    assert not registry.implementations


def test_our_kernels_give_the_operators_answers_in_tritons_interpreter():
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed: it comes with torch's CUDA build")
    import triton

    if triton.__version__ < "3.7" and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        pytest.skip("this Triton's interpreter cannot loop with NumPy 2.4's scalars")
    words = [sys.executable, "-m", "tests.modelhub.hal.interpreted_kernels"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr[-2000:]
    errors = json.loads(run.stdout)
    assert len(errors) >= 10
    assert max(errors.values()) <= TOLERANCES["float32"], errors


@pytest.mark.parametrize(
    "implementation", IMPLEMENTATIONS, ids=lambda i: f"{i.operator}-{i.key.replace('/', '-')}-{i.fused}"
)
def test_on_a_gpu_every_form_is_what_it_says(implementation):
    verdict = conformance.examine(implementation, timeout_s=100)
    assert verdict.passed, verdict.why
