"""Experiments by page and REST: the form's ways, a start by one click, figures side by side, the neighbour's 404."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient

from modelhub.models import Dataset, Experiment
from modelhub.services import job_costs
from modelhub.services.experiments import advance
from switchyard.core.errors import Conflict
from switchyard.jobs.models import Job
from switchyard.tenancy.services import create_token
from tests import factories
from tests.modelhub.recipes.test_experiment import table
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_versions import client_of

pytestmark = pytest.mark.django_db
ROWS = "text,label\n" + "".join(
    f"where is card {n},card_arrival\nmy pin {n} fails,change_pin\n" for n in range(8)
)
BOTH = ["as_is:private-sparse", "as_is:ext-mini"]


@pytest.fixture
def company(settings: Any, tmp_path: Path) -> Company:
    settings.MEDIA_ROOT = tmp_path
    return make_company(days=1)


@pytest.fixture
def emil(company: Company) -> Client:
    return client_of("emil", company, "model_engineer")


def figures(value: float, right: str, **more: Any) -> dict[str, Any]:
    return {
        "metric": "accuracy",
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "n": len(right),
        "correct": right.count("1"),
        "cost_nusd_per_1000": 2_000_000,
        "p50_ms": 2.0,
        "p99_ms": 3.0,
        "lead_s": 41.0,
    } | more


def finished(experiment: Experiment) -> Experiment:
    """As the measuring job leaves it."""
    for arm, right in zip(experiment.arms.all(), ("1110", "1111"), strict=True):
        arm.figures, arm.right = figures(right.count("1") / 4, right), right
        arm.save()
    pair = {"new": 1, "old": 0, "value": 0.25, "low": -0.2, "high": 0.7, "n": 4, "metric": "accuracy",
            "only_new_right": 1, "only_old_right": 0, "p_value": 1.0}  # fmt: skip
    Job.objects.filter(pk=experiment.job_id).update(
        state="succeeded", result={"winner": 1, "pairs": [pair], "n": 4, "metric": "accuracy"}
    )
    return advance(experiment)


def test_a_new_user_starts_one_by_a_click_and_reads_it_side_by_side(company: Company, emil: Client) -> None:
    page = emil.get("/experiments/new/?workload=support-intent").content.decode()
    assert "head:private-sparse" in page and "as_is:ext-mini" in page
    answer = emil.post(
        "/experiments/new/", {"workload": "support-intent", "arms": BOTH, "name": "which side"}
    )
    experiment = Experiment.objects.get()
    assert answer["location"] == f"/experiments/{experiment.pk}/"
    assert (experiment.state, experiment.created_by) == ("measuring", "emil")
    assert Job.objects.get(pk=experiment.job_id).kind == "experiment"
    assert "measuring" in emil.get(answer["location"]).content.decode()
    finished(experiment)
    part = emil.get(answer["location"], headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part and "hx-trigger" not in part
    for words in (
        "winner",
        "75",
        "0.25",
        "can&#x27;t be told apart",
        "split: { ext-mini: 0.1, private-sparse: 0.9 }",
    ):
        assert words in part, words
    assert "which side" in emil.get("/experiments/").content.decode()


def test_rows_are_uploaded_with_the_click_and_train_every_way_that_needs_them(
    company: Company, emil: Client
) -> None:
    body = {"workload": "support-intent", "arms": ["as_is:private-sparse", "head:private-sparse"]}
    refused = emil.post("/experiments/new/", body)
    assert refused.status_code == 400 and "needs rows" in refused.content.decode()
    bad = SimpleUploadedFile("rows.csv", b"text,label\n,missing\n")
    refused = emil.post("/experiments/new/", {**body, "rows": bad, "name": "by hand"})
    page = refused.content.decode()
    assert refused.status_code == 400 and "rows are wrong" in page and "line 2" in page
    assert 'value="by hand"' in page, "what was typed stays"
    assert not Experiment.objects.exists()
    emil.post("/experiments/new/", {**body, "rows": SimpleUploadedFile("rows.csv", ROWS.encode())})
    experiment = Experiment.objects.get()
    assert experiment.state == "training" and experiment.dataset.rows == 16
    trained = experiment.arms.get(method="head")
    assert Job.objects.get(pk=trained.job_id).params["method"] == "head"
    emil.post(f"/experiments/{experiment.pk}/cancel/")
    experiment.refresh_from_db()
    assert experiment.state == "cancelled" and Job.objects.get(pk=trained.job_id).state == "cancelled"
    assert Dataset.objects.count() == 1  # what was uploaded stays


def test_a_way_that_fails_is_said_and_the_others_go_on(company: Company, emil: Client) -> None:
    arms = [*BOTH, "head:private-sparse"]
    rows = SimpleUploadedFile("rows.csv", ROWS.encode())
    emil.post("/experiments/new/", {"workload": "support-intent", "arms": arms, "rows": rows})
    experiment = Experiment.objects.get()
    failing = experiment.arms.get(method="head")
    Job.objects.filter(pk=failing.job_id).update(state="failed", error="the loss is no number")
    assert advance(experiment).state == "measuring"
    page = emil.get(f"/experiments/{experiment.pk}/").content.decode()
    assert "the loss is no number" in page and f"/jobs/{failing.job_id}/" in page, (
        "what it found is one click away"
    )


def test_what_failed_is_tried_again_and_what_was_trained_is_kept(company: Company, emil: Client) -> None:
    arms = [*BOTH, "head:private-sparse", "lora:private-sparse"]
    rows = SimpleUploadedFile("rows.csv", ROWS.encode())
    emil.post("/experiments/new/", {"workload": "support-intent", "arms": arms, "rows": rows})
    experiment = Experiment.objects.get()
    head, lora = (experiment.arms.get(method=method) for method in ("head", "lora"))
    assert emil.post(f"/experiments/{experiment.pk}/retry/").status_code == 302
    assert Experiment.objects.get().state == "training", "one that is under way goes on as it was"
    made = factories.make_version(head.deployment, experiment.workload, "candidate", version="ft-1")
    Job.objects.filter(pk=head.job_id).update(state="succeeded", result={"candidate": made.pk})
    Job.objects.filter(pk=lora.job_id).update(state="failed", error="the disk is full")
    measuring = advance(experiment).job_id
    Job.objects.filter(pk=measuring).update(state="failed", error="ext-mini did not answer")
    assert advance(experiment).state == "failed"
    page = emil.get(f"/experiments/{experiment.pk}/").content.decode()
    assert "ext-mini did not answer" in page and f"/experiments/{experiment.pk}/retry/" in page

    emil.post(f"/experiments/{experiment.pk}/retry/")
    experiment.refresh_from_db()
    assert (experiment.state, experiment.error, experiment.finished_at) == ("training", "", None)
    assert (
        Job.objects.get(pk=lora.job_id).state == "queued"
        and Job.objects.get(pk=head.job_id).state == "succeeded"
    )
    assert (
        experiment.arms.get(method="lora").error == "" and experiment.arms.get(method="head").version == made
    )
    Job.objects.filter(pk=lora.job_id).update(state="failed", error="again")
    experiment = advance(experiment)
    assert experiment.state == "measuring" and experiment.job_id != measuring


def test_what_cannot_be_measured_ends_in_words_and_holds_up_nobody_else(
    company: Company, emil: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_price(**_: Any) -> int:
        raise Conflict("ext-mini has no price in force.", code="no_price")

    monkeypatch.setattr(job_costs, "estimate", no_price)
    emil.post("/experiments/new/", {"workload": "support-intent", "arms": BOTH})
    experiment = Experiment.objects.get()
    assert (experiment.state, experiment.error) == ("failed", "ext-mini has no price in force.")
    monkeypatch.undo()
    emil.post(f"/experiments/{experiment.pk}/retry/")
    assert Experiment.objects.get().state == "measuring"


def test_the_neighbour_meets_404_and_a_reader_starts_nothing(company: Company) -> None:
    legal = client_of("lena", company, "model_engineer", "legal")
    legal.post("/experiments/new/", {"workload": "contract-clauses", "arms": BOTH})
    experiment = Experiment.objects.get()
    bob, vera = (
        client_of("bob", company, "model_engineer", "customer-service"),
        client_of("vera", company, "viewer"),
    )
    assert bob.get(f"/experiments/{experiment.pk}/").status_code == 404
    assert bob.post(f"/experiments/{experiment.pk}/cancel/").status_code == 404
    assert bob.post(f"/experiments/{experiment.pk}/retry/").status_code == 404
    assert "contract-clauses" not in bob.get("/experiments/").content.decode()
    assert vera.get("/experiments/new/").status_code == 403
    assert vera.get(f"/experiments/{experiment.pk}/").status_code == 200
    dataset = Dataset.objects.create(
        id="data_legal", organisation=company.organisation, lob=company.lobs["legal"], name="x", path="x", digest="0", rows=9,
        workload=company.workloads["legal"],
    )  # fmt: skip
    body = {
        "workload": "support-intent",
        "arms": ["as_is:private-sparse", "head:private-sparse"],
        "dataset": dataset.pk,
    }
    assert bob.post("/experiments/new/", body).status_code == 404


def test_the_same_over_rest(company: Company) -> None:
    client = APIClient()
    emil = factories.make_user(
        "emil", company.organisation, "model_engineer", (company.lobs["customer-service"],)
    )
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {create_token(user=emil, name='t')[1]}")
    options = client.get("/api/v1/experiments/options?workload=support-intent").json()["results"]
    assert {"as_is:private-sparse", "head:private-sparse"} <= {row["key"] for row in options}
    assert client.get("/api/v1/experiments/options?workload=contract-clauses").status_code == 400
    made = client.post("/api/v1/experiments", {"workload": "support-intent", "arms": BOTH}, "json")
    assert made.status_code == 201, made.content
    experiment = finished(Experiment.objects.get(pk=made.json()["id"]))
    told = client.get(f"/api/v1/experiments/{experiment.pk}").json()
    assert told["result"]["winner"] == 1 and told["arms"][1]["figures"]["value"] == 1.0
    for action in ("cancel", "retry"):
        assert client.post(f"/api/v1/experiments/{experiment.pk}/{action}", {}, "json").status_code == 409
    for wrong in ({"workload": "support-intent"}, {"workload": "contract-clauses", "arms": BOTH},
                  {"workload": "support-intent", "arms": ["as_is:private-sparse", "as_is:mars"]}):  # fmt: skip
        assert client.post("/api/v1/experiments", wrong, "json").status_code == 400


def test_records_of_a_table_come_in_by_rest_as_by_the_page(company: Company) -> None:
    lob = factories.make_lob(company.organisation, "plant")
    factories.make_workload(lob, "equipment-fault", task="prediction", metric="pr_auc")
    client = APIClient()
    emil = factories.make_user("emil", company.organisation, "model_engineer", (lob,))
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {create_token(user=emil, name='t')[1]}")

    def send(content: bytes, name: str = "plant.csv") -> Any:
        body = {"workload": "equipment-fault", "file": SimpleUploadedFile(name, content)}
        return client.post("/api/v1/datasets", body, "multipart")

    made = send(table(60))
    assert made.status_code == 201, made.content
    assert Dataset.objects.get(pk=made.json()["id"]).workload.name == "equipment-fault"
    wrong = send(table(60) + b"M,hot,310,1500,40,5,0\n").json()
    assert "expected a number" in wrong["errors"][0]["message"]
    assert "workbook" in send(b"PK\x03\x04" + bytes(99), "plant.xlsx").json()["title"]
    assert Dataset.objects.count() == 1
