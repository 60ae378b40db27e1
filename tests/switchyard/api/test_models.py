"""Deployments that may be called, data sets checked line by line, jobs that answer 202, versions that go live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from modelhub.models import Dataset
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from tests import factories
from tests.modelhub.services.verdicts import make_report
from tests.switchyard.api.company import Company

ROWS = "".join(
    f'{{"text": "question {n}", "label": "{"a" if n % 2 else "b"}"}}\n' for n in range(12)
).encode()


@pytest.fixture
def media(settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.MEDIA_ROOT = tmp_path
    yield tmp_path


@pytest.fixture
def lab(company: Company, media: Path) -> Company:
    factories.make_workload(company.service, "triage")
    factories.make_deployment(company.organisation, "home-a", side="private", model="txt-base")
    factories.make_deployment(company.organisation, "ext-a")
    return company


def _upload(company: Company, content: bytes, name: str = "rows.jsonl", **fields: Any) -> Any:
    body = {"workload": "triage", "file": SimpleUploadedFile(name, content), **fields}
    return company.alice.client.post("/api/v1/datasets/", body, format="multipart")


@pytest.mark.parametrize(
    "url",
    ["ftp://x/v1", "vendor", "", "http://169.254.169.254/v1", "http://10.0.0.1/v1", "https://user:pw@vendor.example/v1", "http://[::1",
     "http://2130706433/v1", "https://", "http://127.0.0.1:99999/v1"],
)  # fmt: skip
def test_an_upstream_that_may_not_be_called_is_refused(company: Company, url: str):
    body = {"name": "v", "side": "external", "base_url": url, "model": "m", "tasks": ["chat"]}
    assert company.alice.post("deployments", body, expect=400)["errors"][0]["path"] == "base_url"


@pytest.mark.parametrize("tasks", [[], ["sing"], "chat", None, [1]])
def test_tasks_are_those_there_are(company: Company, tasks: Any):
    body = {
        "name": "v",
        "side": "external",
        "base_url": "http://127.0.0.1:1/v1",
        "model": "m",
        "tasks": tasks,
    }
    assert company.alice.post("deployments", body, expect=400)["errors"][0]["path"].startswith("tasks")


def test_a_private_deployment_names_its_node_and_has_no_sheet(company: Company):
    factories.make_node(company.organisation, "gpu-1")
    body = {
        "name": "v",
        "side": "private",
        "base_url": "http://127.0.0.1:1/v1/",
        "model": "m",
        "tasks": ["chat"],
    }
    made = company.alice.post("deployments", body | {"node": "gpu-1"})
    assert made["node"] == "gpu-1" and made["prices"] is None and made["base_url"] == "http://127.0.0.1:1/v1"
    company.alice.post("deployments", body | {"name": "w", "node": "gpu-2"}, expect=400)
    prices = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}
    company.alice.post("deployments", body | {"name": "w", "prices": prices}, expect=400)


def test_rows_are_uploaded_and_start_a_fine_tune(lab: Company):
    response = _upload(lab, ROWS)
    assert response.status_code == 201, response.content
    dataset = response.json()
    assert dataset["rows"] == 12 and dataset["labels"] == ["a", "b"] and dataset["lob"] == "customer-service"
    body = {"dataset": dataset["id"], "deployment": "home-a", "epochs": "3"}
    started = lab.alice.post("fine-tunes", body, expect=202)
    assert list(started) == ["job"]
    job = lab.alice.get(f"jobs/{started['job']}")
    assert (job["kind"], job["state"], job["lob"], job["cost_usd"]) == (
        "fine_tune",
        "queued",
        "customer-service",
        "0.00",
    )
    assert lab.alice.get("fine-tunes")["results"][0]["id"] == job["id"]
    assert lab.bob.get(f"fine-tunes/{job['id']}")["created_by"] == "alice"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b'{"text": 1}\n',
        b"[]\n" * 9,
        b'{"text": "a", "label": "b"}\n',
        ROWS + b'{"text": "\\ud800", "label": "a"}\n',
        ROWS + b'{"text": "x\\u0000", "label": "a"}\n',
        ROWS + b'{"text": "question 1", "label": "zz"}\n',
        ROWS + b"[" * 5000 + b"\n",
    ],
)
def test_rows_that_are_wrong_are_refused_and_nothing_is_kept(lab: Company, content: bytes):
    response = _upload(lab, content)
    assert response.status_code == 400 and response.json()["errors"]
    assert not Dataset.objects.exists()


def test_csv_faults_are_named(lab: Company):
    wrong = [
        b"a,b\n1,2\n",
        b'text,label\n"' + b"x" * 200_000 + b'",a\n',
        b"text,label\nx\x00,y\n",
        b'text,label\n"open',
    ]
    for content in wrong:
        assert _upload(lab, content, "rows.csv").status_code == 400, content[:30]
    good = "text,label\n" + "".join(f'"says ""{n}""",{"ab"[n % 2]}\n' for n in range(9))
    assert _upload(lab, good.encode(), "rows.csv").status_code == 201


def test_an_upload_without_a_file_is_refused(lab: Company):
    for body in (
        {"workload": "triage"},
        {"workload": "triage", "file": "rows"},
        {"file": None},
        {"workload": "triage", "colour": 1},
    ):
        assert lab.alice.post("datasets", body, expect=400)["errors"]


def test_long_work_answers_202_with_its_job(lab: Company):
    factories.make_workload(lab.service, "support-intent")  # one with held-back rows
    for resource, body, kind in (
        ("evaluations", {"workload": "support-intent", "deployment": "ext-a", "limit": 10}, "evaluation"),
        ("audits/", {"workload": "support-intent", "teacher": "home-a", "student": "ext-a"}, "bias_audit"),
    ):
        job = lab.alice.post(resource, body, expect=202)["job"]
        assert lab.alice.get(f"jobs/{job}")["kind"] == kind
        assert lab.alice.post(resource, body, expect=202)["job"] == job  # the same work runs once
    assert {row["kind"] for row in lab.alice.get("jobs", state="queued")["results"]} == {
        "evaluation",
        "bias_audit",
    }


def test_work_that_cannot_be_done_is_refused(lab: Company):
    chat = factories.make_workload(lab.service, "talk", task="chat")
    lab.alice.post("evaluations", {"workload": chat.name, "deployment": "ext-a"}, expect=400)
    lab.alice.post("audits", {"workload": chat.name}, expect=400)
    lab.alice.post("audits", {"workload": "triage", "teacher": "nobody"}, expect=400)
    _upload(lab, ROWS)
    dataset = Dataset.objects.get()
    # A vendor's training is decided by policy first, and there is none.
    assert (
        lab.alice.post("fine-tunes", {"dataset": dataset.pk, "deployment": "ext-a"}, expect=403)["code"]
        == "policy_denied"
    )
    for body in (
        {"deployment": "home-a", "epochs": "many"},
        {"deployment": "home-a", "seed": -1},
    ):
        lab.alice.post("fine-tunes", {"dataset": dataset.pk} | body, expect=400)


def test_a_job_is_paused_resumed_cancelled_retried_and_tells_its_story(company: Company):
    job = submit_once(kind="evaluation", organisation=company.organisation, lob=company.service, params={})
    path = f"jobs/{job.pk}"
    states = [
        company.bob.post(f"{path}/{verb}", {}, expect=200)["state"]
        for verb in ("pause", "resume", "cancel", "retry")
    ]
    assert states == ["paused", "queued", "cancelled", "queued"]
    assert company.bob.post(f"{path}/resume/", {}, expect=409)["code"] == "illegal_state"
    story = [row["message"] for row in company.bob.get(f"{path}/events")["results"]]
    assert story == ["retried", "cancel requested", "resumed", "pause requested", "submitted"]
    company.person("vera", "viewer").post(f"{path}/cancel", {}, expect=403)
    assert Job.objects.get(pk=job.pk).state == "queued"


def test_a_version_is_promoted_and_a_worse_one_only_with_a_reason(lab: Company):
    from modelhub.models import Deployment
    from switchyard.tenancy.models import Workload

    deployment, workload = Deployment.objects.get(name="home-a"), Workload.objects.get(name="triage")
    live = factories.make_version(deployment, workload)
    candidate = factories.make_version(deployment, workload, "candidate", version="ft-1")
    make_report(candidate, accuracy="fail")
    path = f"models/{candidate.pk}/promote"
    assert lab.alice.post(path, {}, expect=409)["code"] == "gate_failed"
    for wrong in ([], {"reason": ["x"]}, {"colour": 1}):
        lab.alice.post(path, wrong, expect=400)
    assert lab.alice.post(path, {"reason": "cheaper"}, expect=200)["stage"] == "live"
    assert lab.alice.get(f"models/{live.pk}")["stage"] == "retired"
    assert [
        row["version"] for row in lab.alice.get("models", workload="triage", stage="live")["results"]
    ] == ["ft-1"]
    lab.alice.post(f"models/{live.pk}/reject", {}, expect=409)
