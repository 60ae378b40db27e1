"""Compressions over REST and from the page of jobs: roles, bad input, and the neighbour who sees nothing."""

import pytest

from modelhub.ml import datasets
from switchyard.jobs.models import Job
from tests import factories
from tests.switchyard.api.company import Company
from tests.switchyard.dashboards.company import make_company as make_pages
from tests.switchyard.dashboards.test_pages import client_of

BODY = {
    "workload": "support-intent",
    "deployment": "home-a",
    "width": "64",
    "paired": "true",
    "least_speedup": 2.0,
}


@pytest.fixture
def lab(company: Company) -> Company:
    factories.make_workload(company.service, "support-intent")
    factories.make_deployment(company.organisation, "home-a", side="private", model="txt-base")
    factories.make_deployment(company.organisation, "ext-a")
    return company


def test_a_compression_is_started_listed_and_told(lab: Company):
    started = lab.alice.post("compressions", BODY, expect=202)
    job = lab.alice.get(f"compressions/{started['job']}")
    assert (job["kind"], job["state"], job["lob"]) == ("compression", "queued", "customer-service")
    params = Job.objects.get(pk=job["id"]).params
    assert (params["width"], params["paired"], params["balanced"]) == (64, True, False)
    assert params["rows"] == len(datasets.load("support-intent", "train"))
    assert lab.alice.post("compressions", BODY, expect=202) == started  # the same again is the same job
    assert lab.alice.get("compressions")["results"][0]["id"] == job["id"]


def test_what_is_wrong_is_refused_with_where(lab: Company):
    for body in (
        {"workload": "nobody"}, {"deployment": "ext-a"}, {"deployment": "none"}, {"width": "63"}, {"epochs": 0},
        {"paired": "perhaps"}, {"least_share_of_teacher": 2}, {"surprise": 1}, {"version": "ft-none"},
    ):  # fmt: skip
        lab.alice.post("compressions", BODY | body, expect=400)
    lab.person("vera", "viewer").post("compressions", BODY, expect=403)
    assert not Job.objects.filter(kind="compression").exists()


def test_another_line_of_business_neither_starts_nor_sees_it(lab: Company):
    job = lab.alice.post("compressions", BODY, expect=202)["job"]
    other = factories.make_lob(lab.organisation, "elsewhere")
    neighbour = lab.person("nora", "model_engineer", other)
    neighbour.get(f"compressions/{job}", expect=404)
    assert neighbour.get("compressions")["results"] == []
    neighbour.post("compressions", BODY, expect=400)  # the workload doesn't exist for her


def test_the_form_on_the_page_of_jobs_starts_one_and_its_page_reads_a_report(db):
    company = make_pages(days=1)
    client = client_of("emil", company, "model_engineer")
    page = client.get("/jobs/").content.decode()
    assert "Compress a model" in page and "/compressions/start/" in page
    values = {
        "workload": "support-intent",
        "deployment": "private-sparse",
        "width": "32",
        "least_share": "95",
    }
    answer = client.post("/compressions/start/", values)
    assert answer.status_code == 302, answer.content
    job = Job.objects.get(kind="compression")
    assert job.params["least_share_of_teacher"] == 0.95 and job.params["width"] == 32
    rate = {"value": 0.9, "low": 0.88, "high": 0.92, "n": 100}
    stages = {
        "teacher": {"accuracy": rate, "tfidf": rate}, "separation": {"experts": 36, "kept": 30, "agreement_merged": 0.98},
        "distillation": {"accuracy": rate, "share_of_teacher": 0.97, "teacher_agreement": rate, "shape": {"width": 32}},
        "int8": {
            "method": "entropy", "loss_points": {"value": 0.1, "low": 0, "high": 0.3}, "agreement": 0.99, "n": 50,
            "methods": {"entropy": {"reported": {"agreement": 0.99, "loss_points": {"value": 0.1}}, "bytes": 7}},
        },
        "operator": {"benign": rate, "planted": {"all": rate}},
    }  # fmt: skip
    front = [
        {
            "model": "student",
            "accuracy": 0.9,
            "nusd_per_1000": 5_000_000,
            "p50_ms": 0.2,
            "p99_ms": 0.4,
            "per_second": 9,
        }
    ]
    groups = {
        "groups": [
            {
                "group": "names: gender",
                "n": 40,
                "excess_gap": {"value": 0.01, "low": 0, "high": 0.03},
                "verdict": "pass",
            }
        ]
    }
    lost = {
        "answers_that_changed": 3,
        "right_before_wrong_now": 2,
        "wrong_before_right_now": 1,
        "of": 100,
        "note": "Facts.",
    }
    result = {"stages": stages, "front": front, "groups": groups, "did_not_survive": lost}
    Job.objects.filter(pk=job.pk).update(state="succeeded", result=result)
    text = client.get(f"/jobs/{job.pk}/").content.decode()
    for words in (
        "36 experts a block merged into 30",
        "entropy",
        "names: gender",
        "Of 100 answers 3 changed",
        "Facts.",
    ):
        assert words in text, words
    stopped = {"stage": "int8", "why": "8 bits cost 3 points"}
    Job.objects.filter(pk=job.pk).update(
        state="failed", result={"teacher": stages["teacher"], "stopped": stopped}
    )
    assert "8 bits cost 3 points" in client.get(f"/jobs/{job.pk}/").content.decode()


def test_roles_and_neighbours_on_the_page(db):
    company = make_pages(days=1)
    values = {"workload": "support-intent", "deployment": "private-sparse"}
    assert client_of("vera", company, "viewer").post("/compressions/start/", values).status_code == 403
    assert "Compress a model" not in client_of("vic", company, "viewer").get("/jobs/").content.decode()
    neighbour = client_of("nora", company, "model_engineer", "legal")
    assert neighbour.post("/compressions/start/", values).status_code == 404
    emil = client_of("emil", company, "model_engineer")
    assert emil.post("/compressions/start/", values | {"least_share": "many"}).status_code == 302
    assert not Job.objects.filter(kind="compression").exists()
