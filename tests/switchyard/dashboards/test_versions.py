"""A version's page: gates, canary, lineage, and each step of promotion by a click."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from modelhub.models import Canary, ModelVersion
from switchyard.audit.models import AuditEvent
from tests import factories
from tests.modelhub.services.verdicts import make_report
from tests.switchyard.dashboards.company import Company, make_company

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


@pytest.fixture
def candidate(company: Company) -> ModelVersion:
    live = ModelVersion.objects.get(
        workload=company.workloads["legal"], stage="live", deployment__name="private-sparse"
    )
    return factories.make_version(live.deployment, live.workload, "candidate", version="ft-1")


def client_of(name: str, company: Company, role: str, *lobs: str) -> Client:
    client = Client()
    client.force_login(
        factories.make_user(name, company.organisation, role, tuple(company.lobs[slug] for slug in lobs)),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    return client


def test_the_whole_way_by_clicks(company: Company, candidate: ModelVersion) -> None:
    client, path = client_of("emil", company, "model_engineer"), f"/models/versions/{candidate.pk}/"
    assert "Its gates have not been run" in client.get(path).content.decode()
    refused = client.post(f"{path}promote/", follow=True).content.decode()
    assert "have not been run" in refused
    make_report(candidate)
    assert "golden set" in client.get(path).content.decode()
    client.post(f"{path}canary/", {"percent": "20", "automatic": "on"})
    canary = Canary.objects.get()
    assert (canary.percent, canary.automatic, canary.started_by) == (20, True, "emil")
    part = client.get(path, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part and "0 of 300 answers" in part
    client.post(f"{path}stop/", {"reason": "second thoughts"})
    assert Canary.objects.get().reason == "second thoughts"
    client.post(f"{path}promote/")
    candidate.refresh_from_db()
    assert candidate.stage == "live"
    shown = client.get(path).content.decode()
    assert "Roll back to" in shown and "canary stopped" in shown
    client.post(f"{path}rollback/", {"reason": "callers complain"})
    candidate.refresh_from_db()
    assert candidate.stage == "retired"
    assert AuditEvent.objects.filter(action="model.rolled_back", actor="emil").exists()


def test_a_failed_gate_shows_its_sentence_and_asks_for_a_reason(
    company: Company, candidate: ModelVersion
) -> None:
    make_report(candidate, bias="fail")
    path = f"/models/versions/{candidate.pk}/"
    emil, rita = client_of("emil", company, "model_engineer"), client_of("rita", company, "risk")
    assert "bias as a test says." in emil.get(path).content.decode()
    assert "risk" in emil.post(f"{path}promote/", {"reason": "cheaper"}, follow=True).content.decode()
    candidate.refresh_from_db()
    assert candidate.stage == "candidate"
    rita.post(f"{path}promote/", {"reason": "seen and accepted"})
    candidate.refresh_from_db()
    assert candidate.stage == "live"
    assert AuditEvent.objects.get(action="model.promoted").detail["force_reason"] == "seen and accepted"


def test_a_neighbour_meets_404_and_a_reader_may_only_look(company: Company, candidate: ModelVersion) -> None:
    path = f"/models/versions/{candidate.pk}/"
    bob = client_of("bob", company, "model_engineer", "customer-service")
    assert bob.get(path).status_code == 404
    vera = client_of("vera", company, "viewer")
    shown = vera.get(path).content.decode()
    assert "Promote now" not in shown and "Run the gates" not in shown
    for action in ("gates", "canary", "stop", "promote", "reject", "rollback", "retire"):
        assert bob.post(f"{path}{action}/").status_code == 404
        assert vera.post(f"{path}{action}/").status_code == 403
    assert client_of("emil", company, "model_engineer").post(f"{path}explode/").status_code == 404


def test_the_same_by_command(company: Company, candidate: ModelVersion) -> None:
    factories.make_user("emil", company.organisation, "model_engineer")

    def models(*words: str) -> str:
        out = StringIO()
        call_command("models", *words, stdout=out)
        return out.getvalue()

    name = f"{candidate.workload.name}@ft-1"
    assert name in models("list")
    with pytest.raises(CommandError, match="gate_failed"):
        models("promote", name)
    make_report(candidate)
    assert json.loads(models("gates", name))["against"] == []
    assert json.loads(models("canary", name, "--percent", "5", "--by-hand", "--as", "emil"))["percent"] == 5
    assert json.loads(models("stop", name))["state"] == "stopped"
    assert json.loads(models("promote", name, "--as", "emil"))["stage"] == "live"
    assert AuditEvent.objects.get(action="model.promoted").actor == "emil"
    with pytest.raises(CommandError, match="several"):
        models("rollback", candidate.workload.name)
    there = ("--deployment", "private-sparse", "--reason", "no")
    back = json.loads(models("rollback", candidate.workload.name, *there))
    assert back["stage"] == "live" and back["version"] != "ft-1"
    for wrong in (["promote", "nothing@1"], ["stop", name], ["promote", name, "--as", "nobody"]):
        with pytest.raises(CommandError):
            models(*wrong)


def test_an_objective_is_set_on_its_page_and_a_neighbour_cannot(company: Company) -> None:
    emil, bob = (
        client_of("emil", company, "model_engineer"),
        client_of("bob", company, "risk", "customer-service"),
    )
    emil.post("/objectives/save/", {"workload": "contract-clauses", "target": "92.5"})
    assert "92.5 %" in emil.get("/objectives/").content.decode()
    assert "contract-clauses" not in bob.get("/objectives/").content.decode()
    assert bob.post("/objectives/save/", {"workload": "contract-clauses", "target": "1"}).status_code == 404
    assert (
        "number of per cent"
        in emil.post(
            "/objectives/save/", {"workload": "contract-clauses", "target": "most"}, follow=True
        ).content.decode()
    )
    emil.post("/objectives/save/", {"workload": "contract-clauses", "target": ""})
    assert "Nothing is promised yet" in emil.get("/objectives/").content.decode()
