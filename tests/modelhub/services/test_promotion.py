import json

import pytest

from modelhub import artifacts
from modelhub.models import Evaluation, ModelVersion
from modelhub.selectors.quality import latest_quality
from modelhub.services.promotion import gate, promote, reject, rollback
from modelhub.services.retirement import retire_version
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import Conflict, NotFound
from switchyard.tenancy.models import ConfigVersion
from switchyard.tenancy.querysets import scope_of
from tests.factories import (
    make_deployment,
    make_lob,
    make_organisation,
    make_user,
    make_version,
    make_workload,
)
from tests.modelhub.services.verdicts import make_report

pytestmark = pytest.mark.django_db
BETTER = {
    "judged_on": "validation rows",
    "before": {"value": 0.80, "low": 0.75, "high": 0.85, "n": 200},
    "after": {"value": 0.90, "low": 0.85, "high": 0.94, "n": 200, "macro_f1": 0.89},
    "paired_difference": {"value": 0.10, "low": 0.05, "high": 0.15},
}


@pytest.fixture
def live():
    lob = make_lob()
    private = make_deployment(lob.organisation, "private-sparse", "private")
    return make_version(private, make_workload(lob))


def candidate_of(live, verdicts=(), **kwargs):
    version = make_version(
        live.deployment, live.workload, "candidate", version="ft-ab12cd34", metrics=BETTER,
        upstream_model="txt-base/support-sentiment@ft-ab12cd34", **kwargs,
    )  # fmt: skip
    make_report(version, **dict(verdicts))
    return version


def config():
    row = ConfigVersion.objects.filter(pk=1).first()
    return row.version if row else 0


def test_the_candidate_takes_over_and_every_process_is_told(live):
    candidate, before = candidate_of(live), config()
    alice = make_user("alice", live.workload.organisation, "admin")
    promote(version=candidate, user=alice)
    live.refresh_from_db()
    candidate.refresh_from_db()
    assert (live.stage, candidate.stage) == ("retired", "live")
    assert candidate.promoted_at is not None
    assert config() > before
    event = AuditEvent.objects.get(action="model.promoted")
    assert (event.actor, event.lob, event.detail["replaced"]) == ("alice", "customer-service", ["1"])


def test_the_deployments_quality_is_the_new_versions_from_now_on(live):
    promote(version=candidate_of(live), user=None)
    organisation = live.workload.organisation_id
    assert latest_quality(organisation) == {("private-sparse", "support-sentiment"): (0.9, 200)}
    assert Evaluation.objects.get().version == "ft-ab12cd34"


def test_what_a_candidate_reaches_says_nothing_of_what_answers_now(live):
    organisation, key = live.workload.organisation_id, ("private-sparse", "support-sentiment")
    figures = {"workload": live.workload, "deployment": live.deployment, "metric": "accuracy", "n": 100}
    Evaluation.objects.create(version="1", correct=80, **figures)
    Evaluation.objects.create(version="ft-ab12cd34", correct=99, **figures)
    assert latest_quality(organisation)[key] == (0.8, 100)
    promote(version=candidate_of(live), user=None)
    promote(version=live, user=None)  # rolled back: the first evaluation speaks again
    assert latest_quality(organisation)[key] == (0.8, 100)


def test_a_gate_that_failed_needs_a_reason_and_who_and_why_are_kept(live):
    candidate = candidate_of(live, {"accuracy": "fail"})
    emil = make_user("emil", live.workload.organisation, "model_engineer")
    assert gate(candidate) == "accuracy: accuracy as a test says."
    with pytest.raises(Conflict) as refused:
        promote(version=candidate, user=emil)
    assert refused.value.code == "gate_failed"
    assert [row["gate"] for row in refused.value.extra["gates"]] == ["accuracy"]
    assert ModelVersion.objects.get(stage="live") == live
    promote(version=candidate, user=emil, force_reason="the new labels matter more")
    event = AuditEvent.objects.get(action="model.promoted")
    assert event.actor == "emil" and event.detail["gates"] == {"accuracy": "fail"}
    assert event.detail["force_reason"] == "the new labels matter more"
    assert Evaluation.objects.get().verdict == "fail"


@pytest.mark.parametrize("verdict", ["not_enough_data", "not_run"])
def test_what_is_not_known_to_hold_does_not_hold(live, verdict):
    with pytest.raises(Conflict, match="cost as a test says"):
        promote(version=candidate_of(live, {"cost": verdict}), user=None)


def test_harm_to_a_group_is_not_an_engineers_to_accept(live):
    candidate, organisation = candidate_of(live, {"bias": "fail"}), live.workload.organisation
    emil = make_user("emil", organisation, "model_engineer")
    with pytest.raises(Conflict) as refused:
        promote(version=candidate, user=emil, force_reason="it is cheaper")
    assert refused.value.code == "may_not_override"
    elsewhere = make_lob(organisation, "legal")
    other_risk = make_user("rita", organisation, "risk", (elsewhere,))
    with pytest.raises(Conflict):
        promote(version=candidate, user=other_risk, force_reason="not my line of business")
    rolf = make_user("rolf", organisation, "risk", (live.workload.lob,))
    assert (
        promote(version=candidate, user=rolf, force_reason="a known false alarm of the audit").stage == "live"
    )


def test_gates_that_were_not_run_or_no_longer_speak_of_this_version_hold_it_up(live):
    candidate = make_version(live.deployment, live.workload, "candidate", version="ft-1", digest="a" * 64)
    assert "not been run" in gate(candidate)
    make_report(candidate)
    assert gate(candidate) == ""
    ModelVersion.objects.filter(pk=candidate.pk).update(digest="b" * 64)
    candidate.refresh_from_db()
    assert "files changed" in gate(candidate)
    make_report(candidate)
    promote(version=candidate_of(live), user=None)  # another one goes live meanwhile
    assert "Another version is live" in gate(candidate)


def test_one_click_goes_back_to_what_was_live_before(live):
    with pytest.raises(NotFound):
        rollback(version=live, user=None)
    candidate = candidate_of(live)
    with pytest.raises(Conflict):
        rollback(version=candidate, user=None)
    promote(version=candidate, user=None)
    alice = make_user("alice", live.workload.organisation, "admin")
    before = config()
    assert rollback(version=candidate, user=alice, reason="callers complain") == live
    event = AuditEvent.objects.get(action="model.rolled_back")
    assert (event.actor, event.detail["replaced"]) == ("alice", ["ft-ab12cd34"])
    assert event.detail["force_reason"] == "callers complain"
    assert config() > before


def test_promoting_the_old_version_again_rolls_back(live):
    promote(version=candidate_of(live), user=None)
    promote(version=live, user=None)
    stages = dict(ModelVersion.objects.values_list("version", "stage"))
    assert stages == {"1": "live", "ft-ab12cd34": "retired"}


def test_files_that_changed_since_they_were_judged_do_not_go_live(live, tmp_path, settings):
    settings.HOME = tmp_path
    folder = tmp_path / "artifacts/txt-base/heads/support-sentiment@ft-ab12cd34"
    folder.mkdir(parents=True)
    (folder / "head.onnx").write_bytes(b"weights")
    artifacts.write_manifest(
        folder, {"id": folder.name, "kind": "text-head", "head": "support-sentiment"}, {"head": "head.onnx"}
    )
    candidate = candidate_of(
        live, lineage={"job": "job_1"}, artifact=str(folder.relative_to(tmp_path)),
        digest=artifacts.digest(folder / artifacts.MANIFEST),
    )  # fmt: skip
    (folder / "head.onnx").write_bytes(b"other weights")
    with pytest.raises(Conflict, match="sha256"):
        promote(version=candidate, user=None, force_reason="I insist")
    manifest = json.loads((folder / artifacts.MANIFEST).read_text())
    artifacts.write_manifest(folder, manifest, {"head": "head.onnx"})  # consistent, but not what was judged
    with pytest.raises(Conflict, match="not the ones that were judged"):
        promote(version=candidate, user=None)
    (folder / "head.onnx").write_bytes(b"weights")
    artifacts.write_manifest(
        folder, {"id": folder.name, "kind": "text-head", "head": "support-sentiment"}, {"head": "head.onnx"}
    )
    assert promote(version=candidate, user=None).stage == "live"


def test_a_rejected_candidate_is_retired_and_a_live_version_cannot_be_rejected(live):
    assert reject(version=candidate_of(live), user=None, reason="too slow").stage == "retired"
    with pytest.raises(Conflict):
        reject(version=live, user=None)


def test_the_last_live_version_is_not_retired_by_accident(live):
    with pytest.raises(Conflict) as refused:
        retire_version(version=live, user=None)
    assert refused.value.code == "last_live_version"
    other = make_deployment(live.workload.organisation, "ext-mini")
    make_version(other, live.workload)
    before = config()
    assert retire_version(version=live, user=None).stage == "retired"
    assert config() > before
    assert retire_version(version=live, user=None).stage == "retired"  # twice is harmless
    assert AuditEvent.objects.filter(action="model.retired").count() == 1


def test_another_lines_versions_are_out_of_sight():
    organisation = make_organisation()
    service, legal = make_lob(organisation), make_lob(organisation, "legal")
    private = make_deployment(organisation, "private-sparse", "private")
    ours, theirs = (
        make_version(private, make_workload(service)),
        make_version(private, make_workload(legal, "clauses")),
    )
    bob = make_user("bob", organisation, "model_engineer", (service,))
    charlie = make_user("charlie")
    assert list(ModelVersion.objects.for_tenant(scope_of(bob))) == [ours]
    assert theirs not in ModelVersion.objects.for_tenant(scope_of(charlie))
