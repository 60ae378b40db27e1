"""Recorded devices: every file reads, says where its figures come from, and says no figure twice."""

import json

import pytest

from costs.planning import devices
from modelhub.hal import profiles
from modelhub.hal.operators import OPERATORS
from modelhub.hal.profile import ProfileInvalid


@pytest.mark.parametrize("name", profiles.names())
def test_each_profile_says_its_origin_its_date_and_its_source(name):
    profile = profiles.load(name)
    assert (
        profile.origin in ("measured", "vendor") and profile.date >= "2026-01-01" and len(profile.source) > 20
    )
    assert profile.memory_bytes > 10**9 and profile.copy_gb_s > 1
    assert set(profile.matmul_gflop_s) == set(profile.dtypes)
    assert set(profile.matrix_units) <= set(profile.dtypes)
    assert profile.tf32 == ("tf32" in profile.dtypes)
    assert set(profiles.coverage(profile.kind)) >= set(OPERATORS)


def test_ascend_and_mi250x_carry_their_shapes_and_formats_and_have_no_tf32():
    ascend, mi250x = profiles.load("ascend-910b"), profiles.load("amd-mi250x")
    assert ascend.matrix_units["float16"] == (16, 16, 16) and ascend.matrix_units["int8"] == (16, 16, 32)
    assert mi250x.matrix_units["float32"] == (32, 32, 2) and mi250x.matrix_units["bfloat16"] == (32, 32, 8)
    assert not ascend.tf32 and not mi250x.tf32
    assert ascend.speed("float32") is None, "no rate is published, so none is made up"
    assert mi250x.speed("float32") == pytest.approx(95_700)
    assert ascend.simulated and mi250x.simulated
    assert profiles.coverage("ascend")["moe_experts"] == "missing"
    assert profiles.coverage("rocm")["attention"] == "native"


def test_figures_of_a_purchase_profile_stand_in_one_place():
    for name, device in devices.load().profiles.items():
        profile = profiles.load(name)
        assert profile.copy_gb_s == device.bandwidth_gb_s and profile.origin == device.origin
        body = json.loads((profiles.FOLDER / f"{name}.json").read_text())
        assert not {"copy_gb_s", "matmul_gflop_s", "memory_bytes", "origin"} & set(body)


def test_a_profile_that_is_not_there_or_not_whole_is_refused_by_name(tmp_path):
    with pytest.raises(ProfileInvalid, match="amd-mi250x"):
        profiles.load("mi250")
    (tmp_path / "odd.json").write_text('{"device": "amd-mi250x"}')
    with pytest.raises(ProfileInvalid, match="rates"):
        profiles.load("odd", tmp_path)
    (tmp_path / "cut.json").write_text("{")
    with pytest.raises(ProfileInvalid, match="cut"):
        profiles.load("cut", tmp_path)
    with pytest.raises(ProfileInvalid, match="tpu"):
        profiles.coverage("tpu")
