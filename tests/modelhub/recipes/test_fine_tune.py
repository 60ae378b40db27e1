import json

import pytest

from costs.models import LedgerEntry
from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.models import ModelVersion
from modelhub.recipes import fine_tune
from modelhub.services.datasets import upload
from modelhub.services.jobs import start_evaluation, start_fine_tune
from modelhub.services.promotion import promote
from modelhub.tasks import run_job
from switchyard.core.errors import InvalidRequest, PolicyDenied
from switchyard.jobs import runner
from switchyard.jobs.services import pause, resume
from tests.factories import make_workload

EPOCHS = 6


def rows_as_lines(n=48, extra=()):
    """Rows of the shipped training split as an upload."""
    train = datasets.load("support-sentiment", "train")
    pairs = [*zip(train.texts[:n], train.labels[:n], strict=True), *extra]
    return "\n".join(json.dumps({"text": text, "label": label}) for text, label in pairs).encode()


@pytest.fixture
def dataset(company, monkeypatch):
    monkeypatch.setattr(fine_tune, "MOST_JUDGED", 64)
    return upload(workload=company.sentiment, name="ours.jsonl", content=rows_as_lines(), user=None)


def test_rows_become_a_candidate_that_is_served_and_paid_for(company, dataset):
    job = start_fine_tune(dataset=dataset, deployment=company.private, user=None, epochs=EPOCHS)
    assert (job.queue, job.estimated_nusd > 0) == ("training", True)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    candidate = ModelVersion.objects.get(pk=job.result["candidate"])
    assert (candidate.stage, candidate.lineage["dataset"]) == ("candidate", dataset.pk)
    for when in ("before", "after"):
        figures = candidate.metrics[when]
        assert figures["n"] == 64
        assert figures["low"] < figures["value"] < figures["high"]
    difference = candidate.metrics["paired_difference"]
    expected = candidate.metrics["after"]["value"] - candidate.metrics["before"]["value"]
    assert difference["value"] == pytest.approx(expected, abs=1e-3)
    assert candidate.metrics["own_rows"]["after"]["n"] == 12
    assert candidate.digest == artifacts.digest(artifacts.home() / candidate.artifact / artifacts.MANIFEST)
    assert LedgerEntry.objects.get(job_id=job.pk).amount_nusd == job.cost_nusd > 0
    assert "CPUExecutionProvider" in job.device
    assert not (artifacts.home() / "checkpoints" / candidate.version).exists()

    promote(version=candidate, user=None)
    evaluation = start_evaluation(workload=company.sentiment, deployment=company.private, user=None, limit=32)
    run_job(evaluation.pk)
    evaluation.refresh_from_db()
    assert evaluation.state == "succeeded", evaluation.error
    assert evaluation.result["n"] == 32
    assert company.sentiment.evaluations.latest("at").version == candidate.version


def test_a_paused_fine_tune_resumes_to_the_very_same_weights(company, dataset, monkeypatch):
    unbroken = start_fine_tune(dataset=dataset, deployment=company.private, user=None, epochs=EPOCHS)
    run_job(unbroken.pk)
    unbroken.refresh_from_db()
    assert unbroken.state == "succeeded", unbroken.error

    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    job = start_fine_tune(dataset=dataset, deployment=company.private, user=None, epochs=EPOCHS)
    progress = runner.Context.progress

    def pause_in_epoch_three(self, share, message, **data):
        progress(self, share, message, **data)
        if data.get("epoch") == 3:
            pause(job=job, user=None)

    monkeypatch.setattr(runner.Context, "progress", pause_in_epoch_three)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "paused"
    assert not ModelVersion.objects.filter(lineage__job=job.pk).exists()
    resume(job=job, user=None)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    assert job.result["weight_hash"] == unbroken.result["weight_hash"]
    assert job.result["epochs"] == EPOCHS
    first = job.events.filter(message__startswith="epoch 3:").count()
    assert first == 1  # it went on after the third epoch and did not do it again


def test_new_labels_are_learnt(company, monkeypatch):
    monkeypatch.setattr(fine_tune, "MOST_JUDGED", 16)
    extra = [(f"the parcel number {i} never arrived", "complaint") for i in range(24)]
    dataset = upload(
        workload=company.sentiment, name="new.jsonl", content=rows_as_lines(24, extra), user=None
    )
    job = start_fine_tune(dataset=dataset, deployment=company.private, user=None, epochs=20)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    assert job.result["labels_added"] == ["complaint"]
    after, before = job.result["own_rows"]["after"], job.result["own_rows"]["before"]
    assert after["value"] > before["value"]


def test_the_external_side_and_other_tasks_cannot_be_fine_tuned(company, dataset):
    with pytest.raises(PolicyDenied, match="None of the file is sent"):
        start_fine_tune(dataset=dataset, deployment=company.external, user=None)
    with pytest.raises(InvalidRequest, match="epochs"):
        start_fine_tune(dataset=dataset, deployment=company.private, user=None, epochs=0)
    dataset.workload = company.alarms
    with pytest.raises(InvalidRequest, match="classification"):
        start_fine_tune(dataset=dataset, deployment=company.tabular, user=None)


def test_another_lobs_deployment_does_not_exist_for_the_asker(company, dataset):
    company.private.lobs.set([company.plant])
    with pytest.raises(InvalidRequest, match="There is no deployment"):
        start_fine_tune(dataset=dataset, deployment=company.private, user=None)


def test_a_head_nobody_knows_fails_in_plain_words(company, monkeypatch):
    unknown = make_workload(company.lob, "returns-intent")
    lines = "\n".join(json.dumps({"text": f"text {i}", "label": "ab"[i % 2]}) for i in range(12)).encode()
    dataset = upload(workload=unknown, name="x.jsonl", content=lines, user=None)
    job = start_fine_tune(dataset=dataset, deployment=company.private, user=None, epochs=1)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "failed"
    assert "returns-intent" in job.error
    assert "Traceback" not in job.error
