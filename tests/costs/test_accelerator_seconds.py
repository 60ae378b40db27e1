"""What a model server says it computed, what the gateway metered and what the books hold are one number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from costs.metering import record_events
from costs.models import Attempt
from tests import factories
from tests.fakes.gateway import RunningGateway
from tests.fakes.stand_in import StandIn

POLICY = """\
rules:
  - name: home
    when: workload.task == "classification"
    route: {prefer: [ours]}
  - name: words
    when: workload.task == "chat"
    route: {prefer: [words]}
default: deny
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path, ("sorted",)) as running:
        yield running


@pytest.fixture
def gateway(
    transactional_db: None, valkey: Any, upstreams: Any, server: StandIn, settings: Any, tmp_path: Path
) -> Iterator[RunningGateway]:
    """A gateway whose private side is a real model server."""
    settings.REDIS_URL, settings.HOME = valkey.url, tmp_path / "home"
    settings.SWITCHYARD = settings.SWITCHYARD | {"SNAPSHOT_POLL_S": 3600.0}
    organisation = factories.make_organisation(slug="acme")
    service = factories.make_lob(organisation, "customer-service", guard_mode="off")
    _, key = factories.make_key(factories.make_application(service))
    common = {"base_url": server.url, "api_key": server.key}
    factories.make_deployment(organisation, "ours", "private", model="txt-edge", **common)
    factories.make_deployment(
        organisation, "words", "private", model="lm-tiny", heads=False, tasks=["chat"], **common
    )
    factories.make_workload(service, "sorted")
    factories.make_workload(service, "chatter", task="chat")
    factories.make_policy(organisation, POLICY)
    company = SimpleNamespace(organisation=organisation, service=service, keys={"customer-service": key})
    running = RunningGateway(company, *upstreams, valkey).start()  # type: ignore[arg-type]
    yield running
    running.stop()


def test_the_ledger_bills_by_the_accelerator_seconds_that_the_servers_metrics_hold(
    gateway: RunningGateway, server: StandIn
):
    with gateway.client() as client:
        for number in range(5):
            body = {"model": "sorted", "input": [f"a good thing {number}", "dull " * (number + 1)]}
            assert client.post("/v1/classifications", json=body).status_code == 200
        chat = {
            "model": "chatter",
            "messages": [{"role": "user", "content": "Say something"}],
            "max_tokens": 6,
        }
        assert client.post("/v1/chat/completions", json=chat).status_code == 200
    record_events(gateway.events(6))
    value = server._server.metrics.registry.get_sample_value
    for deployment, model, calls in (("ours", "txt-edge/sorted", 5), ("words", "lm-tiny", 1)):
        rows = Attempt.objects.filter(deployment=deployment)
        booked = sum(rows.values_list("accelerator_ns", flat=True))
        told = value("switchyard_serving_accelerator_seconds_sum", {"model": model})
        assert (
            rows.count() == value("switchyard_serving_accelerator_seconds_count", {"model": model}) == calls
        )
        assert booked == round(told * 1e9) > 0
