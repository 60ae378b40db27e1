"""Answers that are kept: for whom, for how long, at what cost; and the many that aren't."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from costs.models import Attempt
from routing.models import Policy
from routing.policy.document import digest
from switchyard.gateway import metrics
from switchyard.gateway.consumer import Consumer
from tests import factories
from tests.fakes import upstream
from tests.fakes.gateway import POLICY, RunningGateway

CHAT: dict[str, Any] = {"model": "chatter", "messages": [{"role": "user", "content": "How do I reset it?"}]}
TEXTS = {"model": "support-sentiment", "input": ["All is well.", "Nothing is."]}
CACHING = POLICY.replace("route: {prefer: [ext-a], fallback: [private-a]}",
                         "route: {prefer: [ext-a], fallback: [private-a], cache: {exact: true, ttl_s: 60}}").replace(
    "route: {prefer: [private-a], fallback: []}",
    "route: {prefer: [private-a], fallback: [], cache: {exact: true, ttl_s: 60}}")  # fmt: skip


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that a busy machine holds up is no bypass here."""
    monkeypatch.setattr("routing.caching.exact.PATIENCE_S", 10.0)


@pytest.fixture
def caching(gateway: RunningGateway) -> RunningGateway:
    publish(gateway, CACHING)
    return gateway


def publish(gateway: RunningGateway, policy: str) -> None:
    factories.make_policy(gateway.company.organisation, policy)
    gateway.refresh()


def ask(gateway: RunningGateway, body: Any = None, path: str = "chat/completions", lob: str = "customer-service",
        **headers: str):  # fmt: skip
    with gateway.client(lob, **headers) as client:
        reply = client.post(f"/v1/{path}", json=CHAT if body is None else body)
    time.sleep(0.05)  # keeping is done in the background
    return reply


def told(reply) -> str:
    assert reply.status_code == 200, reply.text
    return reply.headers["x-switchyard-cache"]


def test_the_same_question_is_answered_from_what_was_kept_for_nothing(caching: RunningGateway) -> None:
    first, again = (
        ask(caching),
        ask(caching, {"messages": CHAT["messages"], "model": "auto", "user": "somebody"}),
    )
    assert (told(first), told(again)) == ("miss", "hit")
    assert first.json() == again.json() and len(caching.external.seen) == 1
    assert (
        float(again.headers["x-switchyard-cost-usd"]) == 0 and again.headers["x-switchyard-model"] == "ext-a"
    )
    assert again.headers["x-switchyard-decision-id"] != first.headers["x-switchyard-decision-id"]


def test_a_hit_is_in_the_books_as_a_saving_and_no_call(caching: RunningGateway) -> None:
    paid, free = ask(caching), ask(caching)
    Consumer(caching.valkey.url).step()
    bought, kept = Attempt.objects.order_by("at")
    assert kept.cost_nusd == kept.tokens_in == kept.tokens_out == 0 and kept.answered and kept.answers == 1
    assert kept.saved_cache_nusd == bought.cost_nusd > 0 and kept.price_version == "cache"
    assert told(paid) == "miss" and told(free) == "hit"
    assert [event["cache"] for event in caching.events(0)] == []  # all of them were taken


def test_looks_are_counted_with_what_they_took_and_saved_found_or_not(caching: RunningGateway) -> None:
    def told_by(name: str, **labels: str) -> float:
        metrics.render()
        return metrics.REGISTRY.get_sample_value(name, {"lob": "customer-service"} | labels) or 0.0

    names = ("switchyard_cache_lookup_seconds_total", "switchyard_cache_saved_nusd_total")
    before = [told_by("switchyard_cache_lookups_total", found=found) for found in ("hit", "miss")]
    took, saved = map(told_by, names)
    made, again = ask(caching), ask(caching)
    ask(caching, **{"cache-control": "no-cache"})
    after = [told_by("switchyard_cache_lookups_total", found=found) for found in ("hit", "miss")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]
    assert told_by(names[0]) > took
    assert told_by(names[1]) - saved == round(float(made.headers["x-switchyard-cost-usd"]) * 1e9) > 0
    with caching.client() as client:
        for reply, found in ((made, "miss"), (again, "hit")):
            decision = client.get(f"/v1/decisions/{reply.headers['x-switchyard-decision-id']}").json()
            assert decision["cache"] == found
    assert decision["attempts"][0]["saved_usd"]["cache"] == made.headers["x-switchyard-cost-usd"]
    Consumer(caching.valkey.url).step()
    with caching.client() as client:
        kept = client.get(f"/v1/decisions/{decision['id']}").json()
    assert kept["cache"] == "hit" and kept["attempts"] == decision["attempts"], "as the record says it, too"


def test_decisions_and_feedback_work_for_a_hit(caching: RunningGateway) -> None:
    body = TEXTS
    ask(caching, body, "classifications")
    hit = ask(caching, body, "classifications")
    decision = hit.headers["x-switchyard-decision-id"]
    with caching.client() as client:
        shown = client.get(f"/v1/decisions/{decision}").json()
        judged = client.post(
            "/v1/feedback", json={"decision_id": decision, "label": "positive", "index": 1}
        ).json()
    assert (
        told(hit) == "hit" and shown["attempts"][0]["price_version"] == "cache" and judged["correct"] is True
    )


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.7}, {"n": 2}, {"temperature": 1, "top_p": 0.5}],
)
def test_who_asks_for_variety_gets_it(caching: RunningGateway, change: dict[str, Any]) -> None:
    assert [told(ask(caching, CHAT | change)) for _ in range(2)] == ["bypass", "bypass"]
    assert len(caching.external.seen) == 2


def test_a_caller_may_ask_past_the_cache(caching: RunningGateway) -> None:
    ask(caching)
    assert told(ask(caching, **{"Cache-Control": "no-cache"})) == "bypass"
    assert told(ask(caching)) == "hit" and len(caching.external.seen) == 2


@pytest.mark.parametrize(
    "change", [{"temperature": 0}, {"seed": 7, "temperature": 0.7}, {"n": 2, "temperature": 0}]
)
def test_what_is_repeatable_is_kept(caching: RunningGateway, change: dict[str, Any]) -> None:
    assert [told(ask(caching, CHAT | change)) for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize(
    "change",
    [{"max_tokens": 9}, {"seed": 8}, {"tools": [{"type": "function", "function": {"name": "f"}}]}, {"x_new": 1},
     {"messages": [{"role": "user", "content": "How do I reset it? "}]}, {"response_format": {"type": "json_object"}}],
)  # fmt: skip
def test_whatever_could_change_the_answer_is_another_question(
    caching: RunningGateway, change: dict[str, Any]
) -> None:
    ask(caching)
    assert told(ask(caching, CHAT | change)) == "miss"


def test_restricted_work_is_neither_kept_nor_given_from_what_was_kept(caching: RunningGateway) -> None:
    ask(caching)
    raised = {"X-Switchyard-Sensitivity": "restricted"}
    assert [told(ask(caching, **raised)) for _ in range(2)] == ["bypass", "bypass"]
    assert len(caching.valkey.client().keys("sy:ans:*")) == 1


def test_an_invariant_against_the_hop_cache_is_obeyed(caching: RunningGateway) -> None:
    """In force past the verifier, which wouldn't take a route that keeps what may not be kept."""
    never = '  - name: memos are not kept\n    never: workload.name == "memo" && hop == "cache"\nrules:'
    document = CACHING.replace("rules:", never, 1)
    live = Policy.objects.filter(organisation=caching.company.organisation, lob=None, state="live")
    live.update(document=document, hash=digest(document))
    caching.refresh()
    memo = CHAT | {"model": "memo"}
    assert [told(ask(caching, memo, lob="legal")) for _ in range(2)] == ["bypass", "bypass"]
    assert [told(ask(caching)) for _ in range(2)] == ["miss", "hit"]


def test_another_application_of_the_same_line_of_business_starts_anew(caching: RunningGateway) -> None:
    ask(caching)
    _, caching.company.keys["other"] = factories.make_key(
        factories.make_application(caching.company.service, "other-app")
    )
    caching.refresh()
    assert told(ask(caching, lob="other")) == "miss"


def test_a_publish_finds_nothing_that_was_kept_before(caching: RunningGateway) -> None:
    ask(caching)
    publish(caching, CACHING.replace("small model first", "small model before others"))
    assert told(ask(caching)) == "miss"


def test_a_stream_is_kept_and_given_again_as_frames(caching: RunningGateway) -> None:
    body = CHAT | {"stream": True}
    first, again = ask(caching, body), ask(caching, body | {"stream_options": {"include_usage": True}})
    assert (told(first), told(again)) == ("miss", "hit") and len(caching.external.seen) == 1
    frames = [line[6:] for line in again.text.split("\n") if line.startswith("data: ")]
    assert first.text.split("\n\n")[:-2] == [f"data: {frame}" for frame in frames[:-2]]
    usage = orjson.loads(frames[-2])
    assert usage["usage"]["completion_tokens"] == 4 and usage["choices"] == [] and frames[-1] == "[DONE]"
    assert float(usage["usage"]["switchyard"]["cost_usd"]) == 0
    assert told(ask(caching)) == "miss"  # the whole answer is another form


@pytest.mark.parametrize("fault", [upstream.cut_stream(2), upstream.status(422)])
def test_what_ended_badly_is_not_kept(caching: RunningGateway, fault: upstream.Fault) -> None:
    caching.external.next(fault)
    ask(caching, CHAT | {"stream": True})
    assert told(ask(caching, CHAT | {"stream": True})) == "miss"


def test_what_is_kept_is_sealed_and_ends_with_the_rules_time(caching: RunningGateway) -> None:
    ask(caching)
    client = caching.valkey.client()
    (name,) = client.keys("sy:ans:*")
    assert b"well" not in client.get(name) and 55 <= client.ttl(name) <= 60


def test_without_valkey_the_cache_is_passed_by(caching: RunningGateway) -> None:
    ask(caching)
    assert caching.front.office is not None
    caching.front.office.cache._link._options = {"path": "/nonexistent"}
    caching.front.office.cache._link.close()
    assert told(ask(caching)) == "bypass" and len(caching.external.seen) == 2


def test_without_a_rule_nothing_is_looked_up(gateway: RunningGateway) -> None:
    assert [told(ask(gateway)) for _ in range(2)] == ["bypass", "bypass"]
    assert gateway.valkey.client().keys("sy:ans:*") == []


def test_a_hit_counts_for_the_rate_limit_and_needs_no_budget(caching: RunningGateway) -> None:
    ask(caching)
    factories.make_budget(
        caching.company.organisation, "lob:customer-service", usd="0.000000001", action="stop"
    )
    caching.company.service.rpm = 3
    caching.company.service.save()
    caching.refresh()
    assert told(ask(caching)) == "hit"
    assert ask(caching, CHAT | {"max_tokens": 5}).status_code == 429  # what must be bought has no budget
    assert [ask(caching).status_code for _ in range(4)].count(429) >= 1
