"""What is left of a period is carried into the next: once, from the ledger, never more than there was."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs import budgets
from costs.budgets import spending
from costs.models import BudgetExtra
from costs.selectors import limit_of
from tests import factories
from tests.costs.budgets.rows import book, make_row
from tests.costs.events import make_attempt, make_event

_numbers = itertools.count(1)
DAY = datetime(2026, 11, 3, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def legal(db, time_machine):
    time_machine.move_to(DAY + timedelta(hours=9), tick=False)
    return factories.make_lob(factories.make_organisation(), slug="legal")


def carried():
    return list(BudgetExtra.objects.order_by("period_start").values_list("period_start", "amount_nusd"))


def test_what_is_left_is_added_once_and_only_when_late_calls_have_settled(legal, valkey, time_machine):
    row = make_row(legal, rollover=True)
    book(legal, 7_500, DAY + timedelta(hours=10))
    waiting = make_event(
        make_attempt(cost_nusd=500), at=DAY + timedelta(hours=23, minutes=59), lob="legal",
        organisation_id=legal.organisation_id,
    )  # fmt: skip
    valkey.client().xadd("sy:usage", {"d": orjson.dumps(waiting)})
    time_machine.move_to(DAY + timedelta(days=1, minutes=4))
    assert budgets.carry_over(valkey.client()) == []  # the day before: it didn't roll over then
    assert limit_of(row).extras == ()
    time_machine.move_to(DAY + timedelta(days=1, minutes=5))
    assert [e.amount_nusd for e in budgets.carry_over(valkey.client())] == [2_000]
    assert budgets.carry_over(valkey.client()) == []
    book(legal, 1, DAY + timedelta(hours=11))  # told of too late: the decision stands
    assert budgets.carry_over(valkey.client()) == []
    assert carried() == [(DAY + timedelta(days=1), 2_000)]
    assert limit_of(row).limit_at(int((DAY + timedelta(days=1)).timestamp())) == 12_000


def test_days_that_nobody_looked_at_are_made_up_in_order(legal, valkey, time_machine):
    make_row(legal, rollover=True, rollover_cap_nusd=15_000)
    budgets.carry_over(valkey.client())
    book(legal, 4_000, DAY + timedelta(hours=10))
    book(legal, 16_000, DAY + timedelta(days=2, hours=1))
    time_machine.move_to(DAY + timedelta(days=4, hours=1))
    budgets.carry_over(valkey.client())
    # 10,000 − 4,000; then 10,000 + 6,000, capped; then 25,000 − 16,000; then 19,000, capped
    assert [nusd for _, nusd in carried()] == [6_000, 15_000, 9_000, 15_000]


def test_what_was_overspent_is_not_carried(legal, valkey, time_machine):
    make_row(legal, rollover=True, action="warn")
    book(legal, 12_000, DAY + timedelta(hours=10))
    time_machine.move_to(DAY + timedelta(days=1, hours=1))
    assert budgets.carry_over(valkey.client()) == [] and carried() == []


def test_a_top_up_is_for_its_own_period(legal, valkey, time_machine):
    row = make_row(legal, rollover=True)
    asked = budgets.request_top_up(
        budget=row, user=factories.make_user("fiona", legal.organisation), amount_nusd=90_000, reason="fair"
    )
    budgets.approve_top_up(extra=asked, user=factories.make_user("frank", legal.organisation))
    book(legal, 3_000, DAY + timedelta(hours=10))
    time_machine.move_to(DAY + timedelta(days=1, hours=1))
    assert [e.amount_nusd for e in budgets.carry_over(valkey.client())] == [7_000]


def test_a_limit_raised_after_the_end_carries_no_more(legal, valkey, time_machine):
    row = make_row(legal, rollover=True)
    time_machine.move_to(DAY + timedelta(days=1, minutes=2))
    row.limit_nusd = 1_000_000
    row.save()
    time_machine.move_to(DAY + timedelta(days=1, minutes=10))
    assert [e.amount_nusd for e in budgets.carry_over(valkey.client())] == [10_000]


def test_a_budget_that_did_not_roll_over_then_has_nothing_to_carry(legal, valkey, time_machine):
    row = make_row(legal)
    make_row(legal, rollover=True, period="total")
    time_machine.move_to(DAY + timedelta(days=1, minutes=2))
    row.rollover = True
    row.save()
    time_machine.move_to(DAY + timedelta(days=1, minutes=10))
    assert budgets.carry_over(valkey.client()) == []
    time_machine.move_to(DAY + timedelta(days=2, minutes=10))
    assert [e.amount_nusd for e in budgets.carry_over(valkey.client())] == [10_000]


def test_nothing_is_carried_while_the_stream_is_too_long_to_read(legal, valkey, time_machine, monkeypatch):
    make_row(legal, rollover=True)
    time_machine.move_to(DAY + timedelta(days=1, minutes=10))
    monkeypatch.setattr(spending, "PENDING_MAX", 1)
    valkey.client().xadd("sy:usage", {"d": orjson.dumps(make_event())})
    assert budgets.carry_over(valkey.client()) == []
    valkey.client().delete("sy:usage")
    assert [e.amount_nusd for e in budgets.carry_over(valkey.client())] == [10_000]


def test_the_hour_that_clocks_repeat_belongs_to_the_day_that_ends(legal, valkey, time_machine):
    """In Berlin 25 October 2026 lasts 25 hours: what is spent in its last hour is no part of the next day."""
    time_machine.move_to(datetime(2026, 10, 24, 9, tzinfo=UTC))
    row = make_row(legal, rollover=True, timezone="Europe/Berlin")
    budgets.carry_over(valkey.client())
    book(legal, 10_000, datetime(2026, 10, 24, 12, tzinfo=UTC))
    book(legal, 4_000, datetime(2026, 10, 25, 22, 59, tzinfo=UTC))
    time_machine.move_to(datetime(2026, 10, 26, 8, tzinfo=UTC))
    budgets.carry_over(valkey.client())
    assert carried() == [(datetime(2026, 10, 25, 23, tzinfo=UTC), 6_000)]
    assert budgets.headroom(limit_of(row), valkey.client()).limit_nusd == 16_000


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spent=st.lists(st.integers(0, 25_000), min_size=1, max_size=5),
    cap=st.one_of(st.none(), st.integers(0, 20_000)),
)
def test_over_any_run_of_days_what_is_carried_is_what_the_day_before_left(
    legal, valkey, time_machine, spent, cap
):
    """Against a sum of its own: each day leaves its limit and what it was given less what was spent, capped, never below
    nothing. The ledger is never emptied, so each example spends under another name."""
    BudgetExtra.objects.all().delete()
    time_machine.move_to(DAY + timedelta(hours=9), tick=False)
    lob = factories.make_lob(legal.organisation, slug=f"legal-{next(_numbers)}")
    row = make_row(lob, f"lob:{lob.slug}", rollover=True, rollover_cap_nusd=cap, action="warn")
    budgets.carry_over(valkey.client())
    expected, left = [], 0
    for number, nusd in enumerate(spent):
        if nusd:
            book(lob, nusd, DAY + timedelta(days=number, hours=10))
        left = max(0, 10_000 + left - nusd)
        left = left if cap is None else min(left, cap)
        expected.append(left)
        time_machine.move_to(DAY + timedelta(days=number + 1, hours=1), tick=False)
        budgets.carry_over(valkey.client())
    assert [nusd for _, nusd in carried()] == [n for n in expected if n]
    row.delete()
