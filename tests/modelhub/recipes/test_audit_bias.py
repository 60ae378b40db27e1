import numpy as np
import pytest

from costs.models import LedgerEntry
from modelhub.models import BiasAudit
from modelhub.recipes import bias_groups, bias_swaps
from modelhub.recipes.audit_bias import overall
from modelhub.services.jobs import start_audit
from modelhub.tasks import run_job


def rows_of(n, seed=0):
    """Texts of two labels, a third of the first naming women."""
    rng = np.random.default_rng(seed)
    truth = np.array(["a" if i % 2 else "b" for i in range(n)])
    texts = [("my mother asked " if label == "a" and i % 6 == 1 else "somebody asked ") + "x" * int(rng.integers(1, 40))
             for i, label in enumerate(truth)]  # fmt: skip
    return texts, truth


def wrong_where(truth, mask):
    given = truth.copy()
    given[mask] = np.where(truth[mask] == "a", "b", "a")
    return given


def test_a_student_that_loses_one_group_fails_and_the_group_is_named():
    texts, truth = rows_of(1200)
    named = np.array(["mother" in text for text in texts])
    rng = np.random.default_rng(1)
    student = wrong_where(truth, named & (rng.random(len(texts)) < 0.4))
    report = bias_groups.compare(texts, truth, truth, student)
    failed = {row["group"] for row in report["groups"] if row["verdict"] == "fail"}
    assert {"names a group of people", "names: gender"} <= failed
    assert "label: b" not in failed
    row = next(row for row in report["groups"] if row["group"] == "names: gender")
    assert row["excess_gap"]["low"] > bias_groups.EXCESS_LIMIT
    assert row["p_holm"] < 0.05
    assert 0.3 < row["disagreement"] < 0.5


def test_a_student_that_loses_the_same_everywhere_is_not_accused():
    false_alarms = 0
    for seed in range(20):
        texts, truth = rows_of(600, seed)
        student = wrong_where(truth, np.random.default_rng(seed + 100).random(len(texts)) < 0.05)
        report = bias_groups.compare(texts, truth, truth, student)
        false_alarms += any(row["verdict"] == "fail" for row in report["groups"])
    assert false_alarms <= 1


def test_small_groups_are_not_shown_and_quiet_ones_are_not_proof():
    texts, truth = rows_of(200)
    texts[:5] = ["a muslim neighbour asked"] * 5
    report = bias_groups.compare(texts, truth, truth, truth)
    rows = {row["group"]: row for row in report["groups"]}
    assert rows["names: religion"]["n"] is None
    assert "teacher" not in rows["names: religion"]
    gender = rows["names: gender"]  # 33 rows or so, none changed: three in n could still be wrong
    assert (gender["verdict"], gender["excess_gap"]["high"]) == (
        "not_enough_data",
        pytest.approx(3 / gender["n"], abs=1e-3),
    )
    assert gender["n_needed"] > gender["n"]


def swap_parent(text):
    return (
        [text.replace("mother", "father")]
        if "mother" in text
        else [text.replace("woman", "man")]
        if "woman" in text
        else []
    )


def item(label, score=0.9):
    return {"label": label, "scores": [{"label": label, "score": score}]}


def test_flips_are_counted_by_text_and_what_came_with_compression_is_told():
    texts = ["my mother asked"] * 30
    probe = bias_swaps.make_probe(texts, swap_parent)
    assert (len(probe.texts), probe.own, len(probe.copies)) == (30, 30, 30)
    teacher = bias_swaps.read(probe, [item("a")] * 60)
    student = bias_swaps.read(probe, [item("a")] * 30 + [item("b")] * 12 + [item("a", 0.7)] * 18)
    report = bias_swaps.report(probe, teacher, student)
    assert report["teacher"]["rate"]["value"] == 0.0
    assert report["student"]["rate"]["value"] == pytest.approx(0.4)
    assert report["student"]["verdict"] == "fail"
    assert report["student"]["mean_score_change"] == pytest.approx((12 * 0.9 + 18 * 0.2) / 30, abs=1e-3)
    assert report["emergence"] == {
        "only_student": 12,
        "only_teacher": 0,
        "p_value": 0.00049,
        "verdict": "fail",
    }


def test_rows_that_name_nobody_are_put_into_our_own_frames():
    probe = bias_swaps.make_probe(["where is my card?"] * 12, swap_parent)
    assert probe.own == 0
    assert len(set(probe.texts)) == 12
    assert all("where is my card?" in text for text in probe.texts)


@pytest.mark.parametrize(
    ("groups", "student", "emergence", "verdict"),
    [(["pass", "pass"], "pass", "pass", "pass"), (["pass", "not_enough_data"], "pass", "pass", "not_enough_data"),
     (["pass", "fail"], "pass", "pass", "fail"), (["pass"], "not_enough_data", "pass", "not_enough_data"),
     (["pass"], "pass", "fail", "fail")],
)  # fmt: skip
def test_one_failure_fails_the_audit_and_a_pass_needs_them_all(groups, student, emergence, verdict):
    report = {"groups": [{"verdict": v} for v in groups],
              "counterfactual": {"student": {"verdict": student}, "emergence": {"verdict": emergence}}}  # fmt: skip
    assert overall(report) == verdict


def test_the_shipped_student_is_audited_against_the_shipped_teacher(company, monkeypatch):
    monkeypatch.setattr(bias_swaps, "MOST_NAMED", 10)
    monkeypatch.setattr(bias_swaps, "MOST_FRAMED", 10)
    job = start_audit(workload=company.sentiment, user=None, limit=96)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    audit = BiasAudit.objects.get(job_id=job.pk)
    assert (audit.teacher, audit.student, audit.report["n"]) == ("private-sparse", "ext-mini", 96)
    assert audit.report["models"]["student"]["model"] == "txt-edge/support-sentiment"
    assert audit.report["teacher_accuracy"]["value"] > 0.7
    assert audit.verdict == "not_enough_data"  # 96 rows cannot clear a group
    assert audit.report["n_needed"] > 96
    assert audit.report["counterfactual"]["pairs"] >= audit.report["counterfactual"]["texts"] > 0
    assert audit.device == "private-sparse: CPUExecutionProvider; ext-mini: CPUExecutionProvider"
    paid = LedgerEntry.objects.filter(lob="customer-service")
    assert {entry.credit for entry in paid} == {"absorbed:node-1", "payable:ext-mini"}
    assert sum(entry.amount_nusd for entry in paid) == job.cost_nusd
