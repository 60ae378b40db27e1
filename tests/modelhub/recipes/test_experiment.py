"""Experiments over the shipped models: both sides as they stand, and a tabular model fitted anew on uploaded records."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from modelhub.ml.tabular import data as tabular_sets
from modelhub.ml.tabular.retrain import TooFewRows, retrain
from modelhub.models import Experiment, GateReport, ModelVersion
from modelhub.recipes import sides
from modelhub.services.experiments import options_for, start_experiment, winner_of
from modelhub.services.golden import add_golden
from modelhub.services.records import read_records, upload_records
from modelhub.services.validation import validation_rows
from modelhub.tasks import run_job
from switchyard.core.errors import InvalidRequest, ValidationFailed
from switchyard.jobs.models import Job


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "TIMED", 30)


def table(rows: int) -> bytes:
    """AI4I's training rows as a person would export them."""
    records, targets = tabular_sets.load("equipment-fault", "train")
    faults = [i for i, target in enumerate(targets) if target][: rows // 4]
    chosen = sorted({*faults, *range(rows)})
    head = [*records[0], "machine_failure"]
    lines = [",".join(map(str, [*records[i].values(), targets[i]])) for i in chosen]
    return ("\n".join([",".join(head), *lines]) + "\n").encode()


def work_off() -> None:
    """Run what waits, as workers would, until nothing does."""
    while (job := Job.objects.filter(state="queued").order_by("created_at").first()) is not None:
        run_job(job.pk)
        job.refresh_from_db()
        assert job.state == "succeeded", job.error


def test_two_sides_as_they_stand_are_measured_on_the_same_rows(company: SimpleNamespace):
    rows = validation_rows(company.sentiment).first(150)
    add_golden(workload=company.sentiment, user=None, rows=rows, source="150 rows")
    arms = ["as_is:private-sparse", "as_is:ext-mini"]
    experiment = start_experiment(workload=company.sentiment, user=None, arms=arms)
    assert experiment.state in ("training", "measuring")
    work_off()
    experiment = Experiment.objects.get()
    assert experiment.state == "done" and experiment.error == ""
    private, external = experiment.arms.all()
    for arm in (private, external):
        assert arm.figures["n"] == len(arm.right) == 150 and arm.right.count("1") == arm.figures["correct"]
        assert arm.figures["cost_nusd_per_1000"] > 0 and arm.figures["p50_ms"] > 0
        assert arm.figures["low"] < arm.figures["value"] < arm.figures["high"]
    pair = experiment.result["pairs"][0]
    assert (pair["new"], pair["old"], pair["n"]) == (1, 0, 150)
    by_hand = (external.right.count("1") - private.right.count("1")) / 150
    assert pair["value"] == pytest.approx(by_hand, abs=1e-6)
    assert pair["low"] < pair["value"] < pair["high"]
    assert winner_of(experiment) in (private, external)


def test_records_are_trained_on_and_the_winner_is_judged_by_its_gates(company: SimpleNamespace):
    dataset = upload_records(workload=company.alarms, name="plant.csv", content=table(400), user=None)
    records, targets = read_records(dataset)
    assert len(records) == dataset.rows and set(targets) == {0, 1}
    experiment = start_experiment(
        workload=company.alarms,
        user=None,
        arms=["as_is:private-tabular", "rows:private-tabular"],
        dataset=dataset,
    )
    assert experiment.state == "training"
    work_off()
    experiment = Experiment.objects.get()
    assert experiment.state == "done", experiment.error
    trained = experiment.arms.get(method="rows")
    assert trained.version.lineage["sha256"] == dataset.digest
    assert trained.figures["lead_s"] > 0 and trained.figures["from_rows_s"] > trained.figures["lead_s"]
    assert trained.figures["training_nusd"] > 0 and trained.figures["metric"] == "pr_auc"
    assert experiment.result["metric"] == "pr_auc"
    if winner_of(experiment) == trained:
        assert GateReport.objects.filter(version=trained.version).exists()
    else:
        assert ModelVersion.objects.get(pk=trained.version.pk).stage == "candidate"


def test_records_that_are_wrong_are_refused_with_their_lines(company: SimpleNamespace):
    good = table(60).decode()
    for content, words in (
        (good + "M,300,310,1500\n", "is missing"),
        (good.replace("machine_failure", "failure", 1), "must name the columns"),
        (good + "X,300,310,1500,40,5,0\n", "unknown"),
        (good + "M,300,310,1500,40,5,2\n", "0 or 1"),
        (good + "M,hot,310,1500,40,5,0\n", "expected a number"),
    ):
        with pytest.raises(ValidationFailed) as refused:
            upload_records(workload=company.alarms, name="plant.csv", content=content.encode(), user=None)
        assert words in json.dumps(refused.value.errors) + refused.value.message
    with pytest.raises(ValidationFailed, match="not UTF-8"):
        upload_records(workload=company.alarms, name="plant.csv", content=b"\xff\xfe", user=None)
    with pytest.raises(InvalidRequest):
        upload_records(workload=company.sentiment, name="plant.csv", content=good.encode(), user=None)
    held, targets = tabular_sets.load("equipment-fault", "val")
    leaked = "".join(
        json.dumps({**record, "machine_failure": target}) + "\n"
        for record, target in zip(held, targets, strict=True)
    )
    with pytest.raises(ValidationFailed):  # every row is of the evaluation set
        upload_records(workload=company.alarms, name="plant.jsonl", content=leaked.encode(), user=None)


def test_one_answer_alone_teaches_nothing(tmp_path):
    records, _ = tabular_sets.load("equipment-fault", "val")
    with pytest.raises(TooFewRows):
        retrain("equipment-fault", records[:50], [0] * 50, tmp_path / "h", base={"id": "tabular-base"})


def test_what_cannot_be_tried_is_refused_and_leaves_nothing(company: SimpleNamespace):
    for arms, words in (
        (["as_is:private-sparse"], "2 to"),
        (["as_is:private-sparse", "as_is:nobody"], "can't be tried"),
        (["as_is:private-sparse", "head:private-sparse"], "needs rows"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            start_experiment(workload=company.sentiment, user=None, arms=arms)
    assert not Experiment.objects.exists() and not Job.objects.exists()
    methods = {option.key for option in options_for(company.sentiment)}
    assert {"as_is:private-sparse", "as_is:ext-mini", "head:private-sparse", "lora:private-sparse"} <= methods
    assert "as_is:private-tabular" not in methods
