"""When something is down: each row of the outage matrix, through the whole gateway.

Rate limits on this process's share while Valkey is away stand in tests/costs/test_outage.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.db import OperationalError

from costs import outage
from costs.link import LinkDown, ValkeyLink
from costs.spool import waiting_events
from switchyard.gateway import lookups
from tests import factories
from tests.fakes import upstream
from tests.fakes.gateway import POLICY, RunningGateway

CHAT: dict[str, Any] = {"model": "chatter", "messages": [{"role": "user", "content": "How are you?"}]}
MEMO = CHAT | {"model": "memo"}  # of the legal department: confidential
CACHING = POLICY.replace("route: {prefer: [ext-a], fallback: [private-a]}",
                         "route: {prefer: [ext-a], fallback: [private-a], cache: {exact: true, ttl_s: 60}}")  # fmt: skip


def ask(gateway: RunningGateway, body: Any = None, lob: str = "customer-service") -> Any:
    with gateway.client(lob) as client:
        return client.post("/v1/chat/completions", json=CHAT if body is None else body)


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def spooled(gateway: RunningGateway) -> list[dict[str, Any]]:
    assert gateway.front.office is not None
    return list(waiting_events(gateway.front.office.spool.folder))


# ------------------------------------------------------------------------------------------------ Valkey is down
@pytest.fixture
def no_valkey(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    """Every connection of the gateway ends, and none is made again until the test does."""

    async def nobody(self: ValkeyLink) -> None:
        raise LinkDown("away")

    monkeypatch.setattr(ValkeyLink, "_connect", nobody)

    def cut() -> None:
        office = gateway.front.office
        assert office is not None
        for link in (office.admission._courier.link, office.cache._link, office.once._link):
            link.close()

    gateway.on_loop(cut)
    return gateway


def test_without_valkey_answers_go_on_where_no_strict_budget_applies_and_wait_in_the_spool(
    no_valkey: RunningGateway,
) -> None:
    reply = ask(no_valkey)
    assert reply.status_code == 200 and reply.headers["x-switchyard-cache"] == "bypass"
    (event,) = spooled(no_valkey)
    assert event["decision_id"] == reply.headers["x-switchyard-decision-id"] and event["cost_nusd"] > 0


@pytest.mark.parametrize(
    ("changes", "status"), [({}, 503), ({"on_outage": "allow"}, 200), ({"action": "warn"}, 200)]
)
def test_without_valkey_a_strict_budget_refuses_unless_it_says_otherwise(
    no_valkey: RunningGateway, changes: dict[str, Any], status: int
) -> None:
    factories.make_budget(
        no_valkey.company.organisation, "lob:customer-service", **{"usd": "100", "action": "stop"} | changes
    )
    no_valkey.refresh()
    reply = ask(no_valkey)
    assert reply.status_code == status
    if status == 503:
        assert code(reply) == (503, "budget_unavailable") and reply.headers["retry-after"]
        assert no_valkey.external.seen == [] == no_valkey.private.seen
    assert ask(no_valkey, MEMO, "legal").status_code == 200, "a neighbour has no such budget"


# -------------------------------------------------------------------------------------------- the database is down
@pytest.fixture
def no_books(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningGateway]:
    """The look at the configuration fails, as it does when the database is gone, and has for three seconds."""

    def gone(*_: Any, **__: Any) -> None:
        raise OperationalError("the database is gone")

    factories.make_policy(gateway.company.organisation, CACHING)
    gateway.refresh()
    kept = ask(gateway, CHAT | {"seed": 1})  # before it went
    assert kept.headers["x-switchyard-cache"] == "miss"
    time.sleep(0.1)
    monkeypatch.setattr(lookups, "record_of", gone)
    gateway.front.keeper._failing_since = time.monotonic() - 3
    gateway.external.seen.clear()
    yield gateway


def test_without_books_nothing_leaves_and_home_goes_on(
    no_books: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor))[1])
    moved, home = ask(no_books), ask(no_books, MEMO, "legal")
    assert moved.status_code == home.status_code == 200 and no_books.external.seen == []
    assert moved.headers["x-switchyard-route"] == home.headers["x-switchyard-route"] == "private"
    assert synced, "each event reaches the disk"
    time.sleep(0.2)
    assert len(spooled(no_books)) >= 2, "and stays there, though the stream has it"
    only_outside = ask(no_books, CHAT | {"model": "by-prompt"})
    assert code(only_outside) == (503, "no_deployment_available") and only_outside.headers["retry-after"]


def test_without_books_what_is_kept_is_served_and_limits_hold(no_books: RunningGateway) -> None:
    assert ask(no_books, CHAT | {"seed": 1}).headers["x-switchyard-cache"] == "hit"
    no_books.company.service.rpm = 2
    no_books.company.service.save()
    no_books.refresh()
    assert [ask(no_books).status_code for _ in range(4)].count(429) >= 2


def test_without_books_a_decision_that_is_no_longer_fresh_is_unavailable_and_not_unknown(
    no_books: RunningGateway,
) -> None:
    with no_books.client() as client:
        assert client.get("/v1/decisions/dec_01M8C12XTXY4814A7CCTXMY4PE").status_code == 503


@pytest.mark.parametrize("limit", ["time", "events"])
def test_without_books_home_ends_after_a_while(
    no_books: RunningGateway, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "time":
        no_books.front.keeper._failing_since = time.monotonic() - outage.LONGEST_S - 1
    else:
        monkeypatch.setattr(outage, "MOST_EVENTS", 2)
        assert [ask(no_books, MEMO, "legal").status_code for _ in range(2)] == [200, 200]
    assert code(ask(no_books, MEMO, "legal")) == (503, "no_deployment_available")


def test_once_the_books_are_back_all_is_as_before(no_books: RunningGateway) -> None:
    ask(no_books, MEMO, "legal")
    time.sleep(0.2)
    assert spooled(no_books)
    no_books.front.keeper._failing_since = 0.0
    assert ask(no_books).headers["x-switchyard-route"] == "external"
    assert no_books.front.office is not None
    deadline = time.monotonic() + 3
    while len(no_books.front.office.spool) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(no_books.front.office.spool) == 0
    told = [event["decision_id"] for event in no_books.events(3)]
    assert len(told) == len(set(told)) == 3


# ------------------------------------------------------------------------------------------- a side, or a worker is down
def test_without_the_private_side_classes_that_may_leave_do_and_others_wait(gateway: RunningGateway) -> None:
    factories.make_policy(
        gateway.company.organisation,
        POLICY.replace("route: {prefer: [ext-a], fallback: [private-a]}",
                       "route: {prefer: [private-a], fallback: [ext-a]}"),
    )  # fmt: skip
    gateway.refresh()
    gateway.private.always(upstream.reset())
    moved, kept = ask(gateway), ask(gateway, MEMO, "legal")
    assert moved.status_code == 200 and moved.headers["x-switchyard-route"] == "external"
    assert code(kept) == (503, "residency_capacity_unavailable")
    assert all(b"legal" not in orjson.dumps(seen.body) for seen in gateway.external.seen)
    assert len(gateway.external.seen) == 1


def test_without_worker_or_ledger_process_answers_go_on_and_wait_in_the_stream(
    gateway: RunningGateway,
) -> None:
    """Nobody reads the stream in these tests: whatever is answered is there for whoever comes."""
    replies = [ask(gateway) for _ in range(3)]
    assert {reply.status_code for reply in replies} == {200}
    told = {event["decision_id"] for event in gateway.events(3)}
    assert told == {reply.headers["x-switchyard-decision-id"] for reply in replies}
