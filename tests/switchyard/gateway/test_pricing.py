"""What an answer cost, by its parts: as the vendor's own words say it, at the sheet in force."""

from __future__ import annotations

import json
from typing import Any

from costs.metering import record_events
from costs.models import Attempt, Price
from costs.sheets.currencies import create_rate
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import garbage

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 50}
ANTHROPIC = {
    "prompt_tokens": 1000, "completion_tokens": 30, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 300,
    "completion_tokens_details": {"reasoning_tokens": 10},
}  # fmt: skip


def answered(usage: dict[str, Any] | None) -> Any:
    body: dict[str, Any] = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "All is well."}}]
    }
    return garbage(json.dumps(body | ({"usage": usage} if usage is not None else {})))


def asked(gateway: RunningGateway, usage: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the attempt of the event, the decision as a caller reads it)"""
    gateway.refresh()
    gateway.external.next(answered(usage))
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
        told = client.get(f"/v1/decisions/{reply.headers['x-switchyard-decision-id']}").json()
    assert reply.status_code == 200, reply.text
    (event,) = gateway.events(1)
    record_events([event])
    return event["attempts"][0], told


def test_an_attempt_tells_its_legs_and_what_the_cache_saved(gateway: RunningGateway) -> None:
    Price.objects.filter(deployment="ext-a").update(
        input_nusd_per_munit=3_000_000_000, cached_input_nusd_per_munit=300_000_000, output_nusd_per_munit=15_000_000_000,
        cache_write_nusd_per_munit=3_750_000_000, reasoning_nusd_per_munit=20_000_000_000, batch_ppm=500_000,
        tiers=[{"above_tokens_in": 200_000, "input_nusd_per_munit": 6_000_000_000}],
    )  # fmt: skip
    attempt, told = asked(gateway, ANTHROPIC)
    # 100 × 3 = 300,000; 600 × 0.30 = 180,000; 300 × 3.75 = 1,125,000; 20 × 15 = 300,000; 10 × 20 = 200,000 nano-dollars.
    legs = {
        "input": 300_000,
        "cached_input": 180_000,
        "cache_write": 1_125_000,
        "output": 300_000,
        "reasoning": 200_000,
    }
    assert attempt["legs"] == legs and attempt["cost_nusd"] == sum(legs.values())
    assert attempt["saved"] == {"cache": 3_000_000 - 1_605_000} and attempt["cache_write_tokens"] == 300
    row = Attempt.objects.get()
    assert (row.cached_input_nusd, row.cache_write_nusd, row.saved_cache_nusd) == (
        180_000,
        1_125_000,
        1_395_000,
    )
    prices = told["prices"]
    assert prices["cache_write_nusd_per_munit"] == 3_750_000_000 and prices["batch_ppm"] == 500_000
    assert prices["tiers"] == [{"above_tokens_in": 200_000, "input_nusd_per_munit": 6_000_000_000}]
    assert told["attempts"][0]["legs_usd"]["cache_write"] == "0.001125" and "legs" not in told["attempts"][0]


def test_a_cache_that_was_written_and_never_read_is_a_saving_below_zero(gateway: RunningGateway) -> None:
    Price.objects.filter(deployment="ext-a").update(
        input_nusd_per_munit=3_000_000_000, cached_input_nusd_per_munit=300_000_000, output_nusd_per_munit=0,
        cache_write_nusd_per_munit=3_750_000_000,
    )  # fmt: skip
    written = {
        "input_tokens": 100,
        "cache_creation_input_tokens": 900,
        "cache_read_input_tokens": 0,
        "output_tokens": 30,
    }
    attempt, _ = asked(gateway, written)
    # 1,000 tokens at 3 would be 3,000,000; 100 × 3 and 900 × 3.75 were 3,675,000.
    assert attempt["cost_nusd"] == 3_675_000 and attempt["saved"] == {"cache": -675_000}
    assert Attempt.objects.get().saved_cache_nusd == -675_000


def test_an_in_house_answer_is_all_compute(gateway: RunningGateway) -> None:
    with gateway.client("legal") as client:
        client.post("/v1/classifications", json={"model": "contract-clauses", "input": "x"})
    (event,) = gateway.events(1)
    attempt = event["attempts"][0]
    assert attempt["legs"] == {"compute": attempt["cost_nusd"]} and attempt["cost_nusd"] > 0


def test_an_answer_whose_usage_nobody_told_is_estimated_and_not_free(gateway: RunningGateway) -> None:
    attempt, _ = asked(gateway, None)
    assert attempt["usage_source"] == "estimated" and attempt["cost_nusd"] > 0
    assert attempt["tokens_in"] == len(json.dumps(CHAT, separators=(",", ":"))) // 4
    assert attempt["tokens_out"] == len("All is well.") // 4


def test_absurd_usage_is_not_believed(gateway: RunningGateway) -> None:
    attempt, _ = asked(gateway, {"prompt_tokens": -5, "completion_tokens": 10**15})
    assert attempt["usage_source"] == "estimated" and 0 < attempt["cost_nusd"] < 100_000


def test_a_vendor_by_the_second_is_paid_for_the_time_the_call_took(gateway: RunningGateway) -> None:
    Price.objects.filter(deployment="ext-a").update(
        input_nusd_per_munit=0, output_nusd_per_munit=0, second_nusd_per_munit=10**15
    )  # a dollar a second
    attempt, _ = asked(gateway, ANTHROPIC)
    assert set(attempt["legs"]) == {"seconds"}
    assert abs(attempt["cost_nusd"] / 1e9 - attempt["duration_ms"] / 1e3) < 1e-5


def test_a_minimum_charge_is_a_leg_of_its_own(gateway: RunningGateway) -> None:
    Price.objects.filter(deployment="ext-a").update(minimum_nusd=1_000_000)
    attempt, told = asked(gateway, {"prompt_tokens": 1000, "completion_tokens": 100})
    assert attempt["legs"] == {"input": 50_000, "output": 40_000, "minimum": 910_000}
    assert told["cost_usd"] == "0.001"


def test_a_sheet_in_a_currency_without_a_rate_gets_no_traffic_until_there_is_one(
    gateway: RunningGateway,
) -> None:
    Price.objects.filter(deployment="ext-llm").update(currency="EUR")
    gateway.refresh()
    with gateway.client() as client:
        body = {"model": "by-prompt", "input": ["x"]}
        assert (
            client.post("/v1/classifications", json=body).json()["error"]["code"] == "no_deployment_available"
        )
        row = create_rate(
            organisation_id=gateway.company.organisation.pk, currency="EUR", nusd_per_unit=2_000_000_000, source="ECB",
            actor=None,
        )  # fmt: skip
        gateway.refresh()
        assert client.post("/v1/classifications", json=body).status_code in (200, 502)
    event = next(e for e in gateway.events(2) if e["attempts"])
    price = Price.objects.get(deployment="ext-llm")
    assert event["attempts"][0]["price_version"] == f"price:{price.pk}@fx:{row.pk}"
