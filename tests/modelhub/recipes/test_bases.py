"""A base that is missing, damaged, retired, unsigned or signed elsewhere starts no training, and is called what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.selectors.tuning_bases import target_of
from modelhub.services.datasets import upload
from modelhub.services.jobs import start_fine_tune
from modelhub.services.signatures import sign_artifact
from modelhub.tasks import run_job
from switchyard.core.errors import InvalidRequest, ModelNotFound
from switchyard.jobs.models import Job
from tests.factories import make_deployment


@pytest.fixture
def dataset(company):
    train = datasets.load("support-sentiment", "train")
    rows = [
        {"text": text, "label": label}
        for text, label in zip(train.texts[:48], train.labels[:48], strict=True)
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    return upload(workload=company.sentiment, name="rows.jsonl", content=content, user=None)


@pytest.fixture
def copied(company, home):
    """A deployment of a base that lies in the home: (deployment, its folder)."""
    folder = home / "artifacts" / "txt-copied"
    shutil.copytree(artifacts.SHIPPED / "txt-base", folder)
    yield make_deployment(company.organisation, "copied", "private", model="txt-copied"), folder
    shutil.rmtree(folder)


def refusal(dataset, deployment) -> tuple[str, str]:
    """(code, words) of the job, which was submitted while all was well."""
    job = start_fine_tune(dataset=dataset, deployment=deployment, user=None, epochs=1)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "failed" and job.cost_nusd == 0
    return job.error_code, job.error


def test_a_base_that_is_not_here_is_refused_before_anything_is_queued(company, dataset):
    gone = make_deployment(company.organisation, "gone", "private", model="no-such-base")
    with pytest.raises(InvalidRequest, match="no-such-base of gone isn't on this machine") as refused:
        start_fine_tune(dataset=dataset, deployment=gone, user=None)
    assert (refused.value.code, refused.value.param) == ("base_missing", "model")
    assert not Job.objects.exists()


def test_a_base_that_went_or_was_damaged_while_its_job_waited_fails_in_words(dataset, copied):
    deployment, folder = copied
    body = artifacts.file_of(folder, artifacts.load_manifest(folder), "body")
    content = bytearray(body.read_bytes())
    content[len(content) // 2] ^= 1
    body.write_bytes(bytes(content))
    code, words = refusal(dataset, deployment)
    assert code == "base_corrupt" and "txt-copied of copied is damaged" in words and "retry" in words
    job = start_fine_tune(dataset=dataset, deployment=deployment, user=None, epochs=2)
    moved = folder.rename(folder.with_name("elsewhere"))
    run_job(job.pk)
    moved.rename(folder)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "base_missing")


def test_an_unsigned_base_is_refused_where_signatures_are_required(settings, dataset, copied):
    deployment, folder = copied
    settings.SWITCHYARD = settings.SWITCHYARD | {"SERVING_SIGNATURES": "required"}
    code, words = refusal(dataset, deployment)
    assert code == "base_unsigned" and "sign_artifact" in words
    sign_artifact(folder)
    manifest = folder / artifacts.MANIFEST
    manifest.write_text(manifest.read_text() + "\n")
    job = Job.objects.get()
    job.state = "queued"
    job.save()
    run_job(job.pk)
    job.refresh_from_db()
    assert job.error_code == "base_unsigned" and "another installation's" in job.error


def test_a_retired_base_is_told_from_one_that_never_was(company):
    lob = company.sentiment.lob
    make_deployment(company.organisation, "old", "private", model="txt-old", enabled=False)
    for name in ("old", "txt-old"):
        with pytest.raises(InvalidRequest, match="is switched off: its base is retired"):
            target_of(name, lob, set())
    with pytest.raises(ModelNotFound):
        target_of("never-was", lob, set())


def test_the_folder_is_named_without_telling_where_the_home_lies(company, dataset, home: Path):
    gone = make_deployment(company.organisation, "gone", "private", model="no-such-base")
    with pytest.raises(InvalidRequest) as refused:
        start_fine_tune(dataset=dataset, deployment=gone, user=None)
    assert str(home) not in refused.value.message
