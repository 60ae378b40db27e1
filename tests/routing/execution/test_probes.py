"""Health probes: one look an interval over all processes, what counts as dead, and who hears of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from routing.contracts import DeploymentInfo
from routing.execution import probes
from routing.execution.probes import Prober
from tests.costs.asks import admission_on, make_ask
from tests.fakes.fault_proxy import FaultProxy, Harm
from tests.fakes.upstream import FakeUpstream
from tests.fakes.valkey import ValkeyServer
from tests.routing.execution.test_balance import deployment

NOWHERE = "http://127.0.0.1:9/v1"


class Told(list[Any]):
    async def __call__(self, organisation_id: int, outcomes: Any) -> None:
        self.append((organisation_id, list(outcomes)))


async def looked(
    valkey: ValkeyServer, target: DeploymentInfo, rounds: int = 1, **options: Any
) -> tuple[Told, dict[str, Any]]:
    """`rounds` looks by one prober; what was told, and what is known of the server after."""
    told = Told()
    prober = Prober(valkey.url, every_s=10, deployments=lambda: [target], tell=told, **options)
    for _ in range(rounds):
        valkey.client().delete(f"sy:probe:1:{target.name}")
        await prober.round()
    await prober.close()
    return told, orjson.loads(valkey.client().get(f"sy:health:1:{target.name}"))


@pytest.fixture
def upstream() -> Any:
    with FakeUpstream() as server:
        yield server


async def test_whoever_answers_anything_is_alive(valkey: ValkeyServer, upstream: FakeUpstream) -> None:
    told, known = await looked(valkey, deployment("a", base_url=upstream.url), 3)
    assert (told, known["state"], known["in_a_row"]) == ([], "alive", 0)


async def test_two_looks_that_meet_nobody_open_the_breaker(valkey: ValkeyServer) -> None:
    once, known = await looked(valkey, deployment("a", base_url=NOWHERE))
    assert once == [] and (known["state"], known["in_a_row"]) == ("dead", 1)
    async with admission_on(valkey.url) as admission:
        prober = Prober(
            valkey.url,
            every_s=10,
            deployments=lambda: [deployment("a", base_url=NOWHERE)],
            tell=admission.tell,
        )
        valkey.client().delete("sy:probe:1:a")
        await prober.round()
        await prober.close()
        grant = await admission.reserve(make_ask(breakers=("a", "b"), organisation_id=1))
        neighbour = await admission.reserve(make_ask(breakers=("a", "b"), organisation_id=2))
    assert grant.deployment == "b" and neighbour.deployment == "a"


async def test_a_server_that_is_slow_to_answer_a_look_is_not_dead(
    valkey: ValkeyServer, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "ANSWER_S", 0.2)
    with FaultProxy(upstream.url) as proxy:
        proxy.harm = Harm(black_hole=True)
        told, known = await looked(valkey, deployment("a", base_url=proxy.url), 3)
        assert (told, known["state"]) == ([], "slow")
        proxy.harm = Harm(refuse=True)
        told, known = await looked(valkey, deployment("a", base_url=proxy.url), 2)
    assert len(told) == 1 and known["state"] == "dead"


async def test_of_several_processes_one_looks(valkey: ValkeyServer, upstream: FakeUpstream) -> None:
    with FaultProxy(upstream.url) as proxy:
        target = deployment("a", base_url=proxy.url)
        for _ in range(3):
            prober = Prober(valkey.url, every_s=10, deployments=lambda: [target], tell=Told())
            await prober.round()
            await prober.close()
        assert proxy.connections == 1


async def test_an_address_that_may_not_be_called_is_not(valkey: ValkeyServer) -> None:
    def check(address: str, host: str) -> None:
        raise ValueError(f"{host} is forbidden")

    told, known = await looked(
        valkey, deployment("a", base_url="http://localhost:9/v1"), 1, check_address=check
    )
    assert told == [] and known["state"] == "dead"
