"""A device's ceilings, the shapes that are tuned, and the commands that tell of both."""

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from django.core.management import call_command

from modelhub.hal import ceilings, registry, threads, tuning
from modelhub.hal.autotune import Autotuner
from modelhub.hal.operators import OPERATORS
from modelhub.hal.profile import cpu_profile, read_profile
from modelhub.hal.registry import Registry
from modelhub.hal.tune_cache import TuneCache, device_tables, kept_backends
from modelhub.management.hal import explain, tune
from modelhub.management.hal import list as listing
from tests.fakes.devices import FakeDevice, VanishingDevice


class Clock:
    """Goes on by `step` seconds each time it is read."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def test_copying_is_counted_as_bytes_read_and_written():
    # 8 MB read and 8 MB written in half a second: 0.032 GB/s
    assert ceilings.copy_gb_s(8_000_000, repeats=2, clock=Clock(0.5)) == pytest.approx(0.032)


def test_the_matrix_ceiling_is_that_of_the_quickest_backend_by_dtype_and_a_broken_one_is_passed_over():
    held, broken = Registry(), VanishingDevice("broken", operators=("matmul",))
    held.add(broken)
    broken.gone = True
    held.add(FakeDevice("wide", operators=("matmul",)))
    held.add(FakeDevice("narrow", operators=("matmul",), dtype="bfloat16"))
    found = ceilings.matmul_gflop_s(held, "cpu", side=8, repeats=2, clock=Clock(1e-6))
    assert found == pytest.approx({"float32": 2 * 8**3 / 1e-6 / 1e9, "bfloat16": 2 * 8**3 / 1e-6 / 1e9})


def test_ceilings_are_kept_for_the_machine_they_were_measured_on_alone(tmp_path):
    assert ceilings.this_cpu(tmp_path, 1).copy_gb_s is None
    mine = replace(cpu_profile(1), copy_gb_s=9.5, matmul_gflop_s={"float32": 50.0}, date="2026-01-01")
    path = ceilings.keep(mine, tmp_path)
    assert read_profile(path) == mine
    assert ceilings.this_cpu(tmp_path, 1).copy_gb_s == 9.5
    assert ceilings.this_cpu(tmp_path, 2).copy_gb_s is None  # another number of threads is another device
    ceilings.keep(replace(mine, name="Another CPU"), tmp_path)
    assert ceilings.this_cpu(tmp_path, 1).copy_gb_s is None
    path.write_text("{")
    assert ceilings.this_cpu(tmp_path, 1).copy_gb_s is None


def test_every_operator_has_shapes_worth_tuning_and_each_can_be_made():
    for name, op in OPERATORS.items():
        found = list(tuning.shapes(name))
        assert len(found) >= 3 and all(set(dims) == set(op.dims) for dims in found)
        smallest = min(found, key=lambda dims: int(np.prod(list(dims.values()))))
        assert op.dims_of(op.sample(smallest)) == smallest


@pytest.mark.parametrize("value", ["0", "-1", "two", ""])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv(threads.VARIABLE, value)
    with pytest.raises(ValueError, match=threads.VARIABLE):
        threads.count()


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of one quick fake device and one that is absent, kept in its own home."""
    held, absent = Registry(), VanishingDevice("away")
    held.add(FakeDevice("gadget", operators=("layernorm_residual",)))
    absent.gone = True
    held.add(absent)
    profile = replace(cpu_profile(1), copy_gb_s=1.0)
    made = tuning.Library(
        held, profile, Autotuner(held, profile, TuneCache.for_device(profile, tmp_path), budget_s=0.001)
    )
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    for module in (tune, explain):
        monkeypatch.setattr(module.tuning, "library", lambda: made)
    monkeypatch.setattr(listing.registry, "load", lambda: held)
    return tmp_path


def told(*words):
    out = StringIO()
    call_command("hal", *words, stdout=out)
    return out.getvalue()


def test_backends_are_listed_with_what_they_do_or_why_not(library):
    text = told("list", "--operators")
    assert (
        "gadget           cpu       1 implementations" in text
        and "layernorm_residual   gadget/float32" in text
    )
    assert "away             cpu       SKIPPED (not present)    unplugged" in text


def test_tuning_measures_and_keeps_what_the_page_reads(library):
    text = told("tune", "--operator", "layernorm_residual")
    assert "T1024-D384" in text and "gadget/float32" in text
    ((profile, entries),) = device_tables(library)
    assert {entry.bucket for entry in entries} == {"T1-D384", "T64-D384", "T1024-D384"}
    assert [(row["name"], row["present"]) for row in kept_backends(library)] == [
        ("gadget", True),
        ("away", False),
    ]


def test_an_explanation_names_the_choice_and_the_absent(library):
    text = told("explain", "layernorm_residual", "T=3", "D=16")
    assert "layernorm_residual on T4-D16" in text
    assert "gadget/float32 (1) is chosen" in text and "away: not present: unplugged" in text


def test_the_backends_that_are_looked_for_are_the_modules_that_are_there():
    held = registry.load()
    assert {"torch", "onnxruntime", "openvino", "onnx-reference", "migraphx", "cann"} <= set(held.backends)
