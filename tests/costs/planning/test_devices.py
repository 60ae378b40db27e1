"""Device files are whole and say where they come from; the roofline by hand; what providers don't run stays on the CPU."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from costs.planning.devices import FOLDER, MEASURED, attained, carry, load

DEVICES = load()


@pytest.mark.parametrize("name", sorted(DEVICES.profiles))
def test_every_device_says_who_measured_it_when_and_what_is_assumed(name: str) -> None:
    profile = DEVICES.profiles[name]
    assert profile.origin == ("measured" if name == MEASURED else "vendor")
    assert len(profile.source) > 40 and profile.date.year >= 2026
    if profile.price_usd is not None:
        assert profile.price_source.startswith("assumption")
    assert profile.price_usd is not None or profile.cloud_usd_per_hour is not None, "it must be had somehow"


def test_the_six_device_classes_are_there_and_amd_has_no_tf32() -> None:
    assert set(DEVICES.profiles) == {
        "cpu-2vcpu", "nvidia-l4", "nvidia-a100-80gb", "nvidia-h100-pcie", "amd-mi250x", "ascend-910b",
    }  # fmt: skip
    assert "tf32" not in DEVICES.profiles["amd-mi250x"].tera
    assert DEVICES.profiles["amd-mi250x"].precision("tf32") == "fp32"
    assert DEVICES.profiles["nvidia-h100-pcie"].precision("tf32") == "tf32"
    assert DEVICES.profiles["ascend-910b"].precision("fp32") == "bf16", (
        "its cube units have no single precision"
    )


def test_every_provider_says_native_fallback_or_missing_for_every_operator() -> None:
    assert set(DEVICES.providers) == {"CPU", "CUDA/TensorRT", "MIGraphX", "CANN", "OpenVINO"}
    for provider in DEVICES.providers.values():
        assert set(provider.coverage) == set(DEVICES.operators)
        assert provider.source and provider.date
        assert provider.origin == ("measured" if provider.id == "CPU" else "vendor documentation")


def test_the_roofline_is_bound_by_memory_below_the_ridge_and_by_compute_above() -> None:
    l4, operators = DEVICES.profiles["nvidia-l4"], DEVICES.operators
    assert attained(l4, operators["matmul"], "tf32", 1.0) == 8 * 300, "8 operations a byte at 300 GB/s"
    dense = replace(operators["matmul"], flop_per_byte=10_000)
    assert attained(l4, dense, "tf32", 1.0) == 60_000
    assert attained(l4, dense, "tf32", 0.5) == 30_000


def test_the_measured_device_takes_what_was_measured() -> None:
    own = carry(DEVICES, DEVICES.profiles[MEASURED], precision="tf32", efficiency=0.01)
    assert (own.share, own.fallback_share) == (1.0, 0.0)


def test_work_on_missing_operators_takes_as_long_as_on_the_cpu() -> None:
    amd = carry(DEVICES, DEVICES.profiles["amd-mi250x"], precision="tf32", efficiency=1.0)
    experts = DEVICES.operators["moe_experts"].share
    assert amd.missing == ("moe_experts",) and amd.fallback == ()
    assert amd.fallback_share == experts
    assert amd.share > experts and amd.fallback_time_share == pytest.approx(experts / amd.share)
    cann = carry(DEVICES, DEVICES.profiles["ascend-910b"], precision="tf32", efficiency=1.0)
    on_cpu = 1 - DEVICES.operators["matmul"].share - DEVICES.operators["ffn_gelu"].share
    assert cann.fallback_share == pytest.approx(on_cpu)


def test_a_share_by_hand() -> None:
    """L4 at full efficiency: compute-bound 113 GFLOP/s on the CPU against 2,400 for 8 operations a byte; the rest by
    bandwidth, 79.2 against 1,200 at 4 operations a byte, and 19.8 against 300 below."""
    mix = {name: operator.share for name, operator in DEVICES.operators.items()}
    by_hand = (mix["matmul"] + mix["ffn_gelu"]) * 113 / 2400
    by_hand += (1 - mix["matmul"] - mix["ffn_gelu"]) * 19.8 / 300
    found = carry(DEVICES, DEVICES.profiles["nvidia-l4"], precision="tf32", efficiency=1.0)
    assert found.share == pytest.approx(by_hand)


def test_eight_bits_move_products_to_the_eight_bit_operator() -> None:
    assert carry(DEVICES, DEVICES.profiles["ascend-910b"], precision="int8", efficiency=1.0).missing == (
        "int8_matmul", "int8_matmul", "moe_experts",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [({"origin": "hearsay"}, "origin"), ({"watts": 0}, "above zero"), ({"provider": "Nobody"}, "no provider"),
     ({"date": "soon"}, "isoformat"), ({"watts": None, "drop": "watts"}, "missing")],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_by_name(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    shutil.copytree(FOLDER, tmp_path / "devices")
    path = tmp_path / "devices" / "profiles" / "nvidia-l4.json"
    row = json.loads(path.read_text("utf-8")) | change
    if "drop" in row:
        del row[row.pop("drop")]
    path.write_text(json.dumps(row), "utf-8")
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "devices")
