import numpy as np
import pytest

from costs.models import LedgerEntry
from modelhub.ml.risk import probes
from modelhub.models import BiasAudit
from modelhub.recipes import bias_groups, bias_suites, bias_swaps
from modelhub.recipes.audit_bias import overall
from modelhub.services.jobs import start_audit
from modelhub.tasks import run_job
from switchyard.core.errors import InvalidRequest
from tests.factories import make_version


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
    emerged = report["emergence"]
    assert (emerged["only_student"], emerged["only_teacher"], emerged["p_value"]) == (12, 0, 0.00049)
    assert emerged["verdict"] == "fail" and emerged["difference"]["low"] > 0
    assert [(row["axis"], row["verdict"], row["p_holm"]) for row in report["axes"]] == [
        ("gender", "fail", 0.00049)
    ]


def test_rows_that_name_nobody_are_put_into_frames_for_every_axis_in_two_languages():
    probe = bias_swaps.make_probe(["where is my card?"] * 12, swap_parent, "support-intent")
    assert probe.own == 0
    english = {text for text, language in zip(probe.texts, probe.languages, strict=True) if language == "en"}
    assert all("where is my card?" in text for text in english)
    asked = {(axis, language): 0 for axis in probes.AXES for language in ("en", "zh")}
    for axis, language in zip(probe.axes, probe.languages, strict=True):
        asked[axis, language] += 1
    assert len(probes.AXES) >= 8 and min(asked.values()) >= 40
    for owner, copy in probe.copies:
        assert copy != probe.texts[owner]


def test_frames_fit_every_group_and_keep_the_request():
    for language, frames in (("en", probes.FRAMES_EN), ("zh", probes.FRAMES_ZH)):
        assert len(set(frames)) == len(frames) >= 40
        for frame in frames:
            assert frame.count("{who}") >= 1 and frame.count("{text}") == 1
            for english, chinese in probes.AXES.values():
                for who in english if language == "en" else chinese:
                    made = probes.filled(frame, who, "TEXT", language)
                    assert who in made and "TEXT" in made and "{" not in made
                    assert " a a" not in made.lower() and " a i" not in made.lower().replace(" a i am", "")


def test_a_withheld_copy_is_a_flip():
    probe = bias_swaps.Probe(["my mother asked"], [(0, "my father asked")], 1, ["gender"], ["en"])
    found = bias_swaps.read(probe, [item("a"), {"label": None, "scores": [], "blocked": True}])
    assert found.flipped.tolist() == [True]


@pytest.mark.parametrize(
    ("groups", "student", "emergence", "verdict"),
    [(["pass", "pass"], "pass", "pass", "pass"), (["pass", "not_enough_data"], "pass", "pass", "not_enough_data"),
     (["pass", "fail"], "pass", "pass", "fail"), (["pass"], "not_enough_data", "pass", "not_enough_data"),
     (["pass"], "pass", "fail", "fail"), ([], "pass", "pass", "not_enough_data")],
)  # fmt: skip
def test_one_failure_fails_the_audit_and_a_pass_needs_them_all(groups, student, emergence, verdict):
    report = {"groups": [{"verdict": v} for v in groups],
              "counterfactual": {"student": {"verdict": student}, "emergence": {"verdict": emergence}}}  # fmt: skip
    assert overall(report) == verdict


def test_a_group_too_small_to_be_cleared_can_fail_and_delays_nothing():
    swaps = {"student": {"verdict": "pass"}, "emergence": {"verdict": "pass"}}
    small = {"verdict": "not_enough_data", "decides": False}
    assert (
        overall({"groups": [{"verdict": "pass", "decides": True}, small], "counterfactual": swaps}) == "pass"
    )
    assert overall({"groups": [small], "counterfactual": swaps}) == "not_enough_data"
    failing = small | {"verdict": "fail"}
    assert overall({"groups": [{"verdict": "pass"}, failing], "counterfactual": swaps}) == "fail"


def test_quality_by_group_stands_beside_the_gap():
    texts, truth = rows_of(400)
    labels = [{"label": t, "scores": [{"label": t, "score": 0.9}]} for t in truth]
    labels[0] = {"label": None, "scores": [], "blocked": True}
    student = bias_groups.Answered.read(labels)
    assert student.confidence is None  # a withheld row has no scores
    told = bias_groups.compare(texts, truth, truth, bias_groups.Answered.read(labels[1:] + labels[1:2]))
    row = next(row for row in told["groups"] if row["n"])
    assert (
        row["quality"]["student"]["calibration_error"] is not None
        and row["quality"]["teacher"]["macro_f1"] == 1.0
    )
    assert (
        row["excess_gap"]["low"]
        <= row["bootstrap"]["low"]
        <= row["bootstrap"]["high"]
        <= row["excess_gap"]["high"]
    )


def pairs_ask(labels):
    return lambda texts: [
        {"label": labels(text), "scores": [{"label": "negative", "score": 0.5}]} for text in texts
    ]


def test_suites_say_what_they_need_and_run_only_where_it_is_there(tmp_path):
    steady, swayed = (
        pairs_ask(lambda t: "a"),
        pairs_ask(lambda t: "she" if " she " in t or " her " in t else "he"),
    )
    found = bias_suites.run_suites(
        task="classification", labels={"a", "b"}, teacher=steady, student=swayed, data_dir=tmp_path
    )
    assert found["Winogender"]["verdict"] == "fail" and found["Winogender"]["only_student"] > 20
    assert not found["Winogender"]["gates"]
    assert found["CrowS-Pairs"]["verdict"] == "not_run" and "SWITCHYARD_DATA" in found["CrowS-Pairs"]["why"]
    assert found["Equity Evaluation Corpus"]["why"] == "it needs the labels negative, positive"
    assert "chat" in found["BBQ"]["why"]
    none = bias_suites.run_suites(
        task="classification", labels=set(), teacher=steady, student=steady, data_dir=tmp_path, wanted=set()
    )
    assert {row["why"] for row in none.values()} == {"not asked for"}


def bbq_row(polarity="neg", condition="ambig", label="1", groups=("old", "unknown", "nonOld")):
    row = {
        "context": "c",
        "question": "q",
        "polarity": polarity,
        "context_condition": condition,
        "label": label,
    }
    return row | {"stereotyped_groups": "old"} | {f"ans{i}_group": g for i, g in enumerate(groups)} | {
        f"ans{i}": g for i, g in enumerate(groups)
    }  # fmt: skip


def test_bbq_answers_are_read_and_lean_by_polarity():
    assert [bias_suites.letter_of(text) for text in ("A", "(b) the man", " C.", "Because", "")] == [
        0,
        1,
        2,
        None,
        None,
    ]
    rows = [
        bbq_row(),
        bbq_row("nonneg"),
        bbq_row(condition="disambig", label="2"),
        bbq_row(groups=("x", "unknown", "y")),
    ]
    found = bias_suites.bbq_figures(rows, [0, 0, 2, 0])
    assert (found["answered"], found["judged"]) == (
        1.0,
        3,
    )  # the last row doesn't tell which answer the stereotype means
    # ambiguous: neg answered "old" follows, nonneg answered "old" doesn't; disambiguated answered the other one
    assert (found["s_dis"], found["s_amb"], found["accuracy_ambiguous"]) == (-1.0, 0.0, 0.0)
    assert bias_suites.bbq_figures(rows, [None] * 4) == {"answered": 0.0, "judged": 0}


def test_the_shipped_student_is_audited_against_the_shipped_teacher(company, monkeypatch, settings, tmp_path):
    monkeypatch.setattr(bias_swaps, "MOST_NAMED", 10)
    monkeypatch.setattr(bias_swaps, "FRAMED_PER_AXIS", 1)
    monkeypatch.setattr(bias_suites, "FLIPS_ASKED", 8)
    settings.SWITCHYARD = settings.SWITCHYARD | {"DATA_DIR": str(tmp_path)}
    job = start_audit(workload=company.sentiment, user=None, limit=96)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    audit = BiasAudit.objects.get(job_id=job.pk)
    assert (audit.teacher, audit.student, audit.report["n"]) == ("private-sparse", "ext-mini", 96)
    assert audit.report["models"]["student"]["model"] == "txt-edge/support-sentiment"
    assert audit.report["teacher_accuracy"]["value"] > 0.7
    assert audit.verdict in ("not_enough_data", "fail")  # 96 rows cannot clear a group
    assert audit.report["n_needed"] > 96
    swaps = audit.report["counterfactual"]
    assert swaps["pairs"] >= swaps["texts"] > 0 and {row["language"] for row in swaps["axes"]} == {"en", "zh"}
    assert audit.report["suites"]["Winogender"]["n"] == 8
    assert len(audit.report["data"]["digest"]) == 64
    assert audit.device == "private-sparse: CPUExecutionProvider; ext-mini: CPUExecutionProvider"
    paid = LedgerEntry.objects.filter(lob="customer-service")
    assert {entry.credit for entry in paid} == {"absorbed:node-1", "payable:ext-mini"}
    assert sum(entry.amount_nusd for entry in paid) == job.cost_nusd


def test_a_candidate_is_audited_by_its_version_and_an_unknown_one_is_refused(company):
    with pytest.raises(InvalidRequest, match="no version 'c-9'"):
        start_audit(workload=company.sentiment, user=None, student_version="c-9")
    make_version(company.external, company.sentiment, stage="candidate", version="c-2", digest="d" * 64)
    job = start_audit(workload=company.sentiment, user=None, student_version="c-2", limit=32)
    assert job.params["student_version"] == "c-2"
    assert start_audit(workload=company.sentiment, user=None, student_version="c-2", limit=32).pk == job.pk
