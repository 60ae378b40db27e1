"""Counters in Valkey against the books, and the command that says all of it."""

from __future__ import annotations

import asyncio
import json

import orjson
import pytest
from django.core.management import call_command

from costs import budgets
from costs.books.reservations import verify_counters
from costs.budgets.spending import STREAM
from costs.metering import record_events
from costs.models import LEGS, Attempt
from costs.periods import counter_key, period_bounds
from costs.selectors import limit_of
from switchyard.core.clock import now
from tests import factories
from tests.costs.asks import admission_on, make_ask
from tests.costs.events import make_attempt, make_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def budget(valkey, settings):
    settings.REDIS_URL = valkey.url
    organisation = factories.make_organisation(slug="books")
    factories.make_lob(organisation, "legal")
    return factories.make_budget(organisation, "lob:legal", "5")


def event(budget, **changes):
    return make_event(make_attempt(**changes), at=now(), organisation_id=budget.organisation_id, lob="legal")


def key_of(budget) -> str:
    start, _ = period_bounds(budget.period, budget.timezone, now())
    return counter_key(budget.pk, int(start.timestamp()))


def test_a_counter_that_follows_the_ledger_and_the_stream_is_right(budget, valkey):
    client = valkey.client()
    assert verify_counters(budget.organisation_id, client) == [], "nobody asked yet"
    record_events([event(budget, cost_nusd=1_400)])
    client.xadd(STREAM, {"d": orjson.dumps(event(budget, cost_nusd=600))})
    budgets.rebuild_counters(client)
    assert client.hget(key_of(budget), "spent") == b"2000"
    assert verify_counters(budget.organisation_id, client) == []


def test_a_counter_that_lost_money_is_found(budget, valkey):
    client = valkey.client()
    record_events([event(budget, cost_nusd=1_400)])
    budgets.rebuild_counters(client)
    client.hincrby(key_of(budget), "spent", -400)
    assert verify_counters(budget.organisation_id, client) == [
        "The counter of lob:legal (month) says $0.000001, the ledger $0.0000014."
    ]


def test_reserved_is_what_open_reservations_hold(budget, valkey):
    limit, client = limit_of(budget), valkey.client()

    async def ask_twice():
        async with admission_on(valkey.url) as admission:
            for _ in range(2):
                await admission.reserve(make_ask(0.5, budgets=(limit,)))

    budgets.rebuild_counters(client)
    asyncio.run(ask_twice())
    assert client.hget(key_of(budget), "reserved") == b"1000000000"
    assert verify_counters(budget.organisation_id, client) == []
    client.hincrby(key_of(budget), "reserved", 7)
    assert verify_counters(budget.organisation_id, client) == [
        "lob:legal (month) has $1.000000007 reserved, open reservations hold $1.00."
    ]


def test_the_command_ends_with_one_and_says_what_is_wrong(budget, capsys):
    call_command("verify_books")
    assert capsys.readouterr().out.strip() == "The books hold."
    record_events([event(budget, cost_nusd=5)])
    Attempt.objects.update(cost_nusd=6, **{f"{leg}_nusd": 0 for leg in LEGS})
    for arguments in ([], ["--json"], ["--organisation", "books", "--no-counters"]):
        with pytest.raises(SystemExit) as ended:
            call_command("verify_books", *arguments)
        assert ended.value.code == 1
        said = capsys.readouterr().out
        found = json.loads(said) if "--json" in arguments else said.splitlines()
        assert found == ["books: 1 attempts cost 6 nano-dollars, but 1 entries book 5."]


def test_counters_that_can_not_be_reached_are_a_finding(budget, settings, capsys):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(SystemExit):
        call_command("verify_books", "--json")
    assert "can't be compared" in capsys.readouterr().out
