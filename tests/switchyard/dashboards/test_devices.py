"""Devices and operators, on their page and by REST: what was measured, what was chosen, what isn't here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from modelhub.hal import tune_cache
from modelhub.hal.profile import CapabilityProfile
from modelhub.hal.tune_cache import Measurement, TuneCache
from modelhub.selectors.devices import ANY, BOTH, SAME, candidates
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db

PROFILE = CapabilityProfile(
    name="Test CPU 9000", kind="cpu", cores=4, isa=("AVX2",), memory_bytes=8 * 2**30, dtypes=("float32",),
    providers=("CPUExecutionProvider",), copy_gb_s=12.5, matmul_gflop_s={"float32": 80.0}, date="2026-11-26",
)  # fmt: skip


def measured(implementation: str, ms: float | None, **changes: Any) -> Measurement:
    backend, dtype, *_ = implementation.split("/")
    made = Measurement(
        "moe_experts",
        "T64",
        implementation,
        backend,
        "cpu",
        dtype,
        "1",
        ms,
        0.1,
        9,
        2e-7,
        1e-5,
        "",
        True,
        "2026-11-26",
    )
    return replace(made, **changes)


ENTRIES = [
    measured("torch/float32/sorted", 2.0), measured("onnxruntime/float32", 1.0), measured("onnxruntime/int8", 0.25),
    measured("liar/float32", None, why="refused: error 3e-4, allowed 1e-05"), measured("torch/float32", 0.5, fused=False),
]  # fmt: skip


@pytest.fixture
def company(settings: Any, tmp_path: Path) -> Company:
    settings.HOME = tmp_path
    return make_company(days=1)


@pytest.fixture
def tuned(company: Company, tmp_path: Path) -> Company:
    TuneCache.for_device(PROFILE, tmp_path).put(ENTRIES, PROFILE)
    here = {
        "name": "onnxruntime",
        "device": "cpu",
        "present": True,
        "detail": "1",
        "version": "1",
        "implementations": 17,
    }
    away = {
        "name": "cann",
        "device": "ascend",
        "present": False,
        "detail": "no CANNExecutionProvider",
        "version": "",
    }
    tune_cache.keep_backends([here, away | {"implementations": 0}], tmp_path)
    return company


def test_the_quickest_exact_form_and_the_quickest_of_all_are_told_apart() -> None:
    rows = candidates(ENTRIES)
    assert {row.implementation: row.chosen for row in rows if row.fused} == {
        "onnxruntime/int8": ANY, "onnxruntime/float32": SAME, "torch/float32/sorted": "", "liar/float32": "",
    }  # fmt: skip
    assert [row.times for row in rows] == [0.25, 0.5, 1.0, 2.0, None]
    assert [row.chosen for row in candidates(ENTRIES[:2])] == [BOTH, ""]


def test_only_the_latest_version_of_an_implementation_counts() -> None:
    old = measured("onnxruntime/float32", 0.01, version="0", date="2026-01-01")
    assert [row.version for row in candidates([old, ENTRIES[1]])] == ["1"]


def test_before_anything_was_measured_the_page_says_what_to_run(company: Company) -> None:
    text = client_of("alice", company, "viewer").get("/devices/").content.decode()
    assert "manage.py hal tune" in text


def test_the_page_shows_profile_choices_and_what_is_not_here(tuned: Company) -> None:
    text = client_of("alice", tuned, "viewer").get("/devices/").content.decode()
    for word in (
        "Test CPU 9000",
        "12.5 GB/s",
        "80 GFLOP/s",
        "not present",
        "no CANNExecutionProvider",
        "same precision",
    ):
        assert word in text, word
    assert "refused: error 3e-4" in text and "unfused, for comparison" in text


def test_the_table_of_operators_is_there_as_csv(tuned: Company) -> None:
    answer = client_of("alice", tuned, "viewer").get("/devices/?csv=operators")
    assert answer["Content-Type"].startswith("text/csv")
    assert answer.content.decode().count("moe_experts") == 5


def test_a_file_that_is_not_whole_shows_as_nothing_measured(tuned: Company, tmp_path: Path) -> None:
    for path in (tmp_path / "hal").glob("*.json"):
        path.write_text("{")
    answer = client_of("alice", tuned, "viewer").get("/devices/")
    assert answer.status_code == 200 and "manage.py hal tune" in answer.content.decode()


def test_rest_gives_the_same_to_members_of_any_line_of_business_and_nothing_without_login(
    tuned: Company,
) -> None:
    client = client_of("bob", tuned, "viewer", "customer-service")
    (device,) = client.get("/api/v1/devices/").json()["results"]
    found = client.get(f"/api/v1/devices/{device['id']}/").json()
    assert found["profile"]["name"] == "Test CPU 9000"
    assert [row["chosen"] for row in found["candidates"]] == ["any precision", "", "same precision", "", ""]
    assert {row["name"]: row["present"] for row in found["backends"]} == {"onnxruntime": True, "cann": False}
    assert client.get("/api/v1/devices/cpu-00000000/").status_code == 404
    assert Client().get("/api/v1/devices/").status_code in (401, 403)
