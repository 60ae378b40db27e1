"""Moving a live deployment between backends, through the command, its job and its audit events, on a real server."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from io import StringIO
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from django.core.management import call_command
from django.core.management.base import CommandError

from modelhub.services import migration
from modelhub.serving.app import ModelServer
from modelhub.serving.memory import Room
from modelhub.serving.sessions import ModelPool
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from tests.factories import make_deployment, make_lob, make_organisation, make_workload
from tests.modelhub.recipes.conftest import KEY
from tests.modelhub.serving.words import TEXTS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def running(db, home):
    """The student behind a server of its own, called private: moves are of our own servers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> tuple[web.AppRunner, ModelServer]:
        pool = ModelPool("external", trunk_dir=None, ids=["txt-edge"], room=Room(2 * 10**9))
        server = ModelServer(pool, api_key=KEY)
        runner = web.AppRunner(server.application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, server

    runner, server = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
    organisation = make_organisation()
    make_workload(make_lob(organisation), "support-sentiment")
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    deployment = make_deployment(
        organisation, "student", "private", base_url=url, model="txt-edge", api_key=KEY
    )
    yield SimpleNamespace(organisation=organisation, deployment=deployment, server=server, url=url)
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


class Callers:
    """Threads that ask over HTTP for as long as the block lasts."""

    def __init__(self, url: str, count: int = 3) -> None:
        self._parts, self._stop = urlsplit(url), threading.Event()
        self.statuses: list[int] = []
        self._threads = [threading.Thread(target=self._ask, args=(start,)) for start in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, at: int) -> None:
        connection = http.client.HTTPConnection(self._parts.hostname or "", self._parts.port, timeout=20)
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        while not self._stop.is_set():
            body = {"model": "txt-edge/support-sentiment", "input": TEXTS[at % len(TEXTS)]}
            connection.request("POST", "/v1/classifications", json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
            self.statuses.append(response.status)
            at += 5


def migrate(*words: str) -> str:
    out = StringIO()
    call_command("hal", "migrate", *words, stdout=out)
    return out.getvalue()


def test_the_command_moves_a_live_deployment_and_no_request_fails(running, monkeypatch):
    monkeypatch.setattr(migration, "GOLDEN_ROWS", 16)
    with Callers(running.url) as callers:
        told = migrate(
            "student",
            "--to",
            "onnx-reference",
            "--rows",
            "96",
            "--latency-ratio",
            "1000",
            "--agreement",
            "0.95",
        )
    assert "moved from onnxruntime to onnx-reference" in told
    assert callers.statuses and set(callers.statuses) == {200}
    job = Job.objects.get(kind="migration")
    assert (job.state, job.result["state"]) == ("succeeded", "done")
    assert job.device == "onnxruntime to onnx-reference"
    assert job.result["golden"]["rows"] == 16
    actions = list(
        AuditEvent.objects.filter(action__startswith="deployment.").values_list("action", flat=True)
    )
    assert actions == ["deployment.migration_started", "deployment.migration_done"]
    assert running.server.pool.describe("txt-edge")["backend"] == "onnx-reference"


def test_a_move_that_breaks_its_bound_comes_back_and_the_command_says_why(running, monkeypatch):
    monkeypatch.setattr(migration, "GOLDEN_ROWS", 32)
    with Callers(running.url) as callers, pytest.raises(CommandError, match="stays on onnxruntime: it takes"):
        migrate("student", "--to", "onnx-reference", "--rows", "32", "--latency-ratio", "0.01")
    assert set(callers.statuses) == {200}
    assert Job.objects.get(kind="migration").result["state"] == "returned"
    assert AuditEvent.objects.filter(action="deployment.migration_returned").exists()


def test_an_int8_form_is_made_once_for_the_move_and_named_by_what_it_was_made_from(running, home):
    made = migration.prepare(running.deployment, "onnxruntime-int8")
    assert [path.name.endswith(".int8.onnx") for path in made] == [True]
    assert migration.prepare(running.deployment, "onnxruntime-int8") == []
    assert migration.prepare(running.deployment, "openvino") == []


def test_what_is_not_ours_or_not_there_is_refused_before_anything_runs(running):
    vendor = make_deployment(running.organisation, "vendor", "external")
    with pytest.raises(InvalidRequest, match="vendor's"):
        migration.start_migration(deployment=vendor, backend="openvino", user=None)
    with pytest.raises(CommandError, match="no deployment 'nothing'"):
        migrate("nothing", "--to", "openvino")
    running.deployment.base_url = "http://127.0.0.1:9/v1"
    running.deployment.save()
    with pytest.raises(CommandError, match="can't be reached"):
        migrate("student", "--to", "openvino")


def test_two_orders_for_one_deployment_are_one_job(running):
    first = migration.start_migration(deployment=running.deployment, backend="openvino", user=None)
    again = migration.start_migration(deployment=running.deployment, backend="openvino", user=None)
    assert first.pk == again.pk
