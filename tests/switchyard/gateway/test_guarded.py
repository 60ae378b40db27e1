"""What the guard withholds: nothing of it leaves, it is metered, and it is listed for review."""

from __future__ import annotations

from typing import Any

import pytest

from routing.models import Interception
from routing.services.records import record_events
from tests.fakes.gateway import RunningGateway

RISKY = "Those people are vermin and must be driven out."
CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}


class Scorer:
    """Knows one bad word, and how to swap two groups."""

    def score(self, texts: list[str]) -> list[float]:
        return [0.99 if "vermin" in text else 0.01 for text in texts]

    def identity_swaps(self, text: str) -> list[str]:
        return [text.replace("women", "men")] if "women" in text else []


def guarded(gateway: RunningGateway, mode: str, **values: Any) -> None:
    lob = gateway.company.service
    lob.guard_mode, lob.guard_threshold = mode, 0.8
    for name, value in values.items():
        setattr(lob, name, value)
    lob.save()
    gateway.refresh()
    assert gateway.front.office is not None
    gateway.front.office.risk = Scorer()  # type: ignore[assignment]
    gateway.external.manners.words = [word + " " for word in RISKY.split()]


def test_an_enforcing_line_of_business_gets_content_filter_and_no_text(gateway: RunningGateway) -> None:
    guarded(gateway, "enforce")
    answer = gateway.openai().chat.completions.create(**CHAT)
    assert answer.choices[0].finish_reason == "content_filter" and answer.choices[0].message.content == ""
    assert answer.usage is not None and answer.usage.completion_tokens > 0
    event = gateway.events()[0]
    assert event["guard"]["verdict"] == "withhold" and "text" not in event["guard"] and event["cost_nusd"] > 0


def test_a_withheld_stream_ends_as_content_filter_with_usage_and_done(gateway: RunningGateway) -> None:
    guarded(gateway, "enforce")
    stream = gateway.openai().chat.completions.create(
        **CHAT, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "" and [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "content_filter"
    assert chunks[-1].usage is not None
    assert gateway.events()[0]["guard"]["verdict"] == "withhold"


def test_an_observing_one_gets_the_answer_and_the_finding_is_written_down(gateway: RunningGateway) -> None:
    guarded(gateway, "observe")
    answer = gateway.openai().chat.completions.create(**CHAT)
    assert answer.choices[0].finish_reason == "stop" and "vermin" in (answer.choices[0].message.content or "")
    event = gateway.events()[0]
    assert (event["guard"]["verdict"], event["guard"]["kind"]) == ("pass", "harm")
    record_events([event])
    row = Interception.objects.get()
    assert not row.withheld and row.text == "" and row.lob == "customer-service"


def test_a_label_that_flips_with_the_group_is_withheld_and_others_are_not(gateway: RunningGateway) -> None:
    guarded(gateway, "enforce")
    gateway.external.manners.label_of = lambda text: "negative" if "women" in text else "positive"
    with gateway.client() as client:
        body = {"model": "support-sentiment", "input": ["The women asked twice.", "A parcel."]}
        reply = client.post("/v1/classifications", json=body).json()
    assert reply["data"][0] == {"index": 0, "label": None, "scores": [], "blocked": True}
    assert reply["data"][1]["label"] == "positive" and len(reply["data"]) == 2
    assert len(gateway.external.seen[0].body["input"]) == 3  # the swapped copy went along in the same batch
    event = gateway.events()[0]
    assert event["guard"]["kind"] == "counterfactual_flip" and event["guard"]["verdict"] == "withhold"
    assert event["answers"] == 2
    answer = gateway.openai().chat.completions.create(
        model="support-sentiment", messages=[{"role": "user", "content": "The women asked."}]
    )
    assert answer.choices[0].finish_reason == "content_filter" and answer.choices[0].message.content == ""


def test_without_its_model_the_guard_is_unavailable_and_says_so(gateway: RunningGateway) -> None:
    guarded(gateway, "enforce")
    assert gateway.front.office is not None
    gateway.front.office.risk = None
    answer = gateway.openai().chat.completions.create(**CHAT)
    assert answer.choices[0].finish_reason == "content_filter"
    event = gateway.events()[0]
    assert event["guard"]["verdict"] == "guard_unavailable"
    record_events([event])
    assert not Interception.objects.exists()  # a guard that is away is not a finding


@pytest.mark.parametrize("keep", [True, False])
def test_text_reaches_the_review_list_only_by_opt_in(gateway: RunningGateway, keep: bool) -> None:
    guarded(gateway, "enforce", keep_text=keep)
    gateway.openai().chat.completions.create(**CHAT)
    record_events([gateway.events()[0]])
    row = Interception.objects.get()
    assert row.withheld and ("vermin" in row.text) is keep and row.spans
