"""A budget is made, changed and removed on its page; what is refused stays as it was typed; a neighbour may nothing."""

from __future__ import annotations

import pytest

from costs.models import Budget
from switchyard.audit.models import AuditEvent
from switchyard.tenancy.models import ConfigVersion
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db
NEW = "/budgets/new/"
VALUES = {
    "scope": "lob:legal", "covers": "all", "limit_nusd": "12.50", "period": "day", "timezone": "Europe/Zurich",
    "action": "throttle", "on_outage": "allow", "warn_pct": "70", "rollover": "on", "rollover_cap_nusd": "3",
}  # fmt: skip

WRONG: list[tuple[dict[str, str], str]] = [
    ({"scope": "lob:nobody"}, "There is no lob"),
    ({"scope": "everything"}, "Expected organisation, lob:"),
    ({"scope": "key:\x00"}, "Null characters are not allowed"),
    ({"limit_nusd": "much"}, "Enter a number"),
    ({"limit_nusd": "-1"}, "greater than or equal to 0"),
    ({"limit_nusd": "NaN"}, "Enter a number"),
    ({"limit_nusd": "2000000000"}, "less than or equal to 1000000000"),
    ({"timezone": "Mars/Olympus"}, "Not a time zone"),
    ({"period": "total"}, "has no period to carry over to"),
    ({"rollover": ""}, "Nothing is carried over"),
    ({"covers": "labels"}, "Labels have no rate"),
    ({"period": "month"}, "a budget of this period already"),
    ({"warn_pct": "101"}, "less than or equal to 100"),
    ({"period": "year"}, "Select a valid choice"),
]


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


def version() -> int:
    return ConfigVersion.objects.get().version


def test_finance_makes_a_budget_with_everything_it_can_say(company: Company) -> None:
    fiona = client_of("fiona", company, "finance")
    assert NEW in fiona.get("/budgets/").content.decode()
    page = fiona.get(NEW).content.decode()
    for scope in ("organisation", "lob:legal", "lob:customer-service"):
        assert f'<option value="{scope}">' in page
    before = version()
    assert "counts within two seconds" in fiona.post(NEW, VALUES, follow=True).content.decode()
    row = Budget.objects.get(scope="lob:legal", period="day")
    assert (row.limit_nusd, row.timezone, row.action, row.on_outage, row.warn_pct) == (
        12_500_000_000, "Europe/Zurich", "throttle", "allow", 70,
    )  # fmt: skip
    assert (row.rollover, row.rollover_cap_nusd) == (True, 3_000_000_000)
    assert (row.lob, row.organisation) == (company.lobs["legal"], company.organisation)
    assert version() > before, "every process is told"
    event = AuditEvent.objects.filter(action="budget.created").latest("sequence")
    assert (event.actor, event.lob, event.detail["limit_usd"]) == ("fiona", "legal", "12.50")


def test_applications_and_keys_have_budgets_too(company: Company) -> None:
    application = make.make_application(company.lobs["legal"], "contracts")
    key, _plain = make.make_key(application)
    fiona = client_of("fiona", company, "finance")
    for scope in ("application:contracts", f"key:{key.pk}"):
        assert f'<option value="{scope}">' in fiona.get(NEW).content.decode()
        assert fiona.post(NEW, VALUES | {"scope": scope}).status_code == 302
        assert Budget.objects.get(scope=scope).lob == company.lobs["legal"]


def test_what_is_refused_is_told_and_stays_as_it_was_typed(company: Company) -> None:
    fiona = client_of("fiona", company, "finance")
    for wrong, words in WRONG:
        typed = VALUES | {"limit_nusd": "12.75", "timezone": "Asia/Tokyo"} | wrong
        text = fiona.post(NEW, typed).content.decode()
        assert words in text, wrong
        for name in ("limit_nusd", "timezone"):
            assert f'value="{typed[name]}"' in text, (wrong, name)
    assert Budget.objects.count() == 3


def test_a_budget_is_changed_and_its_scope_stays(company: Company) -> None:
    row, fiona = Budget.objects.get(scope="lob:legal"), client_of("fiona", company, "finance")
    path = f"/budgets/{row.pk}/"
    assert f'href="{path}"' in fiona.get("/budgets/").content.decode()
    assert 'value="250"' in fiona.get(path).content.decode()
    values = VALUES | {"scope": "organisation", "covers": "labels", "period": "month", "limit_nusd": "300"}
    assert fiona.post(path, values).status_code == 302
    row.refresh_from_db()
    assert (row.scope, row.covers, row.limit_nusd) == ("lob:legal", "all", 300 * 10**9)
    text = fiona.post(path, values | {"limit_nusd": "lots"}).content.decode()
    assert 'value="lots"' in text and "<h1>legal · month</h1>" in text
    row.refresh_from_db()
    assert row.limit_nusd == 300 * 10**9


def test_a_budget_is_removed_and_binds_nothing(company: Company) -> None:
    row, fiona = Budget.objects.get(scope="lob:legal"), client_of("fiona", company, "finance")
    assert fiona.get(f"/budgets/{row.pk}/remove/").status_code == 405
    before = version()
    assert "binds nothing" in fiona.post(f"/budgets/{row.pk}/remove/", follow=True).content.decode()
    assert not Budget.objects.filter(pk=row.pk).exists() and version() > before
    assert AuditEvent.objects.filter(action="budget.deleted", target="budget:lob:legal month").exists()


def test_a_neighbour_and_those_without_the_role_change_nothing(company: Company) -> None:
    legal, whole = Budget.objects.get(scope="lob:legal"), Budget.objects.get(scope="organisation")
    bob = client_of("bob", company, "finance", "customer-service")
    page = bob.get(NEW).content.decode()
    assert "lob:legal" not in page and '<option value="organisation">' not in page
    assert "There is no lob" in bob.post(NEW, VALUES).content.decode()
    assert (
        "a role in all lines of business"
        in bob.post(NEW, VALUES | {"scope": "organisation"}).content.decode()
    )
    for row in (legal, whole):
        for path in (f"/budgets/{row.pk}/", f"/budgets/{row.pk}/remove/"):
            assert bob.post(path, VALUES).status_code == 404
        assert bob.get(f"/budgets/{row.pk}/").status_code == 404
    assert bob.post(NEW, VALUES | {"scope": "lob:customer-service"}).status_code == 302
    for role in ("viewer", "operator"):
        other = client_of(role, company, role)
        assert NEW not in other.get("/budgets/").content.decode()
        assert {other.get(p).status_code for p in (NEW, f"/budgets/{legal.pk}/")} == {403}
        assert (
            other.post(NEW, VALUES).status_code
            == other.post(f"/budgets/{legal.pk}/remove/").status_code
            == 403
        )
    assert Budget.objects.filter(lob=company.lobs["legal"]).count() == 1


def test_a_refused_top_up_stays_as_it_was_typed(company: Company) -> None:
    legal, fiona = Budget.objects.get(scope="lob:legal"), client_of("fiona", company, "finance")
    typed = {"budget": str(legal.pk), "amount_usd": "much", "reason": "quarter end", "period": "next"}
    text = fiona.post("/budgets/top-ups/", typed, follow=True).content.decode()
    assert "more than nothing" in text
    for words in (
        'value="much"',
        'value="quarter end"',
        '<option value="next" selected>',
        f'"{legal.pk}" selected>',
    ):
        assert words in text
    assert "quarter end" not in fiona.get("/budgets/").content.decode(), "it is shown once"
