import json
import urllib.request

import pytest

from costs.models import LedgerEntry
from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.models import ExpertActivation, ModelVersion
from modelhub.recipes import fine_tune
from modelhub.services.datasets import upload
from modelhub.services.jobs import start_evaluation, start_fine_tune
from modelhub.services.promotion import promote
from modelhub.services.self_test import check_files
from modelhub.tasks import run_job
from switchyard.core.errors import InvalidRequest, PolicyDenied
from switchyard.jobs import runner
from switchyard.jobs.services import pause, resume
from tests.factories import make_workload
from tests.modelhub.recipes.conftest import KEY

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
    woken = ExpertActivation.objects.filter(organisation=job.organisation, source="training")
    assert {row.lob for row in woken} == {company.sentiment.lob.slug} and sum(
        row.requests for row in woken
    ) == 48
    for row in woken:  # two to four experts a token in every layer
        assert (row.counts.sum(axis=1) >= 2 * row.tokens).all() and (
            row.counts.sum(axis=1) <= 4 * row.tokens
        ).all()

    promote(version=candidate, user=None, force_reason="a trial of the whole way")
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


def returns_lines(n, labels=("lost", "late", "broken")):
    texts = {"lost": "the parcel never came", "late": "it came a week late", "broken": "it arrived in pieces"}
    return "\n".join(
        json.dumps({"text": f"{texts[labels[i % len(labels)]]} {i}", "label": labels[i % len(labels)]})
        for i in range(n)
    ).encode()


def test_a_workload_that_is_new_to_the_model_gets_its_first_head_and_is_served(company):
    unknown = make_workload(company.lob, "returns-intent")
    dataset = upload(workload=unknown, name="x.jsonl", content=returns_lines(48), user=None)
    job = start_fine_tune(dataset=dataset, deployment=company.private, user=None, epochs=20)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    assert (job.result["method"], job.result["judged_on"]) == ("head", "own rows held back")
    assert job.result["after"]["value"] > 0.7 > job.result["before"]["value"] == 0.0
    candidate = ModelVersion.objects.get(pk=job.result["candidate"])
    assert labels_of(company.private, candidate.upstream_model, ["the parcel never came 3"]) == ["lost"]


def test_an_adapter_inside_the_trunk_is_trained_served_and_bound_to_its_line_of_business(
    company, monkeypatch
):
    unknown = make_workload(company.lob, "returns-intent")
    dataset = upload(workload=unknown, name="x.jsonl", content=returns_lines(36), user=None)
    held = upload(
        workload=unknown, name="y.jsonl", content=returns_lines(9, ("late", "lost", "broken")), user=None
    )
    job = start_fine_tune(
        dataset=dataset, deployment=company.private, user=None, epochs=1, method="expert", suffix="trial", batch_size=8,
        learning_rate_multiplier=2.0, validation_dataset=held,
    )  # fmt: skip
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    assert job.result["method"] == "expert" and job.result["trunk_hash"]["equal"]
    assert job.result["hyperparameters"] == {"batch_size": 8, "learning_rate_multiplier": 2.0, "seed": 0}
    assert job.result["rows"]["validation"] == 9
    candidate = ModelVersion.objects.get(pk=job.result["candidate"])
    assert candidate.version.startswith("ft-trial-")
    assert candidate.metrics["adapter"]["method"] == "expert"
    assert labels_of(company.private, candidate.upstream_model, ["it came a week late 1"]) == ["late"]
    assert check_files(candidate) == ""
    candidate.workload = make_workload(
        company.plant, "alarm-text"
    )  # somebody else's, by a row that was set wrongly
    assert "another workload" in check_files(candidate)


def labels_of(deployment, model, texts):
    """What the private server answers, asked as the gateway asks it."""
    request = urllib.request.Request(
        deployment.base_url + "/classifications", json.dumps({"model": model, "input": texts}).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as reply:
        return [row["label"] for row in json.load(reply)["data"]]
