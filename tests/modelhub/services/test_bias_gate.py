"""The bias gate: a smaller copy needs an audit of its own files; others pass until an audit says otherwise."""

import pytest

from modelhub.models import BiasAudit
from modelhub.services.bias_gate import bias_gate, deployment_of_teacher
from modelhub.services.gates import GateRule, Inspection, run_gates
from tests.factories import make_deployment, make_lob, make_organisation, make_version, make_workload

GAP = {"value": 0.08, "low": 0.061, "high": 0.1}


@pytest.fixture
def version(db):
    organisation = make_organisation()
    lob = make_lob(organisation)
    workload = make_workload(lob, "support-intent")
    make_version(make_deployment(organisation, "private-sparse", "private"), workload)
    return make_version(
        make_deployment(organisation, "ext-mini"), workload, stage="candidate", version="c-2", digest="d" * 64,
        lineage={"teacher": {"deployment": "private-sparse", "version": "1"}},
    )  # fmt: skip


def audited(version, verdict, **report):
    student = {"deployment": version.deployment.name, "version": version.version, "digest": version.digest}
    body = {"n": 900, "limit": 0.05, "groups": [], "models": {"student": student | report.pop("student", {})}}
    return BiasAudit.objects.create(
        workload=version.workload, teacher="private-sparse", student=version.deployment.name, verdict=verdict,
        report=body | report,
    )  # fmt: skip


def test_a_smaller_copy_without_an_audit_does_not_pass(version):
    found = bias_gate(version)
    assert found.verdict == "not_run" and found.figures["required"]
    assert "private-sparse" in found.why


def test_a_failed_audit_names_the_group_and_by_how_much(version):
    audited(
        version, "fail", groups=[{"group": "names: gender", "n": 300, "excess_gap": GAP, "verdict": "fail"}]
    )
    found = bias_gate(version)
    assert found.verdict == "fail"
    assert "names: gender lost 8.0 points more than the rest (at least 6.1)" in found.why
    assert found.figures["worst_group"]["excess_gap"] == GAP


def test_a_passed_audit_passes_and_too_few_rows_do_not(version):
    audited(version, "pass")
    assert bias_gate(version).verdict == "pass"
    audited(version, "not_enough_data", n_needed=4100)
    found = bias_gate(version)
    assert found.verdict == "not_enough_data" and "4100" in found.why


def test_an_audit_of_other_files_or_of_another_version_counts_for_nothing(version):
    audited(version, "pass", student={"digest": "e" * 64})
    found = bias_gate(version)
    assert found.verdict == "not_run" and "changed" in found.why
    BiasAudit.objects.all().delete()
    audited(version, "pass", student={"version": "c-1"})
    assert bias_gate(version).verdict == "not_run"


def test_a_version_without_a_teacher_passes_until_an_audit_says_otherwise(version):
    version.lineage = {"job": "job_1", "dataset": "x"}
    version.save()
    assert bias_gate(version).verdict == "pass" and not bias_gate(version).figures["required"]
    audited(version, "fail")
    assert bias_gate(version).verdict == "fail"


def test_the_gates_of_promotion_read_it(version):
    rule = GateRule(lob=version.workload.lob)
    by_name = {result.gate: result for result in run_gates(Inspection(version, None, rule))}
    assert by_name["bias"].verdict == "not_run" and "audit" in by_name["bias"].sentence
    audited(version, "pass")
    by_name = {result.gate: result for result in run_gates(Inspection(version, None, rule))}
    assert by_name["bias"].verdict == "pass" and by_name["bias"].figures["n"] == 900


def test_the_teacher_is_the_one_named_else_the_live_private_one(version):
    assert deployment_of_teacher(version).name == "private-sparse"
    version.lineage = {"teacher": "txt-base"}
    assert deployment_of_teacher(version).name == "private-sparse"
