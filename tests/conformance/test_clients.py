"""Every endpoint with every official client that is here, over real HTTP; those that aren't are skipped by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conformance.clients import CLIENTS, Client, run
from tests.fakes.gateway import RunningGateway

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_everything_works_with(client: Client, company: RunningGateway) -> None:
    if client.program is None:
        pytest.skip(f"{client.name} is not installed: python -m tests.conformance.clients install")
    told = run(client, f"{company.url}/v1", company.company.keys["customer-service"])
    if folder := os.environ.get("SWITCHYARD_CONFORMANCE_RESULTS"):
        Path(folder, f"{client.name}.json").write_text(json.dumps(told))
    assert len(told["results"]) >= 9
    failed = [f"{r['area']}: {r['name']}: {r['detail']}" for r in told["results"] if not r["passed"]]
    assert not failed, f"{told['client']}: {len(failed)} of {len(told['results'])} failed\n" + "\n".join(
        failed
    )
