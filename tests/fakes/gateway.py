"""The gateway under uvicorn in a thread, a small company, and an upstream on each side.

Fixture `gateway`: a RunningGateway whose company has two lines of business. Customer service may leave (external
first, private as fallback); legal is confidential. Charlie's company is somebody else's altogether.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import orjson
import pytest
import redis
import uvicorn

from costs.fresh import bodies_of
from tests import factories
from tests.fakes.upstream import FakeUpstream
from tests.fakes.valkey import ValkeyServer

POLICY = """\
invariants:
  - name: confidential data stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules:
  - name: what must stay
    when: data.sensitivity >= confidential
    route: {prefer: [private-a], fallback: []}
  - name: edge may leave
    when: workload.tier == "edge" && data.sensitivity <= internal
    route: {prefer: [ext-a], fallback: [private-a]}
  - name: small model first
    when: workload.name == "cascade-intent" && data.sensitivity <= internal
    route: {cascade: [ext-a, private-a], until: "confidence >= 0.9"}
  - name: compared
    when: workload.name == "shadowed" && data.sensitivity <= internal
    route: {prefer: [private-a], shadow: [ext-a]}
  - name: by prompt
    when: workload.name == "by-prompt" && data.sensitivity <= internal
    route: {prefer: [ext-llm]}
default: deny
"""
ALL_TASKS = ["chat", "completion", "embedding", "classification", "prediction"]


@dataclass
class Company:
    """Rows that a test may change; call `gateway.refresh()` after."""

    organisation: Any
    service: Any  # line of business customer-service
    legal: Any
    keys: dict[str, str]


def make_company(private_url: str, external_url: str, policy: str = POLICY) -> Company:
    organisation = factories.make_organisation(slug="acme")
    service = factories.make_lob(organisation, "customer-service", guard_mode="off")
    legal = factories.make_lob(organisation, "legal", guard_mode="off")
    keys = {}
    for lob in (service, legal):
        _, keys[lob.slug] = factories.make_key(factories.make_application(lob))
    common = {"tasks": ALL_TASKS, "api_key": "upstream-key"}
    for name, side, url in (("private-a", "private", private_url), ("ext-a", "external", external_url)):
        factories.make_deployment(organisation, name, side, base_url=url, **common)
    factories.make_deployment(
        organisation, "ext-llm", "external", base_url=external_url, tasks=["chat"], heads=False, model="llm-1"
    )
    for name, task in (("support-sentiment", "classification"), ("chatter", "chat"), ("vectors", "embedding"),
                       ("price-advice", "prediction")):  # fmt: skip
        factories.make_workload(service, name, task=task)
    for name in ("cascade-intent", "shadowed", "by-prompt"):
        factories.make_workload(service, name, task="classification", tier="experiment")
    factories.make_workload(
        legal, "contract-clauses", task="classification", tier="core", sensitivity="confidential"
    )
    factories.make_workload(legal, "memo", task="chat", tier="edge", sensitivity="confidential")
    factories.make_policy(organisation, policy)
    return Company(organisation, service, legal, keys)


class RunningGateway:
    """One web process's front, served over a real socket. `refresh()` takes configuration changes in at once."""

    def __init__(
        self, company: Company, private: FakeUpstream, external: FakeUpstream, valkey: ValkeyServer
    ) -> None:
        from switchyard.gateway.front import GatewayFront
        from switchyard.gateway.pages import PagesHere

        self.company, self.private, self.external, self.valkey = company, private, external, valkey
        self.front = GatewayFront(PagesHere(_not_django))
        self.url = ""
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> RunningGateway:
        config = uvicorn.Config(self.front, host="127.0.0.1", port=0, log_level="warning", lifespan="on",
                                timeout_graceful_shutdown=5, ws="none")  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="gateway", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("The gateway didn't start.")
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def _serve(self) -> None:
        assert self._server is not None
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._server.serve())

    def on_loop(self, function: Callable[[], None]) -> None:
        """Call it in the gateway's own loop."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function)
        time.sleep(0.05)

    def stop(self) -> None:
        assert self._server is not None and self._thread is not None
        self._server.should_exit = True
        self._thread.join(15)

    def refresh(self) -> None:
        self.front.keeper.load()

    def client(self, lob: str = "customer-service", **headers: str) -> httpx.Client:
        """An HTTP client with the key of a line of business."""
        with_key = {"authorization": f"Bearer {self.company.keys[lob]}"} | headers
        return httpx.Client(base_url=self.url, headers=with_key, timeout=20)

    def openai(self, lob: str = "customer-service") -> Any:
        import openai

        return openai.OpenAI(
            base_url=self.url + "/v1", api_key=self.company.keys[lob], max_retries=0, timeout=20
        )

    def events(self, count: int = 1, timeout_s: float = 3.0) -> list[dict[str, Any]]:
        """The usage and feedback events in the stream, at least `count` of them."""
        client = redis.Redis.from_url(self.valkey.url)
        deadline = time.monotonic() + timeout_s
        while True:
            entries = client.xrange("sy:usage")
            if len(entries) >= count or time.monotonic() > deadline:
                client.close()
                return [orjson.loads(body) for _, fields in entries for body in bodies_of(fields)]
            time.sleep(0.01)


async def _not_django(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"django"})


@pytest.fixture(scope="session")
def upstreams() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    with FakeUpstream() as private, FakeUpstream() as external:
        yield private, external


@pytest.fixture
def gateway(
    transactional_db: None,
    valkey: ValkeyServer,
    upstreams: tuple[FakeUpstream, FakeUpstream],
    settings: Any,
    tmp_path: Path,
) -> Iterator[RunningGateway]:
    private, external = upstreams
    private.behave()
    external.behave()
    settings.REDIS_URL = valkey.url
    settings.HOME = tmp_path
    settings.SWITCHYARD = settings.SWITCHYARD | {"SNAPSHOT_POLL_S": 3600.0}
    running = RunningGateway(make_company(private.url, external.url), private, external, valkey).start()
    yield running
    running.stop()
