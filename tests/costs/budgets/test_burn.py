"""The report of how budgets burn down, and the same on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from costs import budgets
from costs.budgets.burn import burns
from costs.models import BudgetExtra, SpendHour
from costs.reports.budgets import budget_burn
from costs.selectors import limit_of
from switchyard.tenancy.querysets import Scope
from tests import factories
from tests.costs.budgets.rows import book, make_row

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def legal(db, time_machine, valkey, settings):
    time_machine.move_to(NOON, tick=False)
    settings.REDIS_URL = valkey.url
    return factories.make_lob(factories.make_organisation(), slug="legal")


def spend(lob, nusd, at, **changes):
    book(lob, nusd, at, application=changes.get("application", ""))
    values = {
        "organisation_id": lob.organisation_id, "start": at.replace(minute=0), "lob": lob.slug, "deployment": "d",
        "model": "m", "side": "private", "cost_nusd": nusd, "requests": 1,
    }  # fmt: skip
    SpendHour.objects.create(**values | changes)


def report_for(lob, *slugs):
    scope = Scope(
        lob.organisation_id, frozenset({lob.pk}) if slugs else None, frozenset(slugs) or None, frozenset()
    )
    return budget_burn(scope=scope, start=NOON, end=NOON)


def test_a_row_says_what_was_granted_added_spent_and_when_it_will_be_gone(legal):
    row = make_row(legal, limit_nusd=1_000)
    for hour in range(12):
        spend(legal, 50, NOON - timedelta(hours=hour + 1))
    start = NOON.replace(hour=0)
    BudgetExtra.objects.create(budget=row, period_start=start, kind="carry", amount_nusd=70, state="approved")
    people = [factories.make_user(name, legal.organisation) for name in ("fiona", "frank")]
    asked = budgets.request_top_up(budget=row, user=people[0], amount_nusd=30, reason="r")
    budgets.request_top_up(budget=row, user=people[0], amount_nusd=9_999, reason="never approved")
    budgets.approve_top_up(extra=asked, user=people[1])
    report = report_for(legal)
    [found] = report.rows
    assert found == {
        "key": "lob:legal · day", "scope": "lob:legal", "covers": "all", "period": "day", "timezone": "UTC", "action": "stop",
        "from": start, "until": start + timedelta(days=1), "limit_nusd": 1_000, "carried_nusd": 70, "topped_up_nusd": 30,
        "period_limit_nusd": 1_100, "spent_nusd": 600, "reserved_nusd": 0, "left_nusd": 500, "used_share": 600 / 1_100,
        "exhausts_at": NOON + timedelta(hours=10), "low": NOON + timedelta(hours=10), "high": NOON + timedelta(hours=10),
        "pace": "even",
    }  # fmt: skip
    assert report.totals == {"budgets": 1, "spent": 0, "running_out": 1}


def test_each_budget_burns_by_its_own_hours(legal):
    service = factories.make_lob(legal.organisation, "customer-service")
    spend(legal, 100, NOON - timedelta(hours=1), application="desk")
    spend(legal, 50, NOON - timedelta(hours=2), application="other")
    spend(service, 7, NOON - timedelta(hours=3), application="desk")
    spend(legal, 10**9, NOON - timedelta(hours=3), origin="demonstration")
    key, _ = factories.make_key(factories.make_application(legal, "desk"))
    rows = [
        factories.make_budget(legal.organisation), make_row(legal), make_row(legal, "application:desk"),
        make_row(legal, f"key:{key.pk}"), make_row(service, "lob:customer-service"),
        make_row(legal, covers="labels"),
    ]  # fmt: skip
    book(legal, 3, NOON - timedelta(hours=1), purpose="label")
    sums = [sum(burn.hours.values()) for burn in burns(rows)]
    assert sums == [157, 150, 100, 100, 7, 3]


def test_many_budgets_take_no_more_queries_than_a_few(legal, django_assert_max_num_queries):
    rows = [make_row(legal, f"application:a{n}") for n in range(30)]
    for row in rows:
        budgets.rebuild_counter(limit_of(row), budgets.client())
    with django_assert_max_num_queries(6):
        assert len(burns(rows)) == 30


def test_a_reader_of_one_line_of_business_sees_no_others_and_not_the_organisations(legal):
    make_row(factories.make_lob(legal.organisation, "customer-service"), "lob:customer-service")
    make_row(legal)
    factories.make_budget(legal.organisation)
    assert len(report_for(legal).rows) == 3
    assert [row["scope"] for row in report_for(legal, "legal").rows] == ["lob:legal"]


def test_the_command_line_prints_it(legal):
    make_row(legal, limit_nusd=2_000_000_000)
    out = StringIO()
    call_command("report", "budget-burn", stdout=out)
    [row] = json.loads(out.getvalue())["rows"]
    assert (row["limit_usd"], row["left_usd"], row["exhausts_at"], row["pace"]) == (
        "2.00",
        "2.00",
        None,
        "none",
    )
