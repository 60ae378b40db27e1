"""The registry: what may run where, and that asking it loads no runtime."""

import subprocess
import sys

import numpy as np
import pytest

from modelhub.hal import operators
from modelhub.hal.backends.reference import NumpyReference
from modelhub.hal.profile import CapabilityProfile, ProfileInvalid, cpu_profile
from modelhub.hal.registry import Implementation, Prepared, Presence, Registry


def add_one(constants, attributes, dims):
    return Prepared(lambda a: a @ constants["b"])


def make(backend="one", operator="matmul", **changes):
    return Implementation(
        **{"operator": operator, "backend": backend, "device": "cpu", "dtype": "float32", "prepare": add_one}
        | changes
    )


class Absent:
    name, device = "absent", "ascend"

    def presence(self):
        return Presence(False, "no Ascend device here")

    def implementations(self):
        raise AssertionError("a backend that isn't here is not asked what it can do")


class Broken(Absent):
    name = "broken"

    def presence(self):
        raise OSError("libascendcl.so: cannot open shared object file")


def test_a_backend_that_is_not_present_stays_listed_with_its_reason_and_runs_nothing():
    registry = Registry()
    registry.add(Absent())
    registry.add(Broken())
    assert [(name, p.present) for name, _, p in registry.rows()] == [("absent", False), ("broken", False)]
    assert "libascendcl" in registry.presences["broken"].detail
    assert registry.candidates("matmul", operators.OPERATORS["matmul"].dims) == []


def test_candidates_come_by_priority_and_obey_shape_dtype_and_device():
    registry = Registry()
    registry.register(make("slow", priority=1))
    registry.register(make("quick", priority=9))
    registry.register(make("wide", priority=99, fits=lambda dims: dims["M"] >= 128))
    registry.register(make("half", priority=50, dtype="bfloat16"))
    small, large = {"M": 64, "K": 2, "N": 2}, {"M": 128, "K": 2, "N": 2}
    assert [i.backend for i in registry.candidates("matmul", small)] == ["half", "quick", "slow"]
    assert [i.backend for i in registry.candidates("matmul", large, dtypes=["float32"])] == [
        "wide",
        "quick",
        "slow",
    ]
    assert registry.candidates("matmul", large, device="cuda") == []


def test_unfused_and_emulated_forms_are_given_only_when_asked_for():
    registry = Registry()
    registry.register(make("chain", fused=False))
    registry.register(make("pretend", dtype="tf32", emulated=True))
    dims = {"M": 1, "K": 2, "N": 2}
    assert registry.candidates("matmul", dims) == []
    assert [i.backend for i in registry.candidates("matmul", dims, fused=None, emulated=True)] == [
        "chain",
        "pretend",
    ]


def test_a_lost_backend_is_left_out_until_it_is_back():
    registry = Registry()
    registry.add(NumpyReference())
    dims = operators.OPERATORS["matmul"].dims
    registry.lose("numpy", "device went away")
    assert registry.candidates("matmul", dims) == []
    assert registry.regain("numpy")
    assert [i.backend for i in registry.candidates("matmul", dims)] == ["numpy"]


def test_an_implementation_of_no_operator_or_of_no_dtype_is_refused():
    with pytest.raises(ValueError, match="no operator"):
        make(operator="matmull")
    with pytest.raises(ValueError, match="dtype"):
        make(dtype="fp8")


def test_an_implementation_is_registered_once():
    registry = Registry()
    registry.register(make())
    with pytest.raises(ValueError, match="twice"):
        registry.register(make())


def test_dimensions_are_read_off_operands_and_disagreement_is_named():
    op = operators.operator("ffn_gelu")
    sample = op.sample({"T": 5, "D": 8, "F": 16})
    assert op.dims_of(sample) == {"T": 5, "D": 8, "F": 16}
    with pytest.raises(ValueError, match="b2 has D=7"):
        op.dims_of(sample | {"b2": np.zeros(7, np.float32)})
    with pytest.raises(ValueError, match="x has shape"):
        op.dims_of(sample | {"x": np.zeros(8, np.float32)})


def test_a_shape_bucket_rounds_the_batch_and_keeps_the_weights():
    op = operators.operator("ffn_gelu")
    assert operators.bucket(op, {"T": 33, "D": 384, "F": 1536}) == "T64-D384-F1536"
    assert operators.bucket(op, {"T": 1, "D": 384, "F": 1536}) == "T1-D384-F1536"


def test_flops_of_a_matrix_product_are_two_a_multiply_add():
    assert operators.operator("matmul").flops({"M": 2, "K": 3, "N": 5}) == 60


def test_a_profile_survives_being_written_and_an_unknown_origin_is_refused():
    profile = cpu_profile()
    assert profile.kind == "cpu" and profile.cores >= 1 and profile.memory_bytes > 0
    assert CapabilityProfile.from_dict(profile.as_dict()) == profile
    with pytest.raises(ProfileInvalid, match="origin"):
        CapabilityProfile.from_dict(profile.as_dict() | {"origin": "guessed"})
    with pytest.raises(ProfileInvalid):
        CapabilityProfile.from_dict({"name": "x"})


def test_asking_the_registry_imports_neither_torch_nor_onnxruntime_nor_django():
    code = (
        "import sys, modelhub.hal.registry, modelhub.hal.profile, modelhub.hal.operators, modelhub.hal.backends.reference\n"
        "print(sorted({'torch', 'onnxruntime', 'openvino', 'django'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
