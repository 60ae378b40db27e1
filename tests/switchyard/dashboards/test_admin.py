"""The admin: keys shown once, prices and budgets in dollars, policies proven on save, every change told to the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from costs.models import Budget, Price
from modelhub.models import Deployment
from routing.models import Policy
from switchyard.audit.models import AuditEvent
from switchyard.core.crypto import keyed_digest
from switchyard.tenancy.models import ApiKey, ConfigVersion, LineOfBusiness, Membership, User
from tests import factories as make
from tests.switchyard.dashboards.company import LOB_POLICY, Company, make_company

pytestmark = pytest.mark.django_db
LEAK = """\
rules:
  - name: everything goes out
    when: "true"
    route: {prefer: [ext-mini]}
"""


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


@pytest.fixture
def admin(company: Company) -> Client:
    user = make.make_user("alice", company.organisation, "admin", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client


def version() -> int:
    row = ConfigVersion.objects.first()
    return row.version if row else 0


def said(answer: Any) -> str:
    return " ".join(str(m) for m in get_messages(answer.wsgi_request))


def test_every_list_and_form_of_the_admin_opens(admin: Client) -> None:
    from django.contrib import admin as site

    for model in site.site._registry:
        label = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert admin.get(label).status_code == 200, label
        if model._meta.app_label in ("tenancy", "costs", "modelhub", "routing", "jobs", "audit"):
            first = model._default_manager.first()
            if first is not None:
                assert admin.get(f"{label}{first.pk}/change/").status_code == 200, label
            assert admin.get(f"{label}add/").status_code in (200, 403), label


def test_a_key_is_shown_once_and_never_readable_again(admin: Client, company: Company) -> None:
    application = make.make_application(company.lobs["legal"])
    before = version()
    answer = admin.post("/admin/tenancy/apikey/add/", {"application": application.pk, "name": "desk"})
    key = ApiKey.objects.get(name="desk")
    plain = said(answer).split("shown-once'>")[1].split("<")[0]
    assert keyed_digest(plain) == key.digest
    assert version() > before
    page = admin.get(f"/admin/tenancy/apikey/{key.pk}/change/", follow=True)
    page = admin.get(f"/admin/tenancy/apikey/{key.pk}/change/")
    assert plain.encode() not in page.content and key.digest.encode() not in page.content
    assert not any(plain in str(event.detail) for event in AuditEvent.objects.all())


def test_a_revoked_key_says_so(admin: Client, company: Company) -> None:
    key, _ = make.make_key(make.make_application(company.lobs["legal"]))
    admin.post("/admin/tenancy/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_a_line_of_business_belongs_to_the_administrators_organisation(
    admin: Client, company: Company
) -> None:
    before = version()
    values = {
        "slug": "sales",
        "name": "Sales",
        "guard_mode": "observe",
        "guard_threshold": "0.9",
        "label_price_nusd": "0",
    }
    assert admin.post("/admin/tenancy/lineofbusiness/add/", values).status_code == 302
    assert LineOfBusiness.objects.get(slug="sales").organisation == company.organisation
    assert version() > before
    assert AuditEvent.objects.filter(action="lineofbusiness.created", actor="alice", lob="sales").exists()


def test_prices_are_written_in_dollars_per_million_and_close_the_one_before(
    admin: Client, company: Company
) -> None:
    values = {
        "deployment": "ext-mini",
        "valid_from_0": "2026-06-01",
        "valid_from_1": "00:00:00",
        "input_nusd_per_munit": "0.15",
        "output_nusd_per_munit": "0.60",
        "call_nusd_per_munit": "0",
        "minimum_nusd": "0",
        "source": "book, 2026-06-01",
    }
    before = version()
    answer = admin.post("/admin/costs/price/add/", values)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    price = Price.objects.get(source="book, 2026-06-01")
    assert (price.input_nusd_per_munit, price.output_nusd_per_munit) == (150_000_000, 600_000_000)
    assert Price.objects.get(deployment="ext-mini", valid_from=make.LONG_AGO).valid_to == price.valid_from
    assert version() > before
    assert admin.post("/admin/costs/price/add/", values).status_code == 200, (
        "the same dates again are refused"
    )
    assert Price.objects.filter(deployment="ext-mini").count() == 2


def test_a_price_that_was_in_force_cannot_be_edited(admin: Client) -> None:
    price = Price.objects.get(deployment="ext-mini")
    assert (
        admin.post(f"/admin/costs/price/{price.pk}/change/", {"input_nusd_per_munit": "9"}).status_code == 403
    )
    assert admin.post(f"/admin/costs/price/{price.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_budget_is_written_in_dollars_and_its_scope_must_exist(admin: Client, company: Company) -> None:
    values = {
        "scope": "lob:legal",
        "covers": "all",
        "limit_nusd": "12.50",
        "period": "day",
        "timezone": "Europe/Zurich",
        "action": "stop",
        "on_outage": "",
        "warn_pct": "80",
    }
    assert admin.post("/admin/costs/budget/add/", values).status_code == 302
    budget = Budget.objects.get(scope="lob:legal", period="day")
    assert (budget.limit_nusd, budget.lob) == (12_500_000_000, company.lobs["legal"])
    labels = {"covers": "labels", "action": "throttle"}
    for wrong in ({"scope": "lob:nobody"}, {"scope": "everything"}, {"timezone": "Mars/Olympus"}, labels):
        assert (
            admin.post("/admin/costs/budget/add/", values | {"period": "week"} | wrong).status_code == 200
        ), wrong
    assert not Budget.objects.filter(period="week").exists()


def test_a_deployments_key_is_written_and_never_shown(admin: Client, company: Company) -> None:
    deployment = company.deployments["ext-mini"]
    values = {
        "name": "ext-mini",
        "side": "external",
        "base_url": "http://127.0.0.1:9/v1",
        "new_api_key": "sk-very-secret",
        "model": "txt-edge",
        "tasks": ["classification"],
        "heads": "on",
        "region": "",
        "max_output_tokens": "1024",
        "max_concurrency": "64",
        "enabled": "on",
        "note": "",
    }
    url = f"/admin/modelhub/deployment/{deployment.pk}/change/"
    assert admin.post(url, values).status_code == 302
    assert Deployment.objects.get(pk=deployment.pk).api_key == "sk-very-secret"
    page = admin.get(url).content
    assert (
        b"sk-very-secret" not in page
        and Deployment.objects.get(pk=deployment.pk).sealed_api_key.encode() not in page
    )
    assert admin.post(url, values | {"new_api_key": ""}).status_code == 302
    assert Deployment.objects.get(pk=deployment.pk).api_key == "sk-very-secret", (
        "left empty, the old one stays"
    )
    assert admin.post(url, values | {"base_url": "http://169.254.169.254/v1"}).status_code == 200, "refused"


def test_a_policy_that_lets_confidential_data_out_is_refused_with_the_request_that_proves_it(
    admin: Client, company: Company
) -> None:
    lob = company.lobs["legal"]
    answer = admin.post("/admin/routing/policy/add/", {"lob": lob.pk, "document": LEAK, "note": ""})
    assert answer.status_code == 200
    faults = " ".join(answer.context["adminform"].form.errors["document"])
    assert "Line 4, column" in faults and "contract-clauses" in faults and "ext-mini" in faults
    assert "The request that proves it" in faults and "restricted data stays home" in faults
    assert not Policy.objects.filter(lob=lob).exists()


def test_a_policy_is_changed_published_and_rolled_back_from_its_form(admin: Client, company: Company) -> None:
    lob, old = company.lobs["customer-service"], company.policies["customer-service"]
    url = f"/admin/routing/policy/{old.pk}/change/"
    home = LOB_POLICY.replace(
        "prefer: [ext-mini], fallback: [private-sparse]", "prefer: [private-sparse]"
    ).replace("edge goes out", "home")
    before = version()
    answer = admin.post(url, {"document": home.replace("\n", "\r\n"), "note": "home", "_publish": "1"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    new = Policy.objects.get(lob=lob, state="live")
    assert (new.version, new.document, new.note) == (old.version + 1, home, "home")
    assert Policy.objects.get(pk=old.pk).document == LOB_POLICY, "the stored version is untouched"
    assert Policy.objects.get(pk=old.pk).state == "superseded"
    assert version() > before
    admin.post(
        f"/admin/routing/policy/{new.pk}/change/", {"document": home, "note": "home", "_rollback": "1"}
    )
    assert Policy.objects.get(lob=lob, state="live").pk == old.pk
    assert Policy.objects.filter(lob=lob).count() == 2, "rolling back writes no version"


def test_the_books_decisions_and_the_audit_log_cannot_be_written(admin: Client, company: Company) -> None:
    from costs.models import LedgerEntry
    from routing.models import DecisionRecord

    for row in (LedgerEntry.objects.first(), DecisionRecord.objects.first(), AuditEvent.objects.first()):
        label = f"/admin/{row._meta.app_label}/{row._meta.model_name}/"
        assert admin.post(f"{label}add/", {}).status_code == 403
        assert admin.post(f"{label}{row.pk}/change/", {"lob": "x"}).status_code == 403
        assert admin.post(f"{label}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_somebody_elses_organisation_is_not_administered(admin: Client) -> None:
    other = make.make_lob(make.make_organisation(), "foreign")
    assert b"foreign" not in admin.get("/admin/tenancy/lineofbusiness/").content
    assert admin.get(f"/admin/tenancy/lineofbusiness/{other.pk}/change/").status_code == 302
    assert str(other.pk) not in [
        str(v)
        for v, _ in admin.get("/admin/tenancy/workload/add/").context["adminform"].form.fields["lob"].choices
    ]


def test_a_person_is_given_a_role_in_the_administrators_organisation(admin: Client, company: Company) -> None:
    bob = User.objects.create_user("bob", password="correct horse battery")
    form = {
        "username": "bob",
        "first_name": "",
        "last_name": "",
        "email": "",
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "0",
        "memberships-MIN_NUM_FORMS": "0",
        "memberships-MAX_NUM_FORMS": "1000",
        "memberships-0-role": "viewer",
        "memberships-0-user": bob.pk,
        "memberships-0-lobs": [company.lobs["legal"].pk],
    }
    answer = admin.post(f"/admin/tenancy/user/{bob.pk}/change/", form)
    assert answer.status_code == 302, answer.context["errors"]
    membership = Membership.objects.get(user=bob)
    assert membership.organisation == company.organisation and [
        lob.slug for lob in membership.lobs.all()
    ] == ["legal"]


def test_staff_without_permissions_sees_nothing(company: Company) -> None:
    client = Client()
    client.force_login(make.make_user("carol", company.organisation, "viewer", is_staff=True))
    assert client.get("/admin/costs/ledgerentry/").status_code == 403


def test_the_admin_names_what_it_shows_in_the_readers_language(admin: Client) -> None:
    admin.cookies["django_language"] = "zh-hans"
    page = admin.get("/admin/routing/policy/").content.decode()
    assert "选择 策略 来修改" in page and "审计事件" in page and "创建时间" in page
    admin.cookies["django_language"] = "en"
    page = admin.get("/admin/routing/policy/").content.decode()
    assert "Select policy to change" in page and "Audit events" in page


def test_every_model_of_ours_in_the_admin_is_named_on_the_list() -> None:
    from django.contrib import admin as site
    from django.utils import translation

    from switchyard.dashboards.admin_names import OURS

    with translation.override("zh-hans"):
        english = [
            str(name)
            for model in site.site._registry
            if model._meta.app_label in OURS
            for name in (model._meta.verbose_name, model._meta.verbose_name_plural)
            if str(name).replace("API", "").isascii()
        ]
    assert english == []
