"""A company whose upstreams misbehave on command, and a worker for its batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.backends.signals import connection_created

from modelhub.models import Deployment
from tests import factories
from tests.conformance.misbehaviour import on_command
from tests.fakes.gateway import RunningGateway


@pytest.fixture
def company(
    gateway: RunningGateway, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningGateway]:
    """The gateway, both sides misbehaving on command, a deployment that judges texts, and a worker beside it."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.SWITCHYARD = settings.SWITCHYARD | {"FILES_INLINE_BYTES": 1 << 40}
    monkeypatch.setattr("switchyard.jobs.services.wake", lambda job: None)
    for upstream in (gateway.external, gateway.private):
        upstream.always(on_command)
    for row in Deployment.objects.filter(name__in=("ext-a", "private-a")):
        row.tasks = [*row.tasks, "moderation"]
        row.save()
    factories.make_workload(gateway.company.service, "screening", task="moderation")
    gateway.refresh()
    connection_created.connect(_reads_meanwhile)
    stop = threading.Event()
    worker = threading.Thread(target=_work, args=(stop,), daemon=True)
    worker.start()
    yield gateway
    stop.set()
    worker.join(30)
    connection_created.disconnect(_reads_meanwhile)


def _reads_meanwhile(connection: Any, **_: Any) -> None:
    """Threads share the tests' database in memory: who reads a table that another writes would be refused at once, which no
    file and no server does."""
    if connection.vendor == "sqlite":
        connection.cursor().execute("PRAGMA read_uncommitted = 1")


def _work(stop: threading.Event) -> None:
    from modelhub.tasks import run_job
    from switchyard.jobs.models import Job
    from switchyard.jobs.services import retry

    while not stop.wait(0.2):
        try:
            for pk in Job.objects.filter(state="queued").values_list("pk", flat=True):
                run_job(pk)
            for job in Job.objects.filter(
                state="failed", kind="batch"
            ):  # no batch here may fail but for that one writer
                retry(job=job, user=None)
        except OperationalError:  # the tests' database in memory knows one writer at a time
            continue
    connections.close_all()
