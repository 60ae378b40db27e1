"""What pages do: roles decide, services write, what is wrong comes back located."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from costs.models import Alert, SpendDay, SpendHour
from modelhub.models import ModelVersion
from routing.models import Interception, Policy
from switchyard.audit.models import AuditEvent
from switchyard.jobs.models import Job
from tests.modelhub.services.verdicts import make_report
from tests.switchyard.dashboards.company import LOB_POLICY, Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db
HOME = 'rules:\n  - name: home\n    when: "true"\n    route: {prefer: [private-sparse]}\n'


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


def draft(client: Client, scope: str = "customer-service", document: str = HOME) -> Policy:
    answer = client.post("/policies/new/", {"scope": scope, "document": document, "note": "home"})
    assert answer.status_code == 302, answer.context["errors"]
    return Policy.objects.get(pk=answer["Location"].rstrip("/").split("/")[-1])


def test_an_author_writes_and_an_approver_publishes(company: Company) -> None:
    author, approver = (
        client_of("ann", company, "policy_author"),
        client_of("paul", company, "policy_approver"),
    )
    new = draft(author)
    assert (new.state, new.version) == ("draft", 2)
    assert author.post(f"/policies/{new.pk}/publish/").status_code == 403
    assert approver.post(f"/policies/{new.pk}/publish/", {"percent": "100"}).status_code == 302
    new.refresh_from_db()
    assert new.state == "live"
    assert approver.post(f"/policies/{new.pk}/rollback/").status_code == 302
    assert Policy.objects.get(lob=company.lobs["customer-service"], state="live").version == 1


def test_a_viewer_may_neither_write_nor_publish(company: Company) -> None:
    client, live = client_of("vera", company, "viewer"), company.policies["customer-service"]
    assert client.post("/policies/new/", {"scope": "customer-service", "document": HOME}).status_code == 403
    for action in ("publish", "rollback", "validate"):
        assert client.post(f"/policies/{live.pk}/{action}/").status_code == 403


def test_an_author_of_one_line_of_business_cannot_write_the_organisations_document(company: Company) -> None:
    client = client_of("ann", company, "policy_author", "customer-service")
    assert (
        client.post("/policies/new/", {"scope": "", "document": "rules: []\ndefault: deny\n"}).status_code
        == 404
    )
    assert client.post("/policies/new/", {"scope": "legal", "document": HOME}).status_code == 404


def test_a_percentage_that_is_none_is_refused(company: Company) -> None:
    client = client_of("paul", company, "admin")
    new = draft(client)
    for percent in ("0", "101", "half", ""):
        client.post(f"/policies/{new.pk}/publish/", {"percent": percent})
        new.refresh_from_db()
        assert new.state != "live", percent


def test_a_document_with_a_fault_is_shown_again_with_the_place_and_nothing_is_saved(company: Company) -> None:
    client = client_of("ann", company, "policy_author")
    answer = client.post(
        "/policies/new/",
        {"scope": "customer-service", "document": LOB_POLICY.replace("workload.tier", "workload.teir")},
    )
    assert answer.status_code == 400
    text = answer.content.decode()
    assert 'data-line="3"' in text and "Did you mean workload.tier?" in text and "workload.teir" in text
    assert Policy.objects.filter(lob=company.lobs["customer-service"]).count() == 1


def test_a_leak_is_refused_with_its_counter_example(company: Company) -> None:
    leak = HOME.replace("private-sparse", "ext-mini")
    answer = client_of("ann", company, "policy_author").post(
        "/policies/new/", {"scope": "legal", "document": leak}
    )
    assert answer.status_code == 400
    text = answer.content.decode()
    assert (
        "The request that proves it" in text
        and "contract-clauses" in text
        and "restricted data stays home" in text
    )


def test_the_difference_of_two_versions_is_shown(company: Company) -> None:
    client = client_of("ann", company, "admin")
    text = client.get(f"/policies/{draft(client).pk}/difference/").content.decode()
    assert (
        '<code class="added">+  - name: home</code>' in text
        and '<code class="removed">-  - name: edge goes out</code>' in text
    )


@pytest.mark.parametrize(
    ("workload", "goes", "never"), [("support-intent", "ext-mini", ""), ("contract-clauses", "", "ext-mini")]
)
def test_a_tried_request_goes_where_the_policy_sends_it(
    company: Company, workload: str, goes: str, never: str
) -> None:
    answer = client_of("ann", company, "viewer").post(
        "/policies/try/", {"workload": workload, "text": "hello"}
    )
    hops = [hop.deployment for hop in answer.context["trial"].decision.hops]
    assert hops[:1] == ([goes] if goes else []) and never not in (hops or [None])


def test_a_declared_class_keeps_a_tried_request_at_home_and_a_draft_can_be_tried(company: Company) -> None:
    client = client_of("ann", company, "admin")
    raised = client.post(
        "/policies/try/", {"workload": "support-intent", "sensitivity": "restricted"}
    ).context["trial"]
    assert [h.deployment for h in raised.decision.hops] == ["private-sparse"]
    tried = client.post("/policies/try/", {"workload": "support-intent", "policy": draft(client).pk}).context[
        "trial"
    ]
    assert [h.deployment for h in tried.decision.hops] == ["private-sparse"]
    assert (
        client.post("/policies/try/", {"workload": "support-intent", "sensitivity": "cosmic"}).status_code
        == 400
    )


def test_promoting_takes_the_role_and_makes_the_version_live(company: Company) -> None:
    version = company.versions["legal"]
    url = f"/models/versions/{version.pk}/promote/"
    assert client_of("vera", company, "viewer").post(url).status_code == 403
    assert client_of("bob", company, "model_engineer", "customer-service").post(url).status_code == 404
    make_report(version)
    client_of("emil", company, "model_engineer").post(url)
    assert ModelVersion.objects.get(pk=version.pk).stage == "live"


def test_a_fine_tune_is_refused_with_the_lines_that_are_wrong(company: Company) -> None:
    client = client_of("emil", company, "model_engineer")
    rows = SimpleUploadedFile(
        "rows.jsonl", b'{"text": "hello", "label": "greeting"}\n{"text": 7}\nnot json\n'
    )
    values = {"workload": "support-intent", "deployment": "private-sparse", "rows": rows}
    answer = client.post("/jobs/start/fine_tune/", values)
    assert answer.status_code == 400
    text = answer.content.decode()
    assert "2 of 3 rows are wrong" in text and "not a JSON object" in text
    assert not Job.objects.exclude(pk__startswith="job_legal").exclude(pk__startswith="job_customer").exists()


def test_an_evaluation_is_queued_once_and_stopped_from_its_page(company: Company) -> None:
    client = client_of("emil", company, "model_engineer")
    values = {"workload": "support-intent", "deployment": "private-sparse"}
    first = client.post("/jobs/start/evaluation/", values)["Location"]
    assert client.post("/jobs/start/evaluation/", values)["Location"] == first, (
        "a live job of that kind is given back"
    )
    job = Job.objects.get(pk=first.rstrip("/").split("/")[-1])
    assert (job.state, job.kind, job.lob) == ("queued", "evaluation", company.lobs["customer-service"])
    client.post(f"/jobs/{job.pk}/cancel/")
    job.refresh_from_db()
    assert job.state == "cancelled"


def test_htmx_gets_the_moving_part_alone_and_it_stops_asking_at_the_end(company: Company) -> None:
    client = client_of("emil", company, "model_engineer")
    url = client.post(
        "/jobs/start/evaluation/", {"workload": "support-intent", "deployment": "private-sparse"}
    )["Location"]
    moving = client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in moving and "hx-get" in moving
    client.post(f"{url}cancel/")
    assert "hx-get" not in client.get(url, headers={"HX-Request": "true"}).content.decode()


def test_a_risk_officer_reviews_and_it_is_audited(company: Company) -> None:
    row = Interception.objects.get(lob="legal")
    assert (
        client_of("vera", company, "viewer").post(f"/review/{row.pk}/", {"state": "released"}).status_code
        == 403
    )
    client_of("rita", company, "risk").post(f"/review/{row.pk}/", {"state": "released"})
    row.refresh_from_db()
    assert (row.state, row.reviewed_by) == ("released", "rita")
    assert AuditEvent.objects.filter(action="interception.released", actor="rita", lob="legal").exists()


def test_an_alert_is_resolved_once(company: Company) -> None:
    row = Alert.objects.get(lob="legal")
    client = client_of("olga", company, "operator")
    client.post(f"/alerts/{row.pk}/")
    row.refresh_from_db()
    first = row.resolved_at
    client.post(f"/alerts/{row.pk}/")
    row.refresh_from_db()
    assert first is not None and row.resolved_at == first


def test_a_formula_in_a_name_stays_text_in_the_csv(company: Company) -> None:
    for roll_up in (SpendHour, SpendDay):  # in the last hour of a day a period reads whole days
        roll_up.objects.filter(lob="legal").update(model="=cmd|' /C calc'!A0")
    lines = client_of("fin", company, "finance").get("/spend/?group=model&csv=spend-by").content.decode()
    assert "'=cmd" in lines and "\n=cmd" not in lines


def test_writing_in_one_line_of_business_and_reading_the_others_is_not_writing_everywhere(
    company: Company,
) -> None:
    from switchyard.tenancy.models import Membership, User

    client = client_of("wanda", company, "admin", "customer-service")
    Membership.objects.create(
        user=User.objects.get(username="wanda"), organisation=company.organisation, role="viewer"
    )
    assert client.get("/ledger/?lob=legal").status_code == 200, "she reads everything"
    assert client.get("/policies/new/?scope=customer-service").status_code == 200
    for scope in ("", "legal"):
        assert client.get(f"/policies/new/?scope={scope}").status_code == 404, scope
    live = company.policies["organisation"]
    assert client.post(f"/policies/{live.pk}/rollback/").status_code == 404
    assert client.post(f"/models/versions/{company.versions['legal'].pk}/promote/").status_code == 404
    assert client.post(f"/jobs/{company.jobs['legal'].pk}/retry/").status_code == 404
    values = {"workload": "contract-clauses", "deployment": "private-sparse"}
    assert client.post("/jobs/start/evaluation/", values).status_code == 404
    assert (
        client.post(f"/review/{Interception.objects.get(lob='legal').pk}/", {"state": "released"}).status_code
        == 404
    )
    assert client.post(f"/alerts/{Alert.objects.get(lob='legal').pk}/").status_code == 404


def test_jobs_of_every_kind_with_nothing_said_of_them_are_listed_and_opened(company: Company) -> None:
    client = client_of("emil", company, "admin")
    for kind in Job.KINDS:
        Job.objects.create(
            id=f"job_bare_{kind}", organisation=company.organisation, kind=kind, queue="default"
        )
        assert client.get(f"/jobs/job_bare_{kind}/").status_code == 200, kind
    assert client.get("/jobs/").content.count(b"job_bare_") >= len(Job.KINDS)


def test_the_cards_of_all_shipped_models_are_shown(company: Company) -> None:
    from modelhub import artifacts
    from tests import factories as make

    shipped = sorted(
        folder.name for folder in artifacts.SHIPPED.iterdir() if (folder / artifacts.MANIFEST).is_file()
    )
    for name in shipped:
        make.make_deployment(company.organisation, f"d-{name}", model=name)
        for head in artifacts.load_manifest(artifacts.find(name)).get("metrics", {}):
            if (
                not company.lobs["legal"].workloads.filter(name=head).exists()
                and head not in company.workloads
            ):
                company.organisation.workloads.get_or_create(
                    name=head, defaults={"lob": company.lobs["legal"], "task": "classification"}
                )
    text = client_of("emil", company, "admin").get("/models/").content.decode()
    assert [name for name in shipped if f"h-card-{name}" not in text] == []


def test_a_candidate_of_another_model_has_its_card_beside_the_deployments_own(company: Company) -> None:
    from modelhub.models import ModelVersion
    from tests import factories as make

    deployment = make.make_deployment(company.organisation, "rows", model="tabular-base")
    ModelVersion.objects.create(
        deployment=deployment, workload=company.workloads["legal"], version="dgn-1", stage="candidate",
        upstream_model="tabular-dgn/equipment-fault",
    )  # fmt: skip
    text = client_of("emil", company, "admin").get("/models/").content.decode()
    assert "h-card-tabular-base" in text and "h-card-tabular-dgn" in text


def test_the_saving_against_each_single_side_has_its_sign(company: Company) -> None:
    client = client_of("fin", company, "finance")
    text = client.get("/").content.decode()
    assert text.count('class="saving gain"') == 2 and "Saving +$0.0000900 against all private" in text
    for roll_up in (SpendHour, SpendDay):
        roll_up.objects.filter(other_side_known__gt=0).update(other_side_cost_nusd=1)
    text = client.get("/").content.decode()
    assert text.count('class="saving loss"') == 2 and "Saving −$" in text and "it cost more" in text
