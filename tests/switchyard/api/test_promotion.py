"""Gates, canaries, golden sets and lineage over REST; a neighbour meets 404 at each."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelhub.models import Canary, GoldenSet
from modelhub.services.golden import add_golden
from modelhub.services.validation import ValidationRows
from switchyard.jobs.models import Job
from tests import factories
from tests.modelhub.services.verdicts import make_report
from tests.switchyard.api.company import Company


@pytest.fixture
def lab(company: Company, settings: Any, tmp_path: Path) -> SimpleNamespace:
    """Legal's workload with a live version and a candidate; bob is customer service's and sees none of it."""
    settings.MEDIA_ROOT = tmp_path
    workload = factories.make_workload(company.legal, "clauses")
    home = factories.make_deployment(company.organisation, "home-a", side="private")
    live = factories.make_version(home, workload)
    candidate = factories.make_version(home, workload, "candidate", version="ft-1", digest="d" * 64)
    rows = ValidationRows([f"clause {n}" for n in range(6)], ["a", "b"] * 3, "test")
    golden = add_golden(workload=workload, user=None, rows=rows, source="a test")
    return SimpleNamespace(company=company, workload=workload, live=live, candidate=candidate, golden=golden)


def test_gates_are_run_and_read(lab: SimpleNamespace):
    alice, path = lab.company.alice, f"models/{lab.candidate.pk}/gates"
    alice.get(path, expect=404)
    job = alice.post(path, {}, expect=202)["job"]
    assert alice.post(path, {"limit": 100}, expect=202)["job"] == job  # one run at a time
    assert Job.objects.get(pk=job).kind == "gates" and Job.objects.get(pk=job).params["rows"] == 6
    make_report(lab.candidate, latency="not_enough_data")
    told = alice.get(path)
    assert [row["gate"] for row in told["against"]] == ["latency"]
    assert {row["gate"]: row["verdict"] for row in told["results"]}["accuracy"] == "pass"
    for wrong in ({"limit": 0}, {"limit": "many"}, {"speed": 1}):
        alice.post(path, wrong, expect=400)


def test_a_canary_is_started_seen_and_stopped(lab: SimpleNamespace):
    alice, path = lab.company.alice, f"models/{lab.candidate.pk}/canary"
    assert alice.post(path, {}, expect=409)["code"] == "gate_failed"
    make_report(lab.candidate)
    alice.post(path, {"percent": 80}, expect=400)
    canary = alice.post(path, {"percent": 25, "automatic": False})
    assert (canary["percent"], canary["automatic"], canary["state"]) == (25, False, "running")
    assert "0 of 300 answers" in canary["lacking"]
    assert alice.get("canaries", state="running")["results"][0]["id"] == canary["id"]
    assert alice.get(f"models/{lab.candidate.pk}")["stage"] == "canary"
    stopped = alice.post(f"canaries/{canary['id']}/stop", {"reason": "enough"}, expect=200)
    assert (stopped["state"], stopped["reason"], stopped["ended_by"]) == ("stopped", "enough", "alice")
    assert alice.post(f"canaries/{canary['id']}/stop", {}, expect=409)["code"] == "illegal_state"


def test_a_live_version_is_rolled_back_in_one_call(lab: SimpleNamespace):
    alice = lab.company.alice
    make_report(lab.candidate)
    alice.post(f"models/{lab.candidate.pk}/promote", {}, expect=200)
    assert alice.post(f"models/{lab.live.pk}/rollback", {}, expect=409)["code"] == "illegal_state"
    assert alice.post(f"models/{lab.candidate.pk}/rollback", {}, expect=200)["version"] == lab.live.version


def test_lineage_leads_from_the_data_to_the_deployment(lab: SimpleNamespace):
    lab.candidate.lineage = {
        "dataset": "data_gone",
        "sha256": "a" * 64,
        "job": "job_gone",
        "base": "txt-base",
    }
    lab.candidate.save()
    make_report(lab.candidate)
    lab.company.alice.post(f"models/{lab.candidate.pk}/promote", {}, expect=200)
    steps = lab.company.alice.get(f"models/{lab.candidate.pk}/lineage")["steps"]
    assert [s["kind"] for s in steps] == ["dataset", "base", "job", "version", "gates", "event", "deployment"]
    assert [s["known"] for s in steps[:3]] == [False, True, False]
    assert steps[3]["digest"] == "d" * 64 and steps[5]["facts"]["by"] == "alice"


def test_golden_sets_have_versions_and_one_judges(lab: SimpleNamespace):
    alice = lab.company.alice
    rows = ValidationRows(["other clause", "another"], ["a", "b"], "test")
    second = add_golden(workload=lab.workload, user=None, rows=rows, source="a test")
    found = alice.get("golden-sets", workload="clauses")["results"]
    assert {row["version"]: row["active"] for row in found} == {1: False, 2: True}
    again = alice.post(f"golden-sets/{lab.golden.pk}/activate", {}, expect=200)
    assert again["active"] and not GoldenSet.objects.get(pk=second.pk).active


def test_bounds_are_a_line_of_business_own(lab: SimpleNamespace):
    alice = lab.company.alice
    assert alice.get("gate-rules/legal")["accuracy_tolerance"] == 0.02
    assert (
        alice.patch("gate-rules/legal", {"accuracy_tolerance": 0.01, "most_p99_ms": 50})["most_p99_ms"] == 50
    )
    assert alice.get("gate-rules/customer-service")["accuracy_tolerance"] == 0.02
    for wrong in ({"accuracy_tolerance": 2}, {"canary_percent": 0}, {"most_cost_ratio": None}, {"colour": 1}):
        alice.patch("gate-rules/legal", wrong, expect=400)


def test_a_neighbour_meets_404_and_a_reader_403(lab: SimpleNamespace):
    make_report(lab.candidate)
    canary = lab.company.alice.post(f"models/{lab.candidate.pk}/canary", {})
    bob, vera = lab.company.bob, lab.company.person("vera", "viewer")
    version = f"models/{lab.candidate.pk}"
    for path in (f"{version}/gates", f"{version}/lineage", f"canaries/{canary['id']}", f"golden-sets/{lab.golden.pk}",
                 "gate-rules/legal"):  # fmt: skip
        bob.get(path, expect=404)
        lab.company.charlie.get(path, expect=403)
        vera.get(path)
    for path in (f"{version}/gates", f"{version}/canary", f"{version}/rollback", f"canaries/{canary['id']}/stop",
                 f"golden-sets/{lab.golden.pk}/activate"):  # fmt: skip
        bob.post(path, {}, expect=404)
        vera.post(path, {}, expect=403)
    bob.patch("gate-rules/legal", {"canary_percent": 5}, expect=404)
    assert bob.get("canaries")["results"] == bob.get("golden-sets")["results"] == []
    assert Canary.objects.get().state == "running"


def test_an_accuracy_objective_is_set_read_and_removed_by_its_own_line(lab: SimpleNamespace):
    alice, bob = lab.company.alice, lab.company.bob
    made = alice.post("accuracy-objectives", {"workload": "clauses", "target": 0.92})
    assert (made["target"], made["budget_left"], made["burns"]) == (0.92, None, [])
    assert alice.get("accuracy-objectives/clauses")["id"] == made["id"]
    bob.get("accuracy-objectives/clauses", expect=404)
    bob.post("accuracy-objectives", {"workload": "clauses", "target": 0.5}, expect=400)
    bob.delete("accuracy-objectives/clauses", expect=404)
    alice.post("accuracy-objectives", {"workload": "clauses", "target": 1}, expect=400)
    alice.delete("accuracy-objectives/clauses")
    assert alice.get("accuracy-objectives")["results"] == []


def test_a_bundle_leaves_only_with_the_role_and_a_wrong_one_is_refused(lab: SimpleNamespace):
    from django.core.files.uploadedfile import SimpleUploadedFile

    path = f"models/{lab.live.pk}/bundle"
    lab.company.bob.get(path, expect=404)
    lab.company.alice.get(path, expect=404)  # its files are not on this machine
    body = {
        "file": SimpleUploadedFile("b.zip", b"PK"),
        "workload": "clauses",
        "deployment": "home-a",
        "trusted": "f" * 64,
    }
    answer = lab.company.alice.client.post("/api/v1/models/import", body, format="multipart")
    assert answer.status_code == 400 and "no bundle" in answer.content.decode()
    body["file"] = SimpleUploadedFile("b.zip", b"PK")
    assert lab.company.bob.client.post("/api/v1/models/import", body, format="multipart").status_code == 400
