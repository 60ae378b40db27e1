"""/v1/batches through the official client; the job's recipe is run as a worker runs it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import openai
import pytest

from costs.metering import record_events
from costs.models import Attempt, Price
from modelhub.models import StoredFile
from modelhub.tasks import run_job
from switchyard.core.clock import now
from switchyard.gateway.batches import finishing, recipe
from switchyard.gateway.models import Batch
from switchyard.jobs.models import Job
from tests import factories
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import status

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.SWITCHYARD = settings.SWITCHYARD | {"FILES_INLINE_BYTES": 1 << 40, "BATCH_LINES_AT_ONCE": 4}
    monkeypatch.setattr("switchyard.jobs.services.wake", lambda job: None)
    monkeypatch.setattr(recipe, "wake", lambda job: None)
    return settings.MEDIA_ROOT


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "chatter", "max_tokens": 20, "messages": [{"role": "user", "content": text}]} | more


def upload(client: openai.OpenAI, bodies: list[Any], url: str = "/v1/chat/completions") -> str:
    rows = [
        {"custom_id": f"line-{i}", "method": "POST", "url": url, "body": body}
        for i, body in enumerate(bodies)
    ]
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return client.files.create(file=("asks.jsonl", content), purpose="batch").id


def start(client: openai.OpenAI, bodies: list[Any], url: Any = "/v1/chat/completions", **more: Any) -> Any:
    return client.batches.create(
        input_file_id=upload(client, bodies, url), endpoint=url, completion_window="24h", **more
    )


def work() -> None:
    """What a worker does until nothing waits."""
    for _ in range(20):
        if (job := Job.objects.filter(state="queued").first()) is None:
            return
        run_job(job.pk)
    raise AssertionError("the job doesn't end")


def rows_in(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    told = [json.loads(line) for line in client.files.content(file_id).read().splitlines()]
    return {row["custom_id"]: row for row in told}


def half_price(gateway: RunningGateway) -> None:
    Price.objects.filter(deployment="ext-a").update(batch_ppm=500_000)
    gateway.refresh()


def test_a_file_of_questions_comes_back_as_a_file_of_answers(gateway: RunningGateway, media: Any) -> None:
    client = gateway.openai()
    made = start(client, [chat(f"Question {i}?") for i in range(6)], metadata={"case": "7"})
    assert (made.object, made.status, made.endpoint) == ("batch", "validating", "/v1/chat/completions")
    assert made.expires_at - made.created_at == 86_400
    work()
    done = client.batches.retrieve(made.id)
    assert done.status == "completed" and done.metadata == {"case": "7"}
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (6, 6, 0)
    assert done.in_progress_at and done.finalizing_at and done.completed_at and done.error_file_id is None
    rows = rows_in(client, done.output_file_id)
    assert sorted(rows) == [f"line-{i}" for i in range(6)]
    body = rows["line-3"]["response"]["body"]
    assert rows["line-3"]["response"]["status_code"] == 200
    assert {row["response"]["switchyard"]["policy_version"] for row in rows.values()} == {"org@1"}
    assert body["choices"][0]["message"]["content"] == "All is well." and body["model"] == "chatter"
    assert {seen.body["messages"][0]["content"] for seen in gateway.external.seen} == {
        f"Question {i}?" for i in range(6)
    }
    assert not list((media / "batches").rglob("*.journal")), "the journal is let go"
    assert [batch.id for batch in client.batches.list(limit=1)] == [made.id]


def test_every_line_is_paid_for_once_at_the_batch_price(gateway: RunningGateway) -> None:
    half_price(gateway)
    client = gateway.openai()
    live = client.chat.completions.create(
        model="chatter", messages=[{"role": "user", "content": "Question 0?"}], max_tokens=20
    )
    assert live.choices
    made = start(client, [chat(f"Question {i}?") for i in range(4)])
    work()
    events = [event for event in gateway.events(5) if event["kind"] == "usage"]
    assert [event["endpoint"] for event in events] == ["chat/completions"] * 5 and len(
        {e["event_id"] for e in events}
    ) == 5
    costs = [event["cost_nusd"] for event in events]
    assert costs[1:] == [costs[0] // 2] * 4, "half the price of the same call live"
    assert (
        all(event["attempts"][0].get("batch") for event in events[1:])
        and "batch" not in events[0]["attempts"][0]
    )
    assert [seen.body.get("service_tier") for seen in gateway.external.seen] == [None, *["flex"] * 4]
    assert client.batches.retrieve(made.id).switchyard["cost_usd"] == "0.00000" + str(sum(costs[1:])) or sum(
        costs[1:]
    )  # type: ignore[attr-defined]
    assert Batch.objects.get().cost_nusd == sum(costs[1:])


def test_a_vendor_that_says_it_was_no_batch_is_paid_in_full(gateway: RunningGateway) -> None:
    half_price(gateway)
    gateway.external.manners.more = {"service_tier": "default"}
    start(gateway.openai(), [chat("Question?")])
    work()
    [event] = gateway.events()
    assert "batch" not in event["attempts"][0]


def test_lines_fail_one_by_one_and_keep_their_reasons(gateway: RunningGateway) -> None:
    client = gateway.openai()
    gateway.external.always(status(400, message="too strange"))
    bodies = [
        chat("good"),
        chat("x", messages=[]),
        chat("x", model="contract-clauses"),
        chat("x", model="nobody"),
    ]
    made = start(client, bodies)
    gateway.external.behave()
    work()
    done = client.batches.retrieve(made.id)
    assert done.status == "completed" and done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 3)
    assert sorted(rows_in(client, done.output_file_id)) == ["line-0"]
    failed = rows_in(client, done.error_file_id)
    assert failed["line-1"]["response"]["status_code"] == 400
    assert {row["response"]["switchyard"]["policy_version"] for row in failed.values()} == {"org@1"}
    assert failed["line-1"]["response"]["body"]["error"]["param"] == "messages"
    assert failed["line-2"]["response"]["status_code"] == 404, "a neighbour's workload is as unknown as none"
    assert failed["line-3"]["response"]["body"]["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("url", "body", "look"),
    [
        ("/v1/completions", {"model": "chatter", "prompt": "Say"}, lambda b: b["choices"][0]["text"] == "All is well."),
        ("/v1/embeddings", {"model": "vectors", "input": ["abc"]}, lambda b: b["data"][0]["embedding"] == [1.0, 3.0, 0.5]),
        ("/v1/classifications", {"model": "support-sentiment", "input": ["fine"]}, lambda b: b["data"][0]["label"] == "positive"),
        ("/v1/predictions", {"model": "price-advice", "records": [{"price": 1}]}, lambda b: b["data"][0]["prediction"] == 1),
        ("/v1/responses", {"model": "chatter", "input": "Hi"}, lambda b: b["output"][0]["content"][0]["text"] == "All is well."),
    ],
)  # fmt: skip
def test_every_endpoint_has_batches(gateway: RunningGateway, url: str, body: Any, look: Any) -> None:
    client = gateway.openai()
    made = start(client, [body], url)
    work()
    [row] = rows_in(client, client.batches.retrieve(made.id).output_file_id).values()
    assert row["response"]["status_code"] == 200 and look(row["response"]["body"])
    assert gateway.events()[0]["endpoint"] == url.removeprefix("/v1/")


def test_a_file_for_another_endpoint_fails_as_a_whole_with_its_lines(gateway: RunningGateway) -> None:
    client = gateway.openai()
    made = client.batches.create(
        input_file_id=upload(client, [chat("a"), chat("b", stream=True)]),
        endpoint="/v1/embeddings",
        completion_window="24h",
    )
    work()
    done = client.batches.retrieve(made.id)
    assert (
        done.status == "failed"
        and done.failed_at
        and done.errors is not None
        and done.errors.data is not None
    )
    assert [(fault.code, fault.line) for fault in done.errors.data] == [
        ("invalid_url", 1),
        ("invalid_url", 2),
    ]
    assert gateway.external.seen == []


def test_what_can_not_be_a_batch_is_refused_at_once(gateway: RunningGateway) -> None:
    client = gateway.openai()
    file_id = upload(client, [chat("a")])
    other = client.files.create(file=("rows.txt", b"words"), purpose="user_data").id
    good: dict[str, Any] = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    for change, param in (
        ({"endpoint": "/v1/files"}, "endpoint"), ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": other}, "input_file_id"), ({"metadata": {"a": 1}}, "metadata"),
    ):  # fmt: skip
        with gateway.client() as http:
            reply = http.post("/v1/batches", json=good | change)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    with pytest.raises(openai.NotFoundError):
        client.batches.create(**good | {"input_file_id": "file_none"})
    with pytest.raises(openai.PermissionDeniedError):
        client.batches.create(**good, extra_headers={"X-Switchyard-Sensitivity": "restricted"})
    assert not Batch.objects.exists()


def test_the_neighbour_knows_nothing_of_it(gateway: RunningGateway) -> None:
    mine = gateway.openai()
    made = start(mine, [chat("a")])
    legal = gateway.openai("legal")
    assert list(legal.batches.list()) == []
    for ask in (legal.batches.retrieve, legal.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)
    with pytest.raises(openai.NotFoundError):
        legal.batches.create(
            input_file_id=made.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )


def test_lines_obey_policy_and_inspection_as_live_calls_do(gateway: RunningGateway) -> None:
    client = gateway.openai()
    card = "My card is 4111 1111 1111 1111 and I am jane.doe@example.com"
    content = [chat(card), chat("Hello?")]
    try:
        made = start(client, content)
    except openai.PermissionDeniedError:
        return  # refused as a file already: nothing of it was kept
    work()
    assert {seen.body["messages"][0]["content"] for seen in gateway.external.seen} == {"Hello?"}
    assert client.batches.retrieve(made.id).status == "completed"


def test_a_class_that_was_declared_holds_for_every_line(gateway: RunningGateway) -> None:
    client = gateway.openai()
    made = start(client, [chat("a"), chat("b")], extra_headers={"X-Switchyard-Sensitivity": "confidential"})
    work()
    assert client.batches.retrieve(made.id).status == "completed"
    assert gateway.external.seen == [] and len(gateway.private.seen) == 2


# ---------------------------------------------------------------------------------------------- cancel, expiry, money
def test_one_that_waits_is_cancelled_at_once(gateway: RunningGateway) -> None:
    client = gateway.openai()
    made = start(client, [chat("a")])
    gone = client.batches.cancel(made.id)
    assert gone.status == "cancelled" and gone.cancelling_at and gone.cancelled_at
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(made.id)
    work()
    assert gateway.external.seen == [] and client.batches.retrieve(made.id).status == "cancelled"


def test_one_that_runs_is_cancelled_between_groups_and_keeps_what_it_has(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = gateway.openai()
    made = start(client, [chat(f"Question {i}?") for i in range(12)])
    monkeypatch.setattr("switchyard.jobs.runner.LOOK_EVERY_S", 0.0)
    real = recipe._commit

    async def commit_and_cancel(batch: Any, *args: Any) -> None:
        await real(batch, *args)
        if batch.completed == 8:
            from asgiref.sync import sync_to_async

            assert (await sync_to_async(client.batches.cancel)(made.id)).status == "cancelling"

    monkeypatch.setattr(recipe, "_commit", commit_and_cancel)
    work()
    done = client.batches.retrieve(made.id)
    assert (
        done.status == "cancelled" and done.request_counts is not None and done.request_counts.completed == 8
    )
    assert len(rows_in(client, done.output_file_id)) == 8 and len(gateway.external.seen) == 8
    assert Job.objects.get().state == "cancelled"


def test_what_was_not_asked_in_time_says_so(gateway: RunningGateway) -> None:
    client = gateway.openai()
    made = start(client, [chat("a"), chat("b")])
    Batch.objects.update(expires_at=now() - timedelta(seconds=1))
    work()
    done = client.batches.retrieve(made.id)
    assert done.status == "expired" and done.output_file_id is None
    rows = rows_in(client, done.error_file_id)
    assert {row["error"]["code"] for row in rows.values()} == {"batch_expired"} and len(rows) == 2


def test_a_batch_that_may_cost_more_than_is_left_fails_before_it_asks(gateway: RunningGateway) -> None:
    factories.make_budget(gateway.company.organisation, scope="organisation", usd="0.00000001", action="stop")
    gateway.refresh()
    client = gateway.openai()
    made = start(client, [chat("a")])
    work()
    done = client.batches.retrieve(made.id)
    assert done.status == "failed" and done.errors is not None and done.errors.data is not None
    assert done.errors.data[0].code == "project_spend_limit_exceeded" and gateway.external.seen == []


# --------------------------------------------------------------------------------------------------------------- kills
@pytest.mark.parametrize("at", ["before the journal", "before the settlement", "after the settlement"])
def test_killed_at_any_moment_each_answer_is_there_once_and_paid_once(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The process dies where it stands: nothing after that line runs, and another worker goes on."""

    class Killed(BaseException):
        pass

    client = gateway.openai()
    made = start(client, [chat(f"Question {i}?") for i in range(10)])
    journal = recipe.Journal
    real = {"append": journal.append, "settled": journal.settled}
    calls = {"n": 0}

    def append(self: Any, entries: Any) -> None:
        calls["n"] += 1
        if calls["n"] == 2 and at == "before the journal":
            raise Killed
        real["append"](self, entries)
        if calls["n"] == 2 and at == "before the settlement":
            raise Killed

    def settled(self: Any, numbers: Any) -> None:
        if calls["n"] == 2 and at == "after the settlement":
            calls["n"] += 1
            raise Killed
        real["settled"](self, numbers)

    monkeypatch.setattr(journal, "append", append)
    monkeypatch.setattr(journal, "settled", settled)
    with pytest.raises(Killed):
        work()
    Job.objects.update(state="queued", lease_until=None)  # as the reaper does when the lease is over
    monkeypatch.setattr(journal, "append", real["append"])
    monkeypatch.setattr(journal, "settled", real["settled"])
    work()
    done = client.batches.retrieve(made.id)
    rows = rows_in(client, done.output_file_id)
    assert done.status == "completed" and len(rows) == 10
    assert done.request_counts is not None and done.request_counts.completed == 10
    events = [event for event in gateway.events(10) if event["kind"] == "usage"]
    record_events(events)
    answered = {row["response"]["request_id"] for row in rows.values()}
    assert answered <= set(Attempt.objects.values_list("request_id", flat=True))
    booked = Attempt.objects.filter(request_id__in=answered)
    assert booked.count() == 10, "each answer once in the books, however often its event was told"
    asked_again = 4 if at == "before the journal" else 0
    assert len(gateway.external.seen) == 10 + asked_again


def test_a_job_that_ended_without_a_word_still_gives_what_it_had(gateway: RunningGateway) -> None:
    client = gateway.openai()
    made = start(client, [chat("a")])
    Job.objects.update(state="quarantined", error="It died.")
    assert finishing.finish_ended() == 1 and finishing.finish_ended() == 0
    done = client.batches.retrieve(made.id)
    assert done.status == "failed" and done.errors is not None and done.errors.data is not None
    assert (
        done.errors.data[0].message == "It died."
        and not StoredFile.objects.filter(purpose="batch_output").exists()
    )


def test_a_long_batch_lets_others_through(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "TURN_S", 0.0)
    client = gateway.openai()
    made = start(client, [chat(f"Question {i}?") for i in range(9)])
    job = Job.objects.get()
    seen = 0
    while Job.objects.get().state == "queued" and seen < 20:
        run_job(job.pk)
        seen += 1
        monkeypatch.setattr(recipe, "TURN_S", 0.01 * seen)
    assert client.batches.retrieve(made.id).status == "completed" and seen >= 2
