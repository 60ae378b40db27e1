"""AccountHour and the roll-ups equal the rows they come from, whatever happens to those."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from costs import ledger, rollups, triggers
from costs.books.corrections import correct_attempt
from costs.books.verification import verify_books
from costs.demonstration import remove_demonstration
from costs.metering import record_events
from costs.models import LEGS, AccountHour, Attempt, LedgerEntry, SpendDay, SpendHour
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
SUMS = ("tokens_in", "tokens_out", "cost_nusd", "saved_cache_nusd", *(f"{leg}_nusd" for leg in LEGS))
events = some.builds(
    lambda cost, private, hours, lob, origin, cached: make_event(
        (private_attempt if private else make_attempt)(
            cost_nusd=cost, tokens_in=cost % 97,
            legs={"compute": cost} if private else {"input": cost - cost // 3, "cached_input": cost // 3},
            saved={"cache": cached},
        ),
        at=NOON + timedelta(hours=hours), lob=lob, origin=origin,
    ),
    some.integers(0, 10**9), some.booleans(), some.integers(0, 30), some.sampled_from(("legal", "healthcare")),
    some.sampled_from(("live", "demonstration")), some.integers(0, 1000),
)  # fmt: skip
steps = some.lists(
    some.one_of(
        some.tuples(some.just("record"), some.lists(events, min_size=1, max_size=6)),
        some.tuples(some.just("again"), some.integers(0, 5)),
        some.tuples(some.just("correct"), some.integers(0, 10**6)),
        some.tuples(some.just("transfer"), some.integers(1, 10**6)),
        some.tuples(some.just("forget"), some.none()),
    ),
    min_size=1,
    max_size=8,
)


def kept():
    return {
        (row.start, row.account, row.lob): (row.debit_nusd, row.credit_nusd)
        for row in AccountHour.objects.all()
        if row.debit_nusd or row.credit_nusd
    }


def counted():
    found = defaultdict(lambda: [0, 0])
    for entry in LedgerEntry.objects.all():
        for place, account in enumerate((entry.debit, entry.credit)):
            found[(rollups.hour_of(entry.at), account, entry.lob)][place] += entry.amount_nusd
    return {key: tuple(sides) for key, sides in found.items()}


def live(step, told):
    kind, value = step
    if kind == "record":
        record_events(value)
        told += value
    elif kind == "again" and told:
        record_events(told[-1 - value :])
    elif kind == "correct":
        attempt = Attempt.objects.filter(superseded=False).order_by("-pk").first()
        if attempt is not None:
            correct_attempt(
                attempt=attempt, cost_nusd=value, tokens_in=value % 50, tokens_out=3, reason="bill"
            )
    elif kind == "transfer":
        name = f"manual:{LedgerEntry.objects.count()}:{value}"
        entry = ledger.append(
            event_id=name,
            organisation_id=1,
            debit="expense:idle:n",
            credit="payable:node:n",
            amount_nusd=value,
            at=NOON,
        )
        if value % 2:
            ledger.reverse(entry, memo="half of them are wrong")
    elif kind == "forget":
        remove_demonstration(1)
        told[:] = [event for event in told if event["origin"] != "demonstration"]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_balances_and_roll_ups_equal_the_rows_after_any_history(history):
    triggers.install(connection)
    from django.db import transaction

    point = transaction.savepoint()
    told: list = []
    for step in history:
        live(step, told)
    assert kept() == counted()
    assert ledger.trial_balance(1) == 0
    assert verify_books(1) == []
    rollups.refresh(NOON, NOON + timedelta(hours=31))
    raw = Attempt.objects.filter(superseded=False).aggregate(**{f"{n}_": Sum(n) for n in SUMS})
    for model in (SpendHour, SpendDay):
        assert model.objects.aggregate(**{f"{n}_": Sum(n) for n in SUMS}) == raw
    transaction.savepoint_rollback(point)


def test_rows_are_booked_in_the_hour_they_are_dated_in():
    record_events(
        [
            make_event(at=NOON),
            make_event(at=NOON + timedelta(minutes=44, seconds=59)),
            make_event(at=NOON + timedelta(minutes=45)),
        ]
    )
    account = AccountHour.objects.filter(account="payable:ext-mini").order_by("start")
    assert list(account.values_list("start", "debit_nusd", "credit_nusd")) == [
        (rollups.hour_of(NOON), 0, 2_800),
        (rollups.hour_of(NOON) + timedelta(hours=1), 0, 1_400),
    ]


def test_a_balance_that_was_tampered_with_is_found():
    record_events([make_event()])
    AccountHour.objects.filter(account="payable:ext-mini").update(credit_nusd=1_500)
    assert verify_books(1) == [
        "The trial balance is -100 nano-dollars, not zero.",
        "1 balances of an account and hour differ from their transfers, by 100 nano-dollars together.",
    ]
