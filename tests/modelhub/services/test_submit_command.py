"""`manage.py submit`: the jobs of models from a terminal, by the services that pages and REST call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from modelhub.models import Dataset, Experiment, LabelBatch
from switchyard.jobs.models import Job
from tests.switchyard.dashboards.company import Company, make_company

pytestmark = pytest.mark.django_db
ROWS = "text,label\n" + "".join(
    f"where is card {n},card_arrival\nmy pin {n} fails,change_pin\n" for n in range(8)
)


@pytest.fixture
def company(settings: Any, tmp_path: Path) -> Company:
    settings.MEDIA_ROOT = tmp_path / "media"
    made = make_company(days=1)
    Job.objects.all().delete()
    return made


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return str(path)


def submit(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("submit", *words)
    return capsys.readouterr().out


def test_rows_become_a_fine_tune_of_whatever_answers_the_workload(company, rows, capsys):
    told = submit(capsys, "fine-tune", "support-intent", "--rows", rows, "--method", "head", "--epochs", "3")
    job = Job.objects.get()
    assert told == f"job {job.pk}: queued, 16 rows, private-sparse\n"
    assert (job.kind, job.params["method"], job.params["epochs"], job.lob.slug) == (
        "fine_tune",
        "head",
        3,
        "customer-service",
    )
    again = submit(
        capsys,
        "fine-tune",
        "support-intent",
        "--dataset",
        Dataset.objects.get().pk,
        "--deployment",
        "private-sparse",
    )
    assert "queued" in again and Job.objects.count() == 2


def test_evaluations_and_audits(company, capsys):
    submit(capsys, "evaluation", "support-intent", "--deployment", "private-sparse")
    submit(capsys, "audit", "support-intent", "--teacher", "private-sparse", "--student", "ext-mini")
    assert set(Job.objects.values_list("kind", flat=True)) == {"evaluation", "bias_audit"}


def test_an_experiment_lists_its_ways_and_starts_those_that_are_named(company, rows, capsys):
    assert "head:private-sparse needs rows" in submit(capsys, "experiment", "support-intent")
    assert not Experiment.objects.exists()
    ways = ["--way", "as_is:ext-mini", "--way", "head:private-sparse"]
    told = submit(capsys, "experiment", "support-intent", *ways, "--rows", rows, "--name", "by hand")
    made = Experiment.objects.get()
    assert f"experiment {made.pk}: training" in told and f"job {made.arms.get(method='head').job_id}" in told


def test_texts_wait_for_labels(company, capsys, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"where is my card number {n}" for n in range(30)))
    told = submit(capsys, "labels", "support-intent", "--texts", str(path), "--count", "5")
    batch = LabelBatch.objects.get()
    assert told.splitlines() == [f"queue {batch.pk}: choosing", f"job {batch.job_id}"]


@pytest.mark.parametrize(
    ("words", "told"),
    [(["fine-tune", "nothing", "--rows", "x"], "0 workloads"), (["fine-tune", "support-intent"], "Name rows"),
     (["fine-tune", "support-intent", "--rows", "/no/such/file"], "can't be read"),
     (["fine-tune", "support-intent", "--dataset", "data_none"], "no data set"),
     (["evaluation", "support-intent", "--deployment", "mars"], "no deployment 'mars'"),
     (["experiment", "support-intent", "--way", "as_is:ext-mini", "--way", "head:private-sparse"], "needs rows")],
)  # fmt: skip
def test_what_cannot_be_is_told_and_starts_nothing(company, words, told):
    with pytest.raises(CommandError, match=told):
        call_command("submit", *words)
    assert not Job.objects.exists() and not Experiment.objects.exists()


def test_wrong_lines_are_named(company, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS + ",lost\n")
    with pytest.raises(CommandError, match="line 18: `text` is empty"):
        call_command("submit", "fine-tune", "support-intent", "--rows", str(path))
    assert not Dataset.objects.exists()
