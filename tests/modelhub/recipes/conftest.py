"""The shipped models behind real HTTP servers, and a company whose deployments name them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from modelhub.ml.trunk import ensure_trunk
from modelhub.serving.app import ModelServer
from modelhub.serving.bill import Bill
from modelhub.serving.sessions import ModelPool
from tests.factories import make_deployment, make_lob, make_organisation, make_version, make_workload

KEY = "upstream-key"
PRICES = Path(__file__).resolve().parents[3] / "deploy" / "stand-in-prices.json"


@dataclass
class Served:
    """Base URLs by side, and the stand-in's bill."""

    private: str
    external: str
    bill: Bill


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory) -> Path:
    """One home for all tests of recipes: the trunk is built once."""
    home = tmp_path_factory.mktemp("home")
    ensure_trunk(home)
    return home


@pytest.fixture
def home(shared_home, monkeypatch, settings) -> Path:
    monkeypatch.setenv("SWITCHYARD_HOME", str(shared_home))
    monkeypatch.setenv("SWITCHYARD_FEATURES", str(shared_home / "features"))
    settings.HOME, settings.MEDIA_ROOT = shared_home, shared_home / "media"
    return shared_home


@pytest.fixture(scope="session")
def served(shared_home) -> Iterator[Served]:
    """Both model servers on real sockets, in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    bill = Bill(shared_home / "bill.db", PRICES)
    runners: list[web.AppRunner] = []

    async def listen(side: str) -> str:
        pool = ModelPool(side, trunk_dir=shared_home / "trunk")
        server = ModelServer(pool, api_key=KEY, bill=bill if side == "external" else None)
        runner = web.AppRunner(server.application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    def call(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    yield Served(call(listen("private")), call(listen("external")), bill)
    for runner in runners:
        call(runner.cleanup())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


@pytest.fixture
def company(db, home, served) -> SimpleNamespace:
    """Customer service with its sentiment workload, manufacturing with its alarms; a private and an external side."""
    organisation = make_organisation()
    lob, plant = make_lob(organisation), make_lob(organisation, "manufacturing")
    sentiment = make_workload(lob, "support-sentiment")
    alarms = make_workload(plant, "equipment-fault", task="prediction", metric="pr_auc")
    private = make_deployment(organisation, "private-sparse", "private", base_url=served.private)
    external = make_deployment(organisation, "ext-mini", "external", base_url=served.external)
    tabular = make_deployment(
        organisation, "private-tabular", "private", base_url=served.private, model="tabular-base", tasks=["prediction"]
    )  # fmt: skip
    for deployment in (private, external):
        make_version(deployment, sentiment)
    make_version(tabular, alarms)
    return SimpleNamespace(
        organisation=organisation, lob=lob, plant=plant, sentiment=sentiment, alarms=alarms, private=private,
        external=external, tabular=tabular,
    )  # fmt: skip
