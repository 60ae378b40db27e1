"""Top-ups: asked for by one, decided by another, of one period, in force at once and gone when the period turns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from costs import budgets
from costs.models import BudgetExtra
from costs.selectors import limit_of
from costs.wire import PathCache, wire
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import BudgetExhausted, Conflict, ValidationFailed
from switchyard.tenancy.models import ConfigVersion
from tests import factories
from tests.costs.asks import USD, admission_on, make_ask, make_budget, make_settlement
from tests.costs.budgets.rows import make_row

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def legal(db, time_machine):
    time_machine.move_to(NOON, tick=False)
    return factories.make_lob(factories.make_organisation(), slug="legal")


@pytest.fixture
def people(legal):
    return [factories.make_user(name, legal.organisation, "finance") for name in ("fiona", "frank")]


def test_a_top_up_takes_two_people_and_is_told_to_every_process(legal, people):
    fiona, frank = people
    row = make_row(legal)
    extra = budgets.request_top_up(budget=row, user=fiona, amount_nusd=500, reason="quarter end")
    assert limit_of(row).extras == ()
    with pytest.raises(Conflict, match="somebody other"):
        budgets.approve_top_up(extra=extra, user=fiona)
    with pytest.raises(Conflict, match="somebody other"):
        budgets.refuse_top_up(extra=extra, user=fiona)
    before = ConfigVersion.objects.get_or_create(pk=1)[0].version
    budgets.approve_top_up(extra=extra, user=frank)
    assert ConfigVersion.objects.get(pk=1).version == before + 1
    start_s = int(datetime(2026, 11, 3, tzinfo=UTC).timestamp())
    assert limit_of(row).limit_at(start_s) == 10_500
    assert limit_of(row).limit_at(start_s + 86_400) == 10_000
    with pytest.raises(Conflict, match="approved already"):
        budgets.refuse_top_up(extra=BudgetExtra.objects.get(), user=frank)
    told = AuditEvent.objects.filter(action__startswith="budget.top_up").order_by("sequence")
    assert [(e.actor, e.action.rpartition("_")[2], e.lob) for e in told] == [
        ("fiona", "requested", "legal"), ("frank", "approved", "legal"),
    ]  # fmt: skip


def test_a_refused_top_up_adds_nothing(legal, people):
    row = make_row(legal)
    extra = budgets.request_top_up(budget=row, user=people[0], amount_nusd=500, reason="why not")
    assert budgets.refuse_top_up(extra=extra, user=people[1]).state == "refused"
    assert limit_of(row).extras == ()


def test_nobody_approves_for_a_period_that_is_over_or_a_person_who_is_gone(legal, people, time_machine):
    row = make_row(legal)
    extra = budgets.request_top_up(budget=row, user=people[0], amount_nusd=500, reason="today")
    later = budgets.request_top_up(
        budget=row, user=people[0], amount_nusd=5, reason="tomorrow", period="next"
    )
    time_machine.move_to(datetime(2026, 11, 4, 0, 0, 1, tzinfo=UTC))
    with pytest.raises(Conflict, match="is over"):
        budgets.approve_top_up(extra=extra, user=people[1])
    people[0].delete()
    later.refresh_from_db()
    with pytest.raises(Conflict, match="no account"):
        budgets.approve_top_up(extra=later, user=people[1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"amount_nusd": 0}, "more than nothing"),
        ({"amount_nusd": 10**18 + 1}, "at most"),
        ({"reason": "  "}, "what the money is for"),
        ({"period": "last"}, "neither current nor next"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(legal, people, values, message):
    sound = {"amount_nusd": 1, "reason": "because", "period": "current"}
    with pytest.raises(ValidationFailed, match=message):
        budgets.request_top_up(budget=make_row(legal), user=people[0], **sound | values)


def test_a_budget_without_an_end_is_topped_up_for_good(legal, people):
    row = make_row(legal, period="total")
    with pytest.raises(ValidationFailed, match="no next period"):
        budgets.request_top_up(budget=row, user=people[0], amount_nusd=1, reason="x", period="next")
    extra = budgets.request_top_up(budget=row, user=people[0], amount_nusd=7, reason="x")
    budgets.approve_top_up(extra=extra, user=people[1])
    assert limit_of(row).limit_at(0) == 10_007


def test_the_wire_takes_the_limit_of_the_counters_own_period_when_a_local_day_turns():
    """Kathmandu is 5 h 45 min ahead: its days begin at a quarter past six in the evening, UTC."""
    midnight = int(datetime(2026, 11, 3, 18, 15, tzinfo=UTC).timestamp())
    budget = make_budget(1.0, period="day", timezone="Asia/Kathmandu", extras=((midnight, 250),))
    ask, paths = make_ask(budgets=(budget,)), PathCache()
    before, after = paths.wire(ask, midnight - 0.001), paths.wire(ask, midnight)
    assert before.effective == (USD,) and after.effective == (USD + 250,)
    assert paths.wire(ask, midnight + 86_399) is after
    assert wire(ask.budgets, (), midnight + 86_400).effective == (USD,)


async def test_a_top_up_lets_through_what_was_refused_and_errors_name_the_limit_of_the_period(valkey):
    plain = make_budget(0.10)
    topped = make_budget(0.10, extras=((0, USD // 20),))
    async with admission_on(valkey.url) as admission:
        first = make_ask(0.10, budgets=(plain,))
        await admission.reserve(first)
        await admission.settle(make_settlement(first, 0.10))
        with pytest.raises(BudgetExhausted) as caught:
            await admission.reserve(make_ask(0.05, budgets=(plain,)))
        assert caught.value.extra["limit_usd"] == "0.10"
        grant = await admission.reserve(make_ask(0.05, budgets=(topped,)))
        assert grant.budget_used_ppm == {"lob:legal": 1_000_000}
        with pytest.raises(BudgetExhausted, match=r"\$0\.10 of \$0\.15 is spent") as caught:
            await admission.reserve(make_ask(0.01, budgets=(topped,)))
        assert caught.value.extra["limit_usd"] == "0.15"
