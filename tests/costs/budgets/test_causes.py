"""Alerts of budgets say in one line what most of it came from and what changed."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from costs import budgets
from costs.budgets.causes import cause_of
from costs.models import Alert, AlertDelivery, SpendHour
from costs.notify import messages, targets
from costs.selectors import limit_of
from tests import factories
from tests.costs.budgets.rows import book, make_row

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
MONTH = datetime(2026, 11, 1, tzinfo=UTC)
_numbers = itertools.count(1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def legal(db, time_machine):
    time_machine.move_to(NOON, tick=False)
    return factories.make_lob(factories.make_organisation(), slug="legal")


def roll(lob, workload, deployment, nusd, hours_ago, requests=10, **changes):
    values = {
        "organisation_id": lob.organisation_id, "start": NOON - timedelta(hours=hours_ago), "lob": lob.slug,
        "workload": workload, "deployment": deployment, "model": "m", "side": "external", "cost_nusd": nusd,
        "requests": requests, "tokens_in": requests * 100, "node": str(next(_numbers)),
    }  # fmt: skip
    return SpendHour.objects.create(**values | changes)


def test_the_cause_names_the_largest_part_and_how_much_more_was_asked(legal):
    roll(legal, "support-intent", "ext-mini", 620, 2, requests=31)
    roll(legal, "support-intent", "ext-mini", 0, 30, requests=10)
    roll(legal, "contract-clauses", "ext-mini", 380, 3)
    roll(legal, "contract-clauses", "ext-mini", 10**9, 3, origin="demonstration")
    found = cause_of(limit_of(make_row(legal, period="month")), MONTH)
    assert found == "support-intent on ext-mini: 62 % of it; requests ×3.1 against the day before"


def test_dearer_requests_are_told_apart_from_more_of_them(legal):
    row = limit_of(make_row(legal, period="month"))
    roll(legal, "support-intent", "ext-mini", 200, 30, tokens_in=1_000)
    roll(legal, "support-intent", "ext-mini", 800, 2, tokens_in=4_000)
    assert cause_of(row, MONTH).endswith("tokens a request ×4 against the day before")
    SpendHour.objects.update(tokens_in=1_000)
    assert cause_of(row, MONTH).endswith("cost of a request ×4 against the day before")
    SpendHour.objects.update(cost_nusd=300)
    assert cause_of(row, MONTH).endswith("100 % of it; much as the day before")
    SpendHour.objects.filter(start__lt=NOON - timedelta(days=1)).delete()
    assert cause_of(row, MONTH).endswith("nothing of it the day before")


def test_a_budget_of_the_organisation_names_the_line_of_business_and_a_narrow_one_only_its_own(legal):
    service = factories.make_lob(legal.organisation, "customer-service")
    roll(service, "triage", "ext-mini", 900, 2)
    roll(legal, "clauses", "private-sparse", 100, 2, application="desk")
    roll(legal, "clauses", "private-large", 150, 2, application="other")
    whole = factories.make_budget(legal.organisation)
    assert cause_of(limit_of(whole), MONTH).startswith("customer-service, triage on ext-mini: 78 % of it")
    desk = make_row(legal, "application:desk", period="month")
    assert cause_of(limit_of(desk), MONTH).startswith("clauses on private-sparse: 100 % of it")
    key, _ = factories.make_key(factories.make_application(legal, "desk"))
    own = make_row(legal, f"key:{key.pk}", period="month")
    assert cause_of(limit_of(own), MONTH).startswith("clauses on private-sparse: 100 % of it")


def test_labels_say_what_they_were_for_and_nothing_says_nothing(legal):
    row = limit_of(make_row(legal, period="month", covers="labels"))
    assert cause_of(row, MONTH) == ""
    book(legal, 750, NOON, purpose="label", workload="contract-clauses")
    book(legal, 250, NOON, purpose="review", workload="contract-clauses")
    book(legal, 9_000, NOON, purpose="answer", workload="contract-clauses")
    assert cause_of(row, MONTH) == "label of contract-clauses: 75 % of it"


def test_an_alert_of_a_budget_is_raised_with_its_cause_and_its_deliveries(legal, valkey, settings):
    settings.REDIS_URL = valkey.url
    targets.create_target(
        organisation_id=legal.organisation_id, lob=legal, kind="email", address="a@b.example", user=None
    )
    roll(legal, "support-intent", "ext-mini", 8_500, 2)
    book(legal, 8_500, NOON - timedelta(hours=2))
    row = make_row(legal, period="month")
    assert [a.kind for a in budgets.check_thresholds(valkey.client())] == ["budget_warning"]
    alert = Alert.objects.get()
    assert alert.cause.startswith("support-intent on ext-mini: 100 % of it")
    assert AlertDelivery.objects.get().alert == alert
    assert budgets.check_thresholds(valkey.client()) == []
    asked = budgets.request_top_up(
        budget=row, user=factories.make_user("fiona", legal.organisation), amount_nusd=500, reason="r"
    )
    budgets.approve_top_up(extra=asked, user=factories.make_user("frank", legal.organisation))
    assert len(budgets.check_thresholds(valkey.client())) == 1  # 81 % of the new limit is news
    assert budgets.check_thresholds(valkey.client()) == []


def test_an_alert_is_written_in_the_installations_language(legal, valkey, settings):
    """Tasks have no reader: they speak the language of the settings, the cause as well as the message."""
    settings.REDIS_URL = valkey.url
    roll(legal, "support-intent", "ext-mini", 8_500, 2)
    book(legal, 8_500, NOON - timedelta(hours=2))
    make_row(legal, period="month")
    with translation.override("zh-hans"):
        [alert] = budgets.check_thresholds(valkey.client())
        subject = messages.subject_of(alert)
    assert "has passed" not in alert.message and "0.0000085" in alert.message and "lob:legal" in alert.message
    assert "of it" not in alert.cause and "support-intent" in alert.cause and "100 %" in alert.cause
    assert "budget warning" not in subject and subject.startswith("Switchyard")
    assert messages.subject_of(alert) == "Switchyard: budget warning, lob:legal"
