"""The gates over the shipped models behind real servers: an equal one holds, a worse or broken one doesn't."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from modelhub import artifacts
from modelhub.ml.sequential import WorseTest
from modelhub.models import GateReport, GoldenSet
from modelhub.recipes import sides
from modelhub.services import gates
from modelhub.services.gates import Figures, Inspection, run_gates, unmet
from modelhub.services.gating import start_gates
from modelhub.services.promotion import promote
from modelhub.tasks import run_job
from switchyard.core.errors import Conflict
from tests.factories import make_version


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "TIMED", 30)


def judged(version, limit=150):
    job = start_gates(version=version, user=None, limit=limit)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    report = GateReport.objects.get(pk=job.result["report"])
    return job, report, {row["gate"]: row for row in report.results}


def test_the_same_weights_under_another_name_lose_nothing(company: SimpleNamespace):
    version = make_version(
        company.private,
        company.sentiment,
        "candidate",
        version="2",
        upstream_model="txt-base/support-sentiment",
    )
    job, report, rows = judged(version)
    accuracy = rows["accuracy"]
    assert accuracy["verdict"] == "pass" and accuracy["figures"]["difference"]["only_new_right"] == 0
    assert accuracy["figures"]["new"]["n"] == 150
    assert rows["cost"]["figures"]["new_nusd_per_1000"] > 0 and 0.3 < rows["cost"]["figures"]["ratio"] < 3
    latency = rows["latency"]["figures"]
    assert latency["timed"] == 30 and 0 < latency["p50_ms"] <= latency["p99_ms"]
    assert rows["self_test"]["verdict"] == "pass", rows["self_test"]["sentence"]
    assert "golden answers reproduce" in rows["self_test"]["figures"]["checks"]
    golden = GoldenSet.objects.get()
    assert report.golden == golden and golden.source.startswith("validation rows")
    assert report.device == job.device == "private-sparse: CPUExecutionProvider"
    assert job.cost_nusd > 0  # its line of business pays for being judged


def test_a_worse_one_is_refused_and_says_on_how_many_rows(company: SimpleNamespace):
    """The head of another piece of work: it answers, always wrongly."""
    version = make_version(
        company.private, company.sentiment, "candidate", version="2", upstream_model="txt-base/terms-review"
    )
    _, report, rows = judged(version)
    assert rows["accuracy"]["verdict"] == "fail" and "surely worse" in rows["accuracy"]["sentence"]
    assert rows["self_test"]["verdict"] == "pass"
    with pytest.raises(Conflict, match="surely worse"):
        promote(version=version, user=None)


def test_one_that_cannot_be_loaded_fails_its_self_test_and_nothing_else_is_claimed(company: SimpleNamespace):
    version = make_version(
        company.private,
        company.sentiment,
        "candidate",
        version="2",
        upstream_model="txt-base/support-sentiment@gone",
    )
    _, _, rows = judged(version)
    assert rows["self_test"]["verdict"] == "fail" and "loads" in rows["self_test"]["sentence"]
    assert rows["accuracy"]["verdict"] == rows["latency"]["verdict"] == rows["cost"]["verdict"] == "not_run"


def test_files_that_were_changed_fail_before_anything_is_asked(company: SimpleNamespace, home):
    folder = home / "artifacts/txt-base/heads/support-sentiment@changed"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "head.onnx").write_bytes(b"weights")
    artifacts.write_manifest(folder, {"id": folder.name, "kind": "text-head"}, {"head": "head.onnx"})
    version = make_version(
        company.private, company.sentiment, "candidate", version="changed", lineage={"job": "job_1"},
        artifact=str(folder.relative_to(home)), digest=artifacts.digest(folder / artifacts.MANIFEST),
    )  # fmt: skip
    (folder / "head.onnx").write_bytes(b"other weights")
    _, _, rows = judged(version)
    assert "sha256" in rows["self_test"]["sentence"]


def test_alarms_are_judged_by_their_own_metric(company: SimpleNamespace):
    version = make_version(company.tabular, company.alarms, "candidate", version="2")
    _, _, rows = judged(version, limit=None)
    assert rows["accuracy"]["figures"]["new"]["metric"] == "pr_auc"
    assert rows["accuracy"]["verdict"] == "pass" and rows["accuracy"]["figures"]["difference"]["value"] == 0.0


# ------------------------------------------------------------------ verdicts from figures alone
def seen(company: SimpleNamespace, **values) -> Inspection:
    version = make_version(company.private, company.sentiment, "candidate", version="9")
    figures = Figures("accuracy", 0.9, 0.88, 0.92, 1000, 1_000_000, 2.0, 4.0, 120)
    held = {
        "new": figures,
        "old": figures,
        "difference": {"value": 0.0, "low": -0.01, "high": 0.01},
        "self_test": {"files": ""},
    }
    return Inspection(version, None, gates.rule_of(company.lob), **held | values)


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        ({"value": -0.005, "low": -0.015, "high": 0.005}, "pass"),
        (
            {"value": -0.005, "low": -0.009, "high": -0.001},
            "pass",
        ),  # surely worse, and surely within the tolerance
        ({"value": -0.03, "low": -0.05, "high": -0.01}, "fail"),
        ({"value": -0.01, "low": -0.04, "high": 0.02}, "not_enough_data"),
        ({"value": 0.02, "low": -0.03, "high": 0.07}, "not_enough_data"),
    ],
)
def test_accuracy_by_the_paired_interval(
    company: SimpleNamespace, difference: dict[str, float], verdict: str
):
    assert gates.accuracy(seen(company, difference=difference)).verdict == verdict


def test_dearer_and_slower_than_allowed_fail(company: SimpleNamespace):
    dear = Figures("accuracy", 0.9, 0.88, 0.92, 1000, 1_200_000, 2.0, 5.2, 120)
    rows = {row.gate: row for row in run_gates(seen(company, new=dear))}
    assert (rows["cost"].verdict, rows["cost"].figures["ratio"]) == ("fail", 1.2)
    assert rows["latency"].verdict == "fail" and "1.30 times" in rows["latency"].sentence


def test_a_percentile_of_ten_calls_is_no_percentile(company: SimpleNamespace):
    few_calls = Figures("accuracy", 0.9, 0.88, 0.92, 1000, 1_000_000, 2.0, 4.0, 10)
    assert gates.latency(seen(company, new=few_calls)).verdict == "not_enough_data"


def test_a_gate_of_another_module_joins_by_its_path_and_its_absence_is_said(
    company: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(gates.LATE, "bias", "modelhub.services.no_such_gate.bias_gate")
    inspection = seen(company)
    rows = {row.gate: row for row in run_gates(inspection)}
    assert [row.gate for row in run_gates(inspection)] == list(gates.ORDER)
    assert rows["bias"].verdict == "not_run"
    for told, verdict in (
        ({"verdict": "fail", "sentence": "7 points on one group", "figures": {"n": 900}}, "fail"),
        (SimpleNamespace(verdict="pass", sentence="", figures={}), "pass"),
        ({"verdict": "perhaps"}, "not_run"),
    ):
        monkeypatch.setitem(gates.LATE, "bias", f"{__name__}._told")
        monkeypatch.setattr(f"{__name__}._told", lambda version, told=told: told)
        assert {row.gate: row for row in run_gates(inspection)}["bias"].verdict == verdict


def _told(version):
    raise RuntimeError("replaced by the test")


def test_a_report_is_kept_as_json_and_read_back(company: SimpleNamespace):
    inspection = seen(company)
    results = json.loads(json.dumps([row.as_dict() for row in run_gates(inspection)]))
    report = GateReport.objects.create(
        version=inspection.version, baseline=gates.replaced_by(inspection.version), results=results
    )
    against = {row.gate for row in unmet(inspection.version, report)}
    assert against <= {"bias"}  # whatever the audit says of a version without files
    assert WorseTest.from_dict(json.loads(json.dumps(WorseTest().as_dict()))) == WorseTest()
