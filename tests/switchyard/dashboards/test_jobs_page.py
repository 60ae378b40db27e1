"""The page of jobs: rows and what was found in them, estimates, a job that is followed, and nothing of the neighbour's."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from modelhub.models import Dataset
from modelhub.services.datasets import upload
from modelhub.services.job_costs import USUAL_NS_PER_ROW
from switchyard.core.clock import now
from switchyard.jobs.models import Job
from tests import factories as make

pytestmark = pytest.mark.django_db
JOBS = "/jobs/"
ROWS = [(f"the {word} was fine", "positive" if i % 2 else "negative") for i, word in enumerate("abcdefghij")]


@pytest.fixture
def company(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    organisation = make.make_organisation()
    service, legal = make.make_lob(organisation), make.make_lob(organisation, "legal")
    make.make_workload(service, "support-sentiment")
    make.make_workload(legal, "triage")
    make.make_deployment(organisation, "private-sparse", "private")
    make.make_user("ann", organisation, "model_engineer", (service,))
    make.make_user("lena", organisation, "model_engineer", (legal,))
    return organisation


def client_of(name):
    client = Client()
    assert client.login(username=name, password="correct horse battery")
    return client


def content(rows=ROWS):
    return "\n".join(json.dumps({"text": t, "label": c}) for t, c in rows).encode()


def sent(client, rows=ROWS, **more):
    file = SimpleUploadedFile("ours.jsonl", content(rows))
    body = {
        "workload": "support-sentiment",
        "deployment": "private-sparse",
        "rows": file,
        "epochs": "auto",
    } | more
    return client.post(reverse("dashboards:job-start", args=["fine_tune"]), body)


def test_a_fine_tune_starts_with_its_settings_and_its_page_follows_it(company):
    ann = client_of("ann")
    reply = sent(ann, epochs="12", method="expert")
    job = Job.objects.get()
    assert reply.status_code == 302 and (job.params["epochs"], job.params["method"]) == (12, "expert")
    page = ann.get(reply["Location"])
    text = page.content.decode()
    last = job.events.last().pk
    assert f'data-stream="/api/v1/jobs/{job.pk}/events?stream=1&amp;after={last}"' in text
    assert "dashboards/jobs.js" in text and 'hx-trigger="moved"' in text
    assert "From rows to canary" in text and "Estimated cost" in text and "Held of the budgets" in text
    Job.objects.update(state="running", eta=now())
    assert "Expected end" in ann.get(reply["Location"], headers={"HX-Request": "true"}).content.decode()
    Job.objects.update(state="succeeded", finished_at=now(), eta=None, reserved_nusd=0)
    assert "data-stream" not in ann.get(reply["Location"]).content.decode(), "an ended job isn't followed"


def test_the_neighbours_job_and_rows_are_not_there(company):
    ann, lena = client_of("ann"), client_of("lena")
    where = sent(ann)["Location"]
    assert lena.get(where).status_code == 404
    listed = lena.get(JOBS).content.decode()
    assert "ours.jsonl" not in listed and Job.objects.get().pk[-8:] not in listed
    assert "ours.jsonl" in ann.get(JOBS).content.decode()
    assert sent(lena).status_code == 404, "nor may she train on their workload"


def test_uploaded_rows_say_what_was_left_out_and_found(company):
    workload = Dataset._meta.get_field("workload").related_model.objects.get(name="support-sentiment")
    rows = [*ROWS, ROWS[0], ("write to jo@example.com", "unsure")]
    upload(workload=workload, name="mixed.jsonl", content=content(rows), user=None)
    page = client_of("ann").get(JOBS).content.decode()
    for words in ("mixed.jsonl", "1 duplicates (lines 11)", "email: 12", "confidential", "unsure"):
        assert words in page


def test_every_kind_of_job_has_one_row_of_estimates(company):
    page = client_of("ann").get(JOBS)
    assert [row["kind"] for row in page.context["estimates"]] == sorted(USUAL_NS_PER_ROW)
    workload = Dataset._meta.get_field("workload").related_model.objects.get(name="support-sentiment")
    Job.objects.create(
        id="job_x", organisation=company, lob=workload.lob, kind="evaluation", state="succeeded", params={"rows": 100},
        accelerator_ns=500_000_000, estimated_nusd=100, cost_nusd=150, finished_at=now(),
    )  # fmt: skip
    rows = {row["kind"]: row for row in client_of("ann").get(JOBS).context["estimates"]}
    assert (
        rows["evaluation"]["measured"],
        rows["evaluation"]["ms_per_row"],
        rows["evaluation"]["ratio"],
    ) == (True, 5.0, 1.5)
    assert not client_of("lena").get(JOBS).context["estimates"][0]["jobs"]


def test_wrong_rows_come_back_with_their_lines(company):
    reply = sent(client_of("ann"), [*ROWS, ("THE a was fine", "positive")])
    assert reply.status_code == 400 and "has label &#x27;negative&#x27; in line 1" in reply.content.decode()
    assert not Dataset.objects.exists()
