"""The demonstration company: whole, priced, policed, and never doubled."""

import json
import os
import stat

import pytest
from django.core.management import call_command

from costs.models import Budget, Node, Price
from modelhub.models import Deployment, Evaluation, ModelVersion
from routing.models import Policy
from switchyard.core.crypto import keyed_digest
from switchyard.demo import bootstrap, company, guard
from switchyard.tenancy.models import (
    AccessToken,
    ApiKey,
    Application,
    ConfigVersion,
    LineOfBusiness,
    Organisation,
    User,
    Workload,
)
from switchyard.tenancy.querysets import scope_of
from tests.switchyard.demo.conftest import UPSTREAMS

TABLES = [Organisation, LineOfBusiness, Application, ApiKey, Workload, Deployment, ModelVersion, Evaluation, Node,
          Price, Budget, Policy, User, AccessToken]  # fmt: skip


def test_every_line_of_business_has_application_key_workloads_budget_and_a_live_policy(organisation):
    for lob in LineOfBusiness.objects.all():
        assert lob.applications.count() == 1
        assert ApiKey.objects.filter(application__lob=lob, rpm=None, tpm=None, concurrency=None).count() == 1
        assert lob.workloads.exists()
        everything, labels = Budget.objects.filter(lob=lob).order_by("covers")
        assert 100 * 10**9 <= labels.limit_nusd < everything.limit_nusd
        assert Policy.objects.filter(lob=lob, state="live").count() == 1
    assert LineOfBusiness.objects.count() == 6
    assert Policy.objects.get(lob=None, state="live").document.startswith("# What no line of business")


def test_the_workloads_say_what_counts_as_right():
    plans = {w.name: w for lob in company.LOBS for w in lob.workloads}
    assert plans["remaining-life"].correct_rule == {"kind": "within", "absolute": 20, "cap": 125}
    assert plans["price-advice"].correct_rule == {"kind": "within", "relative": 0.15}
    assert plans["contract-clauses"].sensitivity == plans["terms-review"].sensitivity == "confidential"
    assert plans["clinical-notes"].sensitivity == "restricted"
    assert {w.tier for w in plans.values()} == {"core", "edge", "experiment"}


def test_outside_deployments_are_priced_by_a_dated_book_and_inside_ones_by_a_named_rate(organisation):
    outside = Deployment.objects.filter(side="external")
    for deployment in outside:
        price = Price.objects.get(deployment=deployment.name)
        assert "llm-prices" in price.source and "2026-08-05" in price.source
    assert {d.node.name for d in Deployment.objects.filter(side="private")} == {company.NODE}
    assert Node.objects.get().usd_per_hour > 0 and Node.objects.get().source


def test_every_live_version_on_a_text_or_table_workload_was_evaluated_with_n_and_interval(organisation):
    rows = Evaluation.objects.exclude(workload__name="code-assist")
    assert rows.count() == 20
    for row in rows:
        assert row.n >= 100 and row.low <= row.value <= row.high
        assert row.correct_low <= row.correct / row.n <= row.correct_high
    text = Evaluation.objects.get(workload__name="support-intent", deployment__name="private-sparse")
    assert text.detail["tfidf"]["n"] == text.n
    for row in rows.select_related("deployment", "workload"):
        assert row.verdict == row.detail["verdict"]
    assert Evaluation.objects.get(workload__name="code-assist", deployment__name="private-lm").correct == 0


def test_the_network_over_rows_is_a_candidate_that_its_server_can_be_asked_for(organisation):
    from modelhub import artifacts
    from modelhub.serving.sessions import SIDES

    (row,) = ModelVersion.objects.filter(stage="candidate").select_related("deployment", "workload")
    assert (row.deployment.name, row.workload.name) == ("private-tabular", "equipment-fault")
    model, _, head = row.upstream_model.partition("/")
    assert model in SIDES["private"] and head in artifacts.load_manifest(artifacts.find(model))["heads"]
    assert (
        row.metrics["value"] < row.metrics["control"]["value"]
    )  # boosting stays live, and the page can say why


def test_no_live_policy_can_send_confidential_data_out(organisation):
    from routing.services.policies import create_draft
    from switchyard.core.errors import ValidationFailed

    legal = LineOfBusiness.objects.get(slug="legal")
    leak = 'rules:\n  - name: leak\n    when: workload.tier == "core"\n    route: {prefer: [ext-mini]}\n'
    with pytest.raises(ValidationFailed, match="confidential"):
        create_draft(organisation=organisation, lob=legal, document=leak, user=None)


def test_the_guard_only_observes_while_it_blocks_harmless_sentences_but_for_one_line_of_business(
    organisation,
):
    from modelhub import artifacts

    measured = artifacts.load_manifest(artifacts.find("risk-guard"))["metrics"]["hatecheck"]
    blocks_too_much = measured["harmless_naming_a_group_blocked"]["value"] > guard.MAX_HARMLESS_BLOCKED
    modes = dict(LineOfBusiness.objects.values_list("slug", "guard_mode"))
    assert modes.pop(company.ENFORCING_LOB) == "enforce"
    assert set(modes.values()) == {"observe" if blocks_too_much else "enforce"}


def test_a_restart_moves_only_the_addresses_of_the_servers(organisation):
    before = ConfigVersion.objects.get(pk=1).version
    assert bootstrap.refresh_upstreams(organisation, UPSTREAMS) == 0
    assert ConfigVersion.objects.get(pk=1).version == before
    moved = UPSTREAMS | {"external": bootstrap.Upstream("http://127.0.0.1:9999/v1", "up_new")}
    assert bootstrap.refresh_upstreams(organisation, moved) == 3
    assert ConfigVersion.objects.get(pk=1).version > before
    row = Deployment.objects.get(name="ext-mini")
    assert (row.base_url, row.api_key) == ("http://127.0.0.1:9999/v1", "up_new")
    assert Deployment.objects.get(name="private-sparse").base_url == "http://127.0.0.1:9001/v1"


def test_running_the_command_twice_doubles_nothing_and_keeps_keys_and_passwords(db, tmp_path, settings):
    settings.HOME = tmp_path
    call_command("bootstrap")
    kept = json.loads((tmp_path / "demo-secrets.json").read_text())
    counts = {table.__name__: table.objects.count() for table in TABLES}
    call_command("bootstrap")
    assert {table.__name__: table.objects.count() for table in TABLES} == counts
    assert json.loads((tmp_path / "demo-secrets.json").read_text()) == kept
    assert stat.S_IMODE(os.stat(tmp_path / "demo-secrets.json").st_mode) == 0o600
    assert ApiKey.objects.filter(digest=keyed_digest(kept["keys"]["legal"])).exists()
    examples = json.loads((tmp_path / "demo-examples.json").read_text())["examples"]
    assert {e["workload"] for e in examples} == set(Workload.objects.values_list("name", flat=True))


def test_a_start_that_broke_off_leaves_the_administrator_a_password_that_is_known(
    db, tmp_path, settings, monkeypatch
):
    settings.HOME = tmp_path
    with monkeypatch.context() as broken:
        broken.setattr(bootstrap, "create_company", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call_command("bootstrap")
    call_command("bootstrap")
    kept = json.loads((tmp_path / "demo-secrets.json").read_text())
    assert User.objects.get(username="admin").check_password(kept["admin"]["password"])


def test_what_somebody_removed_or_revoked_is_handled_gently(organisation):
    from switchyard.core.clock import now

    ApiKey.objects.filter(application__lob__slug="legal").update(revoked_at=now())
    LineOfBusiness.objects.get(slug="engineering").delete()
    keys = bootstrap.ensure_keys(organisation, {})
    assert "engineering" not in keys
    assert ApiKey.objects.filter(digest=keyed_digest(keys["legal"]), revoked_at=None).exists()


def test_an_empty_installation_has_an_administrator_and_nothing_else(db, tmp_path, settings):
    settings.HOME = tmp_path
    call_command("bootstrap", "--empty")
    assert User.objects.get().username == "admin"
    assert Organisation.objects.count() == 1
    assert not LineOfBusiness.objects.exists() and not Deployment.objects.exists()


def test_the_viewer_sees_one_line_of_business(organisation):
    bootstrap.ensure_viewer(organisation, {})
    scope = scope_of(User.objects.get(username="viewer"))
    assert scope.lob_slugs == {company.VIEWER_LOB} and scope.roles == {"viewer"}
