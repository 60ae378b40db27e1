"""Fine-tunes by REST: every setting, lead time, deleting rows, a job's log as server-sent events."""

import asyncio
import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient

from modelhub.models import Canary, Dataset, GateReport, ModelVersion
from switchyard.core.clock import now
from switchyard.jobs import services, streaming
from switchyard.jobs.models import Job, JobEvent
from switchyard.tenancy.services import create_token
from tests import factories
from tests.switchyard.api.company import Company, make_company

ROWS = "".join(
    f'{{"text": "question {n}", "label": "{"a" if n % 2 else "b"}"}}\n' for n in range(12)
).encode()


@pytest.fixture
def lab(company: Company, settings: Any, tmp_path: Any) -> Company:
    settings.MEDIA_ROOT = tmp_path
    factories.make_workload(company.service, "triage")
    factories.make_deployment(company.organisation, "home-a", side="private", model="txt-base")
    return company


def uploaded(company: Company) -> str:
    body = {"workload": "triage", "file": SimpleUploadedFile("rows.jsonl", ROWS)}
    return company.alice.client.post("/api/v1/datasets/", body, format="multipart").json()["id"]


def started(company: Company, **more: Any) -> Job:
    body = {"dataset": uploaded(company), "deployment": "home-a"} | more
    return Job.objects.get(pk=company.alice.post("fine-tunes", body, expect=202)["job"])


def test_every_setting_reaches_the_recipe(lab: Company):
    job = started(
        lab, epochs="7", seed=3, method="expert", batch_size=16, learning_rate_multiplier=0.5, suffix="ours",
        validation_dataset=None,
    )  # fmt: skip
    told = {
        name: job.params[name]
        for name in ("epochs", "seed", "method", "batch_size", "learning_rate_multiplier", "suffix")
    }
    assert told == {
        "epochs": 7, "seed": 3, "method": "expert", "batch_size": 16, "learning_rate_multiplier": 0.5, "suffix": "ours",
    }  # fmt: skip
    shown = lab.alice.get(f"fine-tunes/{job.pk}")
    assert float(shown["reserved_usd"]) == float(shown["estimated_usd"]) > 0
    again = started(lab)
    assert again.params["batch_size"] == "auto" and again.pk != job.pk


@pytest.mark.parametrize(
    ("more", "path"),
    [({"epochs": "0"}, "epochs"), ({"method": "magic"}, "method"), ({"batch_size": 0}, "batch_size"),
     ({"learning_rate_multiplier": "fast"}, "learning_rate_multiplier"), ({"suffix": "a b c!"}, "suffix"),
     ({"colour": 1}, "colour")],
)  # fmt: skip
def test_settings_that_cannot_be_are_named(lab: Company, more: Any, path: str):
    body = {"dataset": uploaded(lab), "deployment": "home-a"} | more
    refused = lab.alice.post("fine-tunes", body, expect=400)
    assert path in json.dumps(refused) and not Job.objects.exists()


def test_what_policy_lets_nobody_train_on_is_not_trained_on_at_home_either(lab: Company):
    body = {"dataset": uploaded(lab), "deployment": "home-a"}
    factories.make_policy(
        lab.organisation,
        'invariants: [{name: no lessons, never: \'hop == "training" && target.side == "private"\'}]\ndefault: deny\n',
    )
    refused = lab.alice.post("fine-tunes", body, expect=403)
    assert "no lessons" in json.dumps(refused) and not Job.objects.exists()


def test_the_lead_time_goes_from_rows_to_canary(lab: Company):
    job = started(lab)
    first = lab.alice.get(f"fine-tunes/{job.pk}")["lead_time"]
    assert [step["step"] for step in first["steps"]] == [
        "uploaded",
        "submitted",
        "started",
        "trained",
        "judged",
        "canary",
    ]
    assert [step["at"] is not None for step in first["steps"]] == [True, True, False, False, False, False]
    version = ModelVersion.objects.create(
        deployment_id=factories.Deployment.objects.get().pk, workload=Dataset.objects.get().workload, version="ft-1",
        upstream_model="x", lineage={"job": job.pk},
    )  # fmt: skip
    at = now()
    Job.objects.filter(pk=job.pk).update(
        started_at=at, marks={"trained": at.isoformat()}, result={"candidate": version.pk}, state="succeeded",
        finished_at=at,
    )  # fmt: skip
    GateReport.objects.create(version=version)
    Canary.objects.create(
        version=version, deployment=version.deployment, workload=version.workload, percent=10
    )
    told = lab.alice.get(f"fine-tunes/{job.pk}")["lead_time"]
    assert told["complete"] and all(step["at"] for step in told["steps"])
    assert told["total_seconds"] == pytest.approx(
        sum(step["seconds"] or 0 for step in told["steps"]), abs=0.01
    )
    assert "lead_time" not in lab.alice.get("fine-tunes")["results"][0]


def test_rows_are_deleted_by_their_own_and_never_by_the_neighbour(lab: Company):
    dataset = uploaded(lab)
    legal = lab.person("lena", "model_engineer", lab.legal)
    legal.delete(f"datasets/{dataset}", expect=404)
    job = started(lab, dataset=dataset)
    assert lab.alice.delete(f"datasets/{dataset}", expect=409)["code"] == "in_use"
    services.cancel(job=job, user=None)
    lab.alice.delete(f"datasets/{dataset}")
    assert not Dataset.objects.filter(pk=dataset).exists()
    assert lab.alice.get(f"fine-tunes/{job.pk}")["lead_time"]["steps"][0]["at"] is None


async def stream_of(token: str, job_id: str, query: str = "") -> tuple[int, str]:
    client = AsyncClient()
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    reply = await client.get(f"/api/v1/jobs/{job_id}/events?stream=1{query}", headers=headers)
    if not reply.streaming:
        return reply.status_code, reply.content.decode()
    return reply.status_code, b"".join([part async for part in reply.streaming_content]).decode()


@pytest.mark.django_db(transaction=True)
def test_a_log_is_streamed_until_the_job_ends_and_goes_on_where_a_reader_was(
    settings: Any, tmp_path: Any, monkeypatch: Any
):
    monkeypatch.setattr(streaming, "LOOK_S", 0.01)
    company = make_company()
    job = services.submit_once(
        kind="evaluation", organisation=company.organisation, lob=company.service, params={}
    )
    looks, look = [], streaming._look

    def then_it_ends(*args: Any) -> Any:
        looks.append(1)
        if len(looks) == 3:
            JobEvent.objects.create(job=job, message="half way", data={"loss": 1.5})
        if len(looks) == 5:
            services.cancel(job=job, user=None)
        return look(*args)

    monkeypatch.setattr(streaming, "_look", then_it_ends)
    alice = create_token(user=factories.make_user("ann", company.organisation, "admin"), name="t")[1]
    status, text = asyncio.run(stream_of(alice, job.pk))
    assert status == 200 and text.endswith("event: end\ndata: {}\n\n")
    data = [json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"')]
    messages = [frame["event"]["message"] for frame in data if "event" in frame]
    assert messages == ["submitted", "half way", "cancel requested"]
    assert [frame["job"]["state"] for frame in data if "job" in frame] == ["queued", "cancelled"]
    second = JobEvent.objects.get(message="half way").pk
    _, rest = asyncio.run(stream_of(alice, job.pk, f"&after={second}"))
    assert "half way" not in rest and "cancel requested" in rest
    lena = create_token(
        user=factories.make_user("lena", company.organisation, "viewer", (company.legal,)), name="t"
    )[1]
    status, problem = asyncio.run(stream_of(lena, job.pk))
    assert status == 404 and "submitted" not in problem
