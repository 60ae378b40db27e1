"""What a budget does to requests, through the whole gateway: warn, slow down, stop; a top-up that lets on again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from costs import budgets
from costs.models import Budget, LedgerEntry
from switchyard.core.clock import now
from tests import factories
from tests.fakes.gateway import RunningGateway

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 10}


def ask(gateway: RunningGateway, lob: str = "customer-service"):
    with gateway.client(lob) as client:
        return client.post("/v1/chat/completions", json=CHAT)


def budget(gateway: RunningGateway, **changes) -> Budget:
    values = {"usd": "0.000000001", "action": "stop", "period": "day"} | changes
    row = factories.make_budget(gateway.company.organisation, "lob:customer-service", **values)
    gateway.refresh()
    return row


def test_a_budget_that_warns_stops_nothing_and_is_told_of(gateway: RunningGateway) -> None:
    budget(gateway, action="warn")
    assert [ask(gateway).status_code for _ in range(3)] == [200, 200, 200]
    assert gateway.events(3)
    raised = budgets.check_thresholds(gateway.valkey.client())
    assert sorted(alert.kind for alert in raised) == ["budget_limit", "budget_warning"]
    assert "at the limit it will warn" in raised[0].message


def test_a_budget_that_throttles_slows_to_sixty_a_minute_and_names_itself(gateway: RunningGateway) -> None:
    budget(gateway, action="throttle")
    with gateway.client() as client:
        replies = [client.post("/v1/chat/completions", json=CHAT) for _ in range(62)]
    assert [r.status_code for r in replies].count(200) in (60, 61)  # a minute may turn on the way
    error = replies[-1].json()["error"]
    assert replies[-1].status_code == 429 and error["code"] == "rate_limit_exceeded"
    assert error["scope"] == "lob:customer-service" and int(replies[-1].headers["retry-after"]) >= 1


def test_a_budget_of_labels_stops_no_request(gateway: RunningGateway) -> None:
    budget(gateway, covers="labels")
    LedgerEntry.objects.create(
        event_id="labels:1", organisation_id=gateway.company.organisation.pk, at=now(), debit="expense:lob:customer-service",
        credit="payable:labels", amount_nusd=10**9, lob="customer-service", purpose="label",
    )  # fmt: skip
    assert ask(gateway).status_code == 200


@pytest.fixture
def polling(gateway: RunningGateway, settings) -> Iterator[RunningGateway]:
    """The gateway looks for changes as often as it does in production."""
    keeper = gateway.front.keeper
    keeper.stop()
    settings.SWITCHYARD = settings.SWITCHYARD | {"SNAPSHOT_POLL_S": 0.5}
    keeper._stop = threading.Event()
    keeper.start()
    yield gateway


def test_an_approved_top_up_lets_requests_through_within_two_seconds(polling: RunningGateway) -> None:
    row = budget(polling)
    refused = ask(polling)
    error = refused.json()["error"]
    assert refused.status_code == 429 and refused.headers["x-should-retry"] == "false"
    assert (error["code"], error["limit_usd"]) == ("project_spend_limit_exceeded", "0.000000001")
    people = [factories.make_user(name, polling.company.organisation) for name in ("fiona", "frank")]
    extra = budgets.request_top_up(budget=row, user=people[0], amount_nusd=10**9, reason="quarter end")
    time.sleep(1.1)
    assert ask(polling).status_code == 429, "asked for is not granted"
    began = time.monotonic()
    budgets.approve_top_up(extra=extra, user=people[1])
    while ask(polling).status_code != 200:
        assert time.monotonic() - began < 2
        time.sleep(0.05)
    assert ask(polling, "legal").status_code != 429, "a neighbour's requests never met this budget"


def test_next_periods_top_up_is_none_of_the_present_ones(polling: RunningGateway) -> None:
    row = budget(polling)
    people = [factories.make_user(name, polling.company.organisation) for name in ("fiona", "frank")]
    extra = budgets.request_top_up(budget=row, user=people[0], amount_nusd=10**9, reason="r", period="next")
    budgets.approve_top_up(extra=extra, user=people[1])
    polling.refresh()
    assert ask(polling).status_code == 429
