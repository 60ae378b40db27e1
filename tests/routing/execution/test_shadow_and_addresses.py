"""Comparisons in the background, and names that turn out to point home."""

from __future__ import annotations

import asyncio

import pytest

from routing.execution.base import AttemptFailed
from routing.execution.deadlines import Deadline
from routing.execution.openai_http import Upstream
from tests.fakes import upstream
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import FakeUpstream


def test_a_shadow_is_asked_paid_and_metered_but_never_answers(gateway: RunningGateway) -> None:
    gateway.external.manners.label_of = lambda text: "negative"
    with gateway.client() as client:
        reply = client.post("/v1/classifications", json={"model": "shadowed", "input": "x"})
    assert reply.json()["data"][0]["label"] == "positive" and reply.headers["x-switchyard-route"] == "private"
    answered, shadow = gateway.events(2)
    assert shadow["shadow"] == {"of": answered["decision_id"], "agrees": False}
    assert shadow["attempts"][0]["deployment"] == "ext-a" and shadow["cost_nusd"] > 0
    assert (shadow["deployment"], shadow["answers"]) == ("", 0)
    assert (answered["purpose"], shadow["purpose"]) == ("answer", "shadow"), (
        "each on a line of its own in the books"
    )


def test_a_shadow_that_may_not_see_the_data_is_not_asked(gateway: RunningGateway) -> None:
    with gateway.client(**{"X-Switchyard-Sensitivity": "confidential"}) as client:
        client.post("/v1/classifications", json={"model": "shadowed", "input": "x"})
    assert len(gateway.events(2, timeout_s=0.4)) == 1 and gateway.external.seen == []


def test_a_failing_shadow_is_nobodys_trouble(gateway: RunningGateway) -> None:
    gateway.external.always(upstream.status(500))
    with gateway.client() as client:
        reply = client.post("/v1/classifications", json={"model": "shadowed", "input": "x"})
    assert reply.status_code == 200
    assert gateway.events(2)[1]["error_code"] == "upstream_error"


def test_a_name_that_resolves_to_a_forbidden_address_is_not_connected_to(
    upstreams: tuple[FakeUpstream, FakeUpstream],
) -> None:
    private, _ = upstreams
    private.behave()
    asked: list[tuple[str, str]] = []

    def check(address: str, host: str) -> None:
        asked.append((address, host))
        raise ValueError("not there")

    async def call() -> None:
        client = Upstream(connect_s=1, first_byte_s=1, idle_s=1, check_address=check)
        await client.open()
        try:
            target = _target(private.url.replace("127.0.0.1", "localhost"))
            with pytest.raises(AttemptFailed) as caught:
                await client.whole(
                    target,
                    "/classifications",
                    {"model": "m", "input": []},
                    request_id="r",
                    deadline=Deadline(2),
                )
            assert caught.value.kind == "connect"
        finally:
            await client.close()

    asyncio.run(call())
    assert asked and asked[0][1] == "localhost" and private.seen == []


def _target(url: str):  # type: ignore[no-untyped-def]
    from routing.contracts import DeploymentInfo

    return DeploymentInfo(
        name="d", organisation_id=1, side="private", base_url=url, api_key="upstream-key", model="m",
        tasks=frozenset({"classification"}), lobs=frozenset(), region="", max_output_tokens=8, max_concurrency=1, heads=False,
    )  # fmt: skip
