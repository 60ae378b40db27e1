"""The pages of budgets and alerts: what they show, who may do what, and that a neighbour may nothing."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.test import Client

from costs import tasks
from costs.models import AlertDelivery, AlertTarget, Budget, BudgetExtra, SpendHour
from switchyard.core.clock import now
from tests.costs.budgets.rows import book
from tests.costs.notify.receiver import receiving
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


def ask(client: Client, budget: Budget, **changes: str):
    values = {"budget": str(budget.pk), "amount_usd": "5", "reason": "quarter end", "period": "current"}
    return client.post("/budgets/top-ups/", values | changes)


def test_a_top_up_is_asked_for_and_approved_on_the_page(company: Company) -> None:
    legal = Budget.objects.get(scope="lob:legal")
    olga, fiona = client_of("olga", company, "operator"), client_of("fiona", company, "finance")
    assert ask(olga, legal).status_code == 302
    extra = BudgetExtra.objects.get()
    approve = f"/budgets/top-ups/{extra.pk}/approve/"
    assert approve not in olga.get("/budgets/").content.decode(), "an operator asks, finance decides"
    assert olga.post(approve).status_code == 403
    assert approve in fiona.get("/budgets/").content.decode()
    assert "Approved" in fiona.post(approve, follow=True).content.decode()
    extra.refresh_from_db()
    assert (extra.state, extra.amount_nusd) == ("approved", 5 * 10**9)
    rows = list(csv.reader(StringIO(fiona.get("/budgets/?csv=headroom").content.decode())))
    topped = dict(zip(rows[0], next(r for r in rows if r[0].startswith("legal")), strict=True))
    assert (topped["Limit (USD)"], topped["Topped up (USD)"], topped["Left (USD)"]) == (
        "250.00",
        "5.00",
        "255.00",
    )


def test_nobody_decides_on_their_own_and_nonsense_is_told(company: Company) -> None:
    legal, fiona = Budget.objects.get(scope="lob:legal"), client_of("fiona", company, "finance")
    ask(fiona, legal)
    path = f"/budgets/top-ups/{BudgetExtra.objects.get().pk}/"
    assert f"{path}approve/" not in fiona.get("/budgets/").content.decode()
    assert "somebody other" in fiona.post(f"{path}approve/", follow=True).content.decode()
    assert fiona.post(f"{path}forget/").status_code == 404
    for wrong in ({"amount_usd": "much"}, {"amount_usd": "NaN"}, {"reason": " "}, {"period": "last"}):
        ask(fiona, legal, **wrong)
    assert BudgetExtra.objects.count() == 1
    assert (
        fiona.post("/budgets/top-ups/", {"budget": "x", "amount_usd": "5", "reason": "r"}).status_code == 404
    )


def test_a_neighbour_neither_asks_nor_decides(company: Company) -> None:
    legal = Budget.objects.get(scope="lob:legal")
    ask(client_of("fiona", company, "finance"), legal)
    bob = client_of("bob", company, "admin", "customer-service")
    assert "quarter end" not in bob.get("/budgets/").content.decode()
    assert ask(bob, legal).status_code == 404
    assert ask(bob, Budget.objects.get(scope="organisation")).status_code == 404
    for decision in ("approve", "refuse"):
        assert bob.post(f"/budgets/top-ups/{BudgetExtra.objects.get().pk}/{decision}/").status_code == 404
    assert ask(client_of("vera", company, "viewer"), legal).status_code == 403


def test_a_burn_down_says_when_it_runs_out_and_its_table_holds_the_same(company: Company) -> None:
    """A dollar an hour for ten hours, of twelve: two are left."""
    budget = Budget.objects.get(scope="lob:legal")
    budget.period, budget.limit_nusd = "total", 12 * 10**9
    budget.save()
    SpendHour.objects.all().delete()
    hour = now().replace(minute=0, second=0, microsecond=0)
    for ago in range(1, 11):
        SpendHour.objects.create(
            organisation_id=company.organisation.pk, start=hour - timedelta(hours=ago), lob="legal", deployment="d",
            model="m", side="private", cost_nusd=10**9, requests=1,
        )  # fmt: skip
        book(company.lobs["legal"], 10**9, hour - timedelta(hours=ago))
    client = client_of("fin", company, "finance")
    text = client.get("/budgets/").content.decode()
    said = re.search(r"It runs out about (\S+ \S+), at an even pace", text)
    assert said is not None
    runs_out = datetime.strptime(said[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    # ten dollars in ten hours and what has gone of this one: the last two take about as long as a fifth of that
    assert abs(runs_out - now() - (now() - hour + timedelta(hours=10)) / 5) < timedelta(minutes=2)
    table = list(csv.reader(StringIO(client.get(f"/budgets/?csv=burn-down-{budget.pk}").content.decode())))
    known = [float(row[1]) for row in table[1:] if row[1]]
    assert known == [12.0 - n for n in range(11)]


def test_a_target_is_added_tried_switched_and_removed_on_the_page(company: Company) -> None:
    olga = client_of("olga", company, "operator")
    with receiving() as receiver:
        values = {"kind": "webhook", "address": receiver.url, "lob": "legal", "kinds": "", "secret": ""}
        text = olga.post("/alerts/targets/", values, follow=True).content.decode()
        assert re.search(r"shown this once: [\w-]{32,}", text)
        assert "shown this once" not in olga.get("/alerts/").content.decode()
        path = f"/alerts/targets/{AlertTarget.objects.get().pk}/"
        assert "on its way" in olga.post(f"{path}test/", follow=True).content.decode()
        assert tasks.send_alerts() >= 1
    assert AlertDelivery.objects.get(alert__kind="test").state == "sent"
    olga.post(f"{path}pause/")
    assert AlertTarget.objects.get().active is False
    olga.post(f"{path}resume/")
    assert AlertTarget.objects.get().active is True
    assert olga.post(f"{path}paint/").status_code == 404
    olga.post(f"{path}delete/")
    assert not AlertTarget.objects.exists()


def test_a_kind_nobody_ever_raised_is_taken_and_told_of(company: Company) -> None:
    olga = client_of("olga", company, "operator")
    values = {
        "kind": "webhook",
        "address": "https://example.com/h",
        "lob": "legal",
        "kinds": "budget_warnning",
    }
    text = olga.post("/alerts/targets/", values, follow=True).content.decode()
    assert "look at its spelling: budget_warnning" in text
    assert (
        "spelling" not in olga.post("/alerts/targets/", values | {"kinds": ""}, follow=True).content.decode()
    )


def test_a_target_that_may_not_be_called_is_refused_in_words(company: Company) -> None:
    olga = client_of("olga", company, "operator")
    values = {"kind": "webhook", "address": "http://169.254.169.254/", "lob": ""}
    assert "never an upstream" in olga.post("/alerts/targets/", values, follow=True).content.decode()
    assert not AlertTarget.objects.exists()


def test_a_neighbour_sees_no_target_and_makes_none_for_all(company: Company) -> None:
    olga = client_of("olga", company, "operator")
    for lob in ("legal", ""):
        olga.post("/alerts/targets/", {"kind": "email", "address": "money@legal.example", "lob": lob})
    for row in AlertTarget.objects.all():
        olga.post(f"/alerts/targets/{row.pk}/test/")
    bob = client_of("bob", company, "admin", "customer-service")
    assert "money@legal.example" not in bob.get("/alerts/").content.decode()
    for row in AlertTarget.objects.all():
        for action in ("test", "pause", "delete"):
            assert bob.post(f"/alerts/targets/{row.pk}/{action}/").status_code == 404
    mail = {"kind": "email", "address": "bob@service.example"}
    assert bob.post("/alerts/targets/", mail | {"lob": "legal"}).status_code == 404
    assert bob.post("/alerts/targets/", mail | {"lob": ""}).status_code == 403
    assert bob.post("/alerts/targets/", mail | {"lob": "customer-service"}).status_code == 302
    vera = client_of("vera", company, "viewer")
    assert vera.post("/alerts/targets/", mail | {"lob": "legal"}).status_code == 403
