"""What is changed in the database holds in a running process within two seconds; what is in flight has a checkpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import orjson
import pytest

from modelhub.models import Deployment
from switchyard.gateway.snapshot import SnapshotKeeper, build_world
from switchyard.tenancy.services import bump_config
from tests import factories
from tests.fakes import upstream
from tests.fakes.gateway import POLICY, RunningGateway

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_published_policy_moves_the_next_request_and_rollback_moves_it_back(
    gateway: RunningGateway, settings: Any
) -> None:
    from routing.services.policies import rollback

    keeper = gateway.front.keeper
    settings.SWITCHYARD = settings.SWITCHYARD | {"SNAPSHOT_POLL_S": 0.1}
    keeper.stop()
    keeper._stop = threading.Event()
    keeper.start()

    def route() -> tuple[str, str, str]:
        with gateway.client() as client:
            headers = client.post("/v1/chat/completions", json=CHAT).headers
        names = ("x-switchyard-route", "x-switchyard-policy-version", "x-switchyard-cost-usd")
        return tuple(headers[name] for name in names)  # type: ignore[return-value]

    before = route()
    home = POLICY.replace("route: {prefer: [ext-a], fallback: [private-a]}", "route: {prefer: [private-a]}")
    factories.make_policy(gateway.company.organisation, home)
    assert within(2, lambda: route()[0] == "private")
    after = route()
    assert before[0] == "external" and after[1] != before[1] and after[2] != before[2]
    rollback(organisation=gateway.company.organisation, lob=None, user=None)
    assert within(2, lambda: route()[0] == "external")


def test_a_failed_look_keeps_the_snapshot_and_makes_it_stale(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = SnapshotKeeper()
    keeper.load()
    world = keeper.world
    bump_config()
    monkeypatch.setattr(
        "switchyard.gateway.snapshot.build_world", lambda: (_ for _ in ()).throw(RuntimeError("no"))
    )
    with pytest.raises(RuntimeError):
        keeper.refresh()
    assert keeper.world is world
    monkeypatch.undo()
    keeper.refresh()
    assert keeper.world.version > world.version and keeper.stale_s < 1


def test_a_deployment_where_calls_may_not_go_gets_no_traffic(gateway: RunningGateway, settings: Any) -> None:
    Deployment.objects.filter(name="ext-a").update(base_url="http://169.254.169.254/v1")
    snapshot = build_world().organisations[gateway.company.organisation.pk]
    assert "ext-a" not in snapshot.deployments and "private-a" in snapshot.deployments
    gateway.refresh()
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.headers["x-switchyard-route"] == "private"


def test_a_deployment_without_price_is_refused_traffic(gateway: RunningGateway) -> None:
    from costs.models import Price

    Price.objects.filter(deployment="ext-a").delete()
    gateway.refresh()
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.headers["x-switchyard-route"] == "private"
    reasons = {c["deployment"]: c["reasons"] for c in gateway.events()[0]["candidates"]}
    assert any("price" in reason for reason in reasons["ext-a"])


def test_a_call_in_flight_leaves_an_estimate_for_whoever_finds_it_dead(gateway: RunningGateway) -> None:
    import redis

    gateway.external.always(upstream.slow(0.5))
    store = redis.Redis.from_url(gateway.valkey.url)

    def ask() -> None:
        headers = {"authorization": f"Bearer {gateway.company.keys['customer-service']}"}
        httpx.post(f"{gateway.url}/v1/chat/completions", json=CHAT, headers=headers)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert within(3, lambda: bool(store.keys("sy:r:*")))
        estimate = orjson.loads(store.hget(store.keys("sy:r:*")[0], "e"))
    finally:
        thread.join()
    assert estimate["error_code"] == "process_lost" and estimate["cost_nusd"] > 0
    assert estimate["attempts"][0]["usage_source"] == "estimated"
    settled = gateway.events()[0]
    assert settled["event_id"] == estimate["event_id"] and not store.keys("sy:r:*")
