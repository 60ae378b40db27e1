import json

import pytest

from modelhub import artifacts
from modelhub.models import Evaluation, ModelVersion
from modelhub.selectors.quality import latest_quality
from modelhub.services.promotion import gate, promote, reject
from modelhub.services.retirement import retire_version
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import Conflict
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

pytestmark = pytest.mark.django_db
BETTER = {
    "judged_on": "validation rows",
    "before": {"value": 0.80, "low": 0.75, "high": 0.85, "n": 200},
    "after": {"value": 0.90, "low": 0.85, "high": 0.94, "n": 200, "macro_f1": 0.89},
    "paired_difference": {"value": 0.10, "low": 0.05, "high": 0.15},
}
WORSE = BETTER | {"paired_difference": {"value": -0.10, "low": -0.15, "high": -0.05}}


@pytest.fixture
def live():
    lob = make_lob()
    private = make_deployment(lob.organisation, "private-sparse", "private")
    return make_version(private, make_workload(lob))


def candidate_of(live, metrics=None, **kwargs):
    return make_version(
        live.deployment, live.workload, "candidate", version="ft-ab12cd34", metrics=metrics or BETTER,
        upstream_model="txt-base/support-sentiment@ft-ab12cd34", **kwargs,
    )  # fmt: skip


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


def test_a_version_that_is_surely_worse_needs_a_reason(live):
    candidate = candidate_of(live, WORSE)
    assert "worse" in gate(candidate)
    with pytest.raises(Conflict) as refused:
        promote(version=candidate, user=None)
    assert refused.value.code == "gate_failed"
    assert ModelVersion.objects.get(stage="live") == live
    promote(version=candidate, user=None, force_reason="the new labels matter more")
    assert (
        AuditEvent.objects.get(action="model.promoted").detail["force_reason"] == "the new labels matter more"
    )
    assert Evaluation.objects.get().verdict == "fail"


def test_one_that_may_be_a_little_worse_is_not_held_up(live):
    undecided = BETTER | {"paired_difference": {"value": -0.01, "low": -0.04, "high": 0.02}}
    promote(version=candidate_of(live, undecided), user=None)
    assert ModelVersion.objects.get(stage="live").version == "ft-ab12cd34"


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
    artifacts.write_manifest(folder, {"id": folder.name, "kind": "text-head"}, {"head": "head.onnx"})
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
    artifacts.write_manifest(folder, {"id": folder.name, "kind": "text-head"}, {"head": "head.onnx"})
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
