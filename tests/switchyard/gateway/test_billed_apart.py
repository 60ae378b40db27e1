"""Fields by which a vendor bills more than tokens of text: metered by what the sheet says of them, else refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from costs.metering import record_events
from costs.models import Attempt, Price
from modelhub.models import Deployment
from tests import factories
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import raw_stream

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 50}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 30, "total_tokens": 1030}
PRICES = {
    "input_nusd_per_munit": 2_000_000_000,
    "output_nusd_per_munit": 10_000_000_000,
    "batch_ppm": 500_000,
}
SEARCH = {"search_nusd_per_munit": 25_000 * 10**9}  # $25 a thousand
SOUND = {"audio_input_nusd_per_munit": 40_000_000_000, "audio_output_nusd_per_munit": 80_000_000_000}


def sheet(gateway: RunningGateway, **prices: Any) -> None:
    """Of ext-a, the only one that chats."""
    Price.objects.filter(deployment="ext-a").update(**PRICES | prices)
    Deployment.objects.filter(name="private-a").update(tasks=["classification"])
    gateway.refresh()


def ask(gateway: RunningGateway, **more: Any) -> Any:
    with gateway.client() as client:
        return client.post("/v1/chat/completions", json=CHAT | more)


def attempt_of(gateway: RunningGateway) -> dict[str, Any]:
    """Of the only request; written into the books as well."""
    (event,) = gateway.events(1)
    record_events([event])
    return event["attempts"][0]


def asked_of(gateway: RunningGateway) -> int:
    return len(gateway.external.seen)


def test_a_search_is_metered_by_the_piece(gateway: RunningGateway) -> None:
    sheet(gateway, **SEARCH)
    gateway.external.manners.usage = USAGE
    reply = ask(gateway, web_search_options={"search_context_size": "low"})
    assert reply.status_code == 200, reply.text
    attempt = attempt_of(gateway)
    assert attempt["legs"] == {"input": 2_000_000, "output": 300_000, "searches": 25_000_000}
    assert attempt["searches"] == 1 and attempt["cost_nusd"] == 27_300_000
    assert reply.headers["x-switchyard-cost-usd"] == "0.0273"
    row = Attempt.objects.get()
    assert (row.searches, row.searches_nusd, row.cost_nusd) == (1, 25_000_000, 27_300_000)


def test_as_many_searches_are_paid_as_the_vendor_says_it_ran(gateway: RunningGateway) -> None:
    sheet(gateway, **SEARCH)
    gateway.external.manners.usage = USAGE | {"server_tool_use": {"web_search_requests": 0}}
    assert ask(gateway, tools=[{"type": "web_search_20250305", "max_uses": 4}]).status_code == 200
    assert "searches" not in attempt_of(gateway)["legs"]


def test_a_stream_with_a_search_is_metered_like_a_whole_answer(gateway: RunningGateway) -> None:
    sheet(gateway, **SEARCH)
    gateway.external.manners.usage = USAGE
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT | {"web_search_options": {}, "stream": True})
    assert reply.text.endswith("data: [DONE]\n\n")
    assert attempt_of(gateway)["legs"]["searches"] == 25_000_000


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("web_search_options", {"web_search_options": {}}),
        ("search_parameters", {"search_parameters": {"mode": "on"}}),
        ("modalities", {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}}),
        ("tools[0]", {"tools": [{"type": "code_interpreter"}]}),
        ("speed", {"speed": "fast"}),
    ],
)
def test_what_has_no_price_is_refused_by_name_and_nobody_is_asked(
    gateway: RunningGateway, field: str, more: dict[str, Any]
) -> None:
    sheet(gateway)
    before = asked_of(gateway)
    reply = ask(gateway, **more)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_value", field), reply.text
    assert "leave it out" in error["message"] and asked_of(gateway) == before
    (event,) = gateway.events(1)
    assert event["attempts"] == [] and event["error_code"] == "invalid_value"


def test_at_home_it_costs_machine_time_like_anything_else(gateway: RunningGateway) -> None:
    Price.objects.filter(deployment="ext-a").update(**PRICES)
    gateway.refresh()
    reply = ask(gateway, web_search_options={})
    assert reply.status_code == 200 and reply.headers["x-switchyard-route"] == "private"
    assert set(attempt_of(gateway)["legs"]) == {"compute"}


def test_a_budget_that_a_search_would_exceed_stops_it_before_it_is_made(gateway: RunningGateway) -> None:
    sheet(gateway, **SEARCH)
    factories.make_budget(
        gateway.company.organisation, "lob:customer-service", usd="0.02", action="stop", period="day"
    )
    gateway.refresh()
    before = asked_of(gateway)
    assert ask(gateway).status_code == 200
    refused = ask(gateway, web_search_options={})
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "project_spend_limit_exceeded"
    assert asked_of(gateway) == before + 1


def test_rejected_predictions_are_output_and_reserved_as_such(gateway: RunningGateway) -> None:
    sheet(gateway)
    gateway.external.manners.usage = USAGE | {
        "completion_tokens": 400, "total_tokens": 1400,
        "completion_tokens_details": {"accepted_prediction_tokens": 20, "rejected_prediction_tokens": 350},
    }  # fmt: skip
    foreseen = {"type": "content", "content": "x" * 2_000}
    assert ask(gateway, prediction=foreseen).status_code == 200
    assert attempt_of(gateway)["legs"] == {"input": 2_000_000, "output": 4_000_000}
    with gateway.client(**{"x-switchyard-max-cost-usd": "0.02"}) as client:
        # 2,000 bytes that may all be rejected at $10 a million tokens come to the whole cap by themselves.
        refused = client.post("/v1/chat/completions", json=CHAT | {"prediction": foreseen})
    assert refused.status_code == 403 and "may cost more" in refused.json()["error"]["message"]


def test_sound_is_metered_where_the_sheet_prices_it(gateway: RunningGateway) -> None:
    sheet(gateway, **SOUND)
    gateway.external.manners.usage = USAGE | {
        "completion_tokens_details": {"audio_tokens": 20}, "prompt_tokens_details": {"audio_tokens": 0},
    }  # fmt: skip
    assert (
        ask(gateway, modalities=["text", "audio"], audio={"voice": "a", "format": "wav"}).status_code == 200
    )
    attempt = attempt_of(gateway)
    assert attempt["legs"] == {"input": 2_000_000, "output": 100_000, "audio_output": 1_600_000}
    assert Attempt.objects.get().audio_tokens_out == 20


@pytest.mark.parametrize(("said", "cost"), [("flex", 1_150_000), ("default", 2_300_000), (None, 2_300_000)])
def test_a_call_that_may_wait_pays_the_batch_price_where_the_vendor_let_it_wait(
    gateway: RunningGateway, said: str | None, cost: int
) -> None:
    sheet(gateway)
    gateway.external.manners.usage = USAGE
    gateway.external.manners.more = {"service_tier": said} if said else {}
    assert ask(gateway, service_tier="flex").status_code == 200
    attempt = attempt_of(gateway)
    assert attempt["cost_nusd"] == cost and attempt.get("batch", False) == (said == "flex")


def test_so_does_a_stream(gateway: RunningGateway) -> None:
    sheet(gateway)
    head = {
        "id": "up-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "service_tier": "flex",
    }
    frames = [
        head | {"choices": [{"index": 0, "delta": {"content": "Well."}, "finish_reason": "stop"}]},
        head | {"choices": [], "usage": USAGE},
    ]
    gateway.external.next(
        raw_stream(*[b"data: " + orjson.dumps(f) + b"\n\n" for f in frames], b"data: [DONE]\n\n")
    )
    with gateway.client() as client:
        client.post("/v1/chat/completions", json=CHAT | {"service_tier": "flex", "stream": True})
    assert attempt_of(gateway)["cost_nusd"] == 1_150_000


def test_a_price_class_that_no_sheet_holds_is_refused(gateway: RunningGateway) -> None:
    for tier in ("priority", "scale", "performance", 5):
        reply = ask(gateway, service_tier=tier)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "service_tier")
