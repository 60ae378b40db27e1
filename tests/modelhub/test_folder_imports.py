"""Folders that wait in the imports: listed without loading, taken in by a job, by whoever keeps all models, from nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from safetensors.numpy import save_file

from modelhub import artifacts
from modelhub.models import Deployment
from modelhub.services import folder_imports
from modelhub.tasks import run_job
from switchyard.jobs.models import Job
from tests import factories
from tests.switchyard.api.company import Company, make_company

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.HOME = tmp_path
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    good = tmp_path / "imports/tiny-moe"
    good.mkdir(parents=True)
    config = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 4}
    (good / "config.json").write_text(json.dumps(config))
    save_file({"a": np.zeros((3, 4), np.float32)}, good / "model.safetensors")
    bad = tmp_path / "imports/old"
    bad.mkdir()
    (bad / "pytorch_model.bin").write_bytes(b"\x80\x04")
    os.symlink("/etc", tmp_path / "imports/link")
    return tmp_path


@pytest.fixture
def company(home: Path) -> Company:
    return make_company()


def test_what_waits_is_told_with_its_size_and_what_is_wrong_with_it(company: Company):
    found = {row["folder"]: row for row in company.alice.get("deployments/folders")["results"]}
    assert found["tiny-moe"]["parameters"] == 12 and found["tiny-moe"]["errors"] == []
    assert found["tiny-moe"]["architecture"] == "Qwen3MoeForCausalLM"
    assert "pytorch_model.bin" in {fault["path"] for fault in found["old"]["errors"]}
    assert found["link"]["errors"][0]["message"] == "is no folder"


def test_a_job_takes_a_folder_in_and_its_deployment_waits_for_a_server(company: Company, home: Path):
    body = {"folder": "tiny-moe", "name": "tiny"}
    job = Job.objects.get(pk=company.alice.post("deployments/import", body, expect=202)["job"])
    assert company.alice.post("deployments/import", body, expect=202)["job"] == job.pk
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result) == ("succeeded", {"deployment": "tiny"}), job.error
    row = Deployment.objects.get(name="tiny")
    assert (row.organisation, row.enabled, row.side) == (company.organisation, False, "private")
    assert artifacts.verify(home / "artifacts/tiny")["parameters"]["total"] == 12
    refused = company.alice.post("deployments/import", body, expect=409)
    assert refused["code"] == "name_taken"


def test_a_cancelled_import_leaves_nothing_behind(
    company: Company, home: Path, monkeypatch: pytest.MonkeyPatch
):
    job = folder_imports.start_import(
        organisation=company.organisation, folder="tiny-moe", name="tiny", user=None,
        base_url="http://127.0.0.1:8001/v1",
    )  # fmt: skip
    monkeypatch.setattr("switchyard.jobs.runner.Context.should_stop", lambda self: True)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state != "succeeded"
    assert not Deployment.objects.filter(name="tiny").exists()
    assert [path.name for path in (home / "artifacts").iterdir() if "tiny" in path.name] == []


@pytest.mark.parametrize("folder", ["../imports/tiny-moe", "/etc", "link", ".", "nobody", "a/b", "x" * 121])
def test_no_other_place_of_the_machine_can_be_named(company: Company, folder: str):
    company.alice.post("deployments/import", {"folder": folder, "name": "tiny"}, expect=400)
    assert not Job.objects.exists()


def test_what_could_run_code_is_refused_before_a_job_is_made(company: Company):
    refused = company.alice.post("deployments/import", {"folder": "old", "name": "old"}, expect=400)
    assert "can run code" in json.dumps(refused["errors"])
    assert not Job.objects.exists()


def test_who_keeps_one_line_of_business_takes_nothing_in(company: Company):
    company.bob.get("deployments/folders", expect=403)
    company.bob.post("deployments/import", {"folder": "tiny-moe", "name": "tiny"}, expect=403)
    viewer = company.person("vera", "viewer")
    viewer.get("deployments/folders", expect=403)
    viewer.post("deployments/import", {"folder": "tiny-moe", "name": "tiny"}, expect=403)
    assert not Job.objects.exists()


def page_of(name: str, company: Company, role: str, *lobs: Any) -> Client:
    client = Client()
    client.force_login(factories.make_user(name, company.organisation, role, lobs))
    return client


def test_the_page_lists_what_waits_and_starts_the_job(company: Company):
    client = page_of("emma", company, "model_engineer")
    text = client.get("/models/").content.decode()
    assert "tiny-moe" in text and "pytorch_model.bin" in text
    started = client.post("/models/import/", {"folder": "tiny-moe", "name": "tiny"})
    job = Job.objects.get(kind="import")
    assert started["location"].endswith(f"/jobs/{job.pk}/")
    assert (
        "tiny-moe"
        in client.post("/models/import/", {"folder": "gone", "name": "x"}, follow=True).content.decode()
    )


def test_the_page_shows_it_to_nobody_else(company: Company):
    neighbour = page_of("nora", company, "model_engineer", company.service)
    assert "tiny-moe" not in neighbour.get("/models/").content.decode()
    assert neighbour.post("/models/import/", {"folder": "tiny-moe", "name": "tiny"}).status_code == 404
    viewer = page_of("vera", company, "viewer")
    assert "tiny-moe" not in viewer.get("/models/").content.decode()
    assert viewer.post("/models/import/", {"folder": "tiny-moe", "name": "tiny"}).status_code == 403
    assert not Job.objects.exists()
