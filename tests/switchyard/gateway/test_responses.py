"""/v1/responses through the official client: whole, as typed events, kept, gone on from, in the background, cancelled."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import openai
import pytest

from switchyard.core.clock import now
from switchyard.gateway.models import StoredResponse
from switchyard.gateway.responses import keeping
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import cut_stream, slow, status
from tests.switchyard.gateway.test_messages import TOOL_DELTAS

WEATHER: Any = {"type": "function", "name": "weather", "strict": True, "description": "Tells it.",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}  # fmt: skip
CALL = {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def test_text_in_text_out_with_everything_echoed(gateway: RunningGateway) -> None:
    answer = gateway.openai().responses.create(
        model="chatter", input="Hello?", instructions="Be kind.", max_output_tokens=40, temperature=0.5,
        metadata={"case": "7"}, user="u-7", reasoning={"effort": "low"}, extra_body={"top_k": 3},
    )  # fmt: skip
    assert (answer.object, answer.status, answer.output_text) == ("response", "completed", "All is well.")
    assert answer.usage is not None and (answer.usage.input_tokens, answer.usage.output_tokens) == (12, 4)
    assert (answer.instructions, answer.max_output_tokens, answer.metadata) == ("Be kind.", 40, {"case": "7"})
    assert answer.id.startswith("resp_") and answer.error is None and answer.store is True
    sent = gateway.external.seen[0].body
    assert sent["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello?"},
    ]
    assert (sent["max_tokens"], sent["temperature"], sent["user"], sent["top_k"]) == (40, 0.5, "u-7", 3)
    assert sent["reasoning_effort"] == "low" and not {"store", "metadata", "input", "background"} & set(sent)
    [event] = gateway.events()
    assert event["endpoint"] == "responses" and event["cost_nusd"] > 0


def test_items_of_every_kind_become_a_chat(gateway: RunningGateway) -> None:
    items: Any = [
        {"role": "developer", "content": "Short answers."},
        {"role": "user", "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        ]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
        {"type": "function_call", "call_id": "call_a", "name": "weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call", "call_id": "call_b", "name": "weather", "arguments": '{"city": "Bergen"}'},
        {"type": "function_call_output", "call_id": "call_a", "output": "Rain"},
        {"type": "function_call_output", "call_id": "call_b", "output": "Sun"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ]  # fmt: skip
    schema = {"type": "json_schema", "name": "place", "strict": True, "schema": {"type": "object"}}
    answer = gateway.openai().responses.create(
        model="chatter", input=items, tools=[WEATHER], tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False, text={"format": schema, "verbosity": "low"},  # type: ignore[arg-type]
    )  # fmt: skip
    assert answer.output_text == '{"city": "Oslo"}'
    [seen] = gateway.external.seen + gateway.private.seen  # what nobody can look into may have to stay home
    sent = seen.body
    roles = [message["role"] for message in sent["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    assert [part["type"] for part in sent["messages"][1]["content"]] == ["text", "image_url", "file"]
    assert sent["messages"][2]["content"] == "Let me look."
    assert [call["id"] for call in sent["messages"][2]["tool_calls"]] == ["call_a", "call_b"]
    assert sent["tools"][0]["function"] == {
        n: WEATHER[n] for n in ("name", "description", "parameters", "strict")
    }
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert sent["response_format"]["json_schema"]["name"] == "place" and sent["verbosity"] == "low"


def test_calls_of_functions_come_back_and_their_results_go_on(gateway: RunningGateway) -> None:
    client = gateway.openai()
    gateway.external.manners.message = {"content": None, "tool_calls": [CALL]}
    gateway.external.manners.finish = "tool_calls"
    first = client.responses.create(model="chatter", input="Weather?", tools=[WEATHER])
    [call] = first.output
    assert call.type == "function_call" and (call.call_id, call.name, call.arguments) == (
        "call_a",
        "weather",
        '{"city": "Oslo"}',
    )
    gateway.external.manners.message, gateway.external.manners.finish = None, "stop"
    result: Any = {"type": "function_call_output", "call_id": "call_a", "output": "Rain"}
    second = client.responses.create(model="chatter", input=[result], previous_response_id=first.id)
    third = client.responses.create(
        model="chatter", input="Sure?", previous_response_id=second.id, instructions="Be brief."
    )
    assert third.previous_response_id == second.id
    sent = gateway.external.seen[-1].body["messages"]
    assert [message["role"] for message in sent] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert (
        sent[2]["tool_calls"][0]["id"] == "call_a"
        and sent[3]["content"] == "Rain"
        and sent[5]["content"] == "Sure?"
    )


def test_the_events_of_a_stream_are_typed_and_in_their_order(gateway: RunningGateway) -> None:
    stream = gateway.openai().responses.create(model="chatter", input="Hello?", stream=True)
    found = list(stream)
    assert [event.type for event in found] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        *["response.output_text.delta"] * 4, "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in found] == list(range(len(found)))
    last: Any = found[-1]
    assert last.response.output_text == "All is well." and last.response.usage.output_tokens == 4
    assert last.response.id == found[0].response.id  # type: ignore[union-attr]
    assert gateway.openai().responses.retrieve(last.response.id).output_text == "All is well."


def test_the_clients_own_accumulator_understands_calls_that_a_server_mixes(gateway: RunningGateway) -> None:
    gateway.external.manners.deltas = TOOL_DELTAS
    with gateway.openai().responses.stream(model="chatter", input="Weather?", tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
    assert [item.arguments for item in final.output[1:]] == ['{"city": "Oslo"}', '{"city": "Bergen"}']  # type: ignore[union-attr]


def test_log_probabilities_come_where_they_were_asked_for(gateway: RunningGateway) -> None:
    include: Any = ["message.output_text.logprobs"]
    answer: Any = gateway.openai().responses.create(
        model="chatter", input="Hello?", include=include, top_logprobs=2
    )
    assert [p.token for p in answer.output[0].content[0].logprobs] == ["All", " is", " well", "."]
    assert gateway.external.seen[0].body["top_logprobs"] == 2


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_what_was_cut_short_says_why(gateway: RunningGateway, finish: str, reason: str) -> None:
    gateway.external.manners.finish = finish
    answer = gateway.openai().responses.create(model="chatter", input="Hello?")
    assert answer.status == "incomplete" and answer.incomplete_details.reason == reason  # type: ignore[union-attr]
    stream = list(gateway.openai().responses.create(model="chatter", input="Hello?", stream=True))
    assert stream[-1].type == "response.incomplete"


def test_a_stream_that_breaks_off_fails_and_is_not_kept(gateway: RunningGateway) -> None:
    for upstream in (gateway.external, gateway.private):
        upstream.always(cut_stream(2))
    last: Any = list(gateway.openai().responses.create(model="chatter", input="Hello?", stream=True))[-1]
    assert last.type == "response.failed" and last.response.error.code == "upstream_error"
    assert not StoredResponse.objects.exists()


# ------------------------------------------------------------------------------------------------------------- keeping
def test_a_kept_response_is_sealed_retrieved_listed_and_deleted(gateway: RunningGateway) -> None:
    client = gateway.openai()
    made = client.responses.create(
        model="chatter", input=[{"role": "user", "content": w} for w in ("one", "two", "three")]
    )
    row = StoredResponse.objects.get()
    assert "All is well" not in row.sealed and "one" not in row.sealed
    assert abs((row.expires_at - row.created_at) - timedelta(days=30)) < timedelta(seconds=5)
    again = client.responses.retrieve(made.id)
    assert again.output_text == made.output_text and again.usage == made.usage
    items: Any = list(client.responses.input_items.list(made.id, limit=2, order="asc"))
    assert [item.content[0].text for item in items] == ["one", "two", "three"], (
        "the client turns the pages itself"
    )
    newest: Any = client.responses.input_items.list(made.id, limit=1).data[0]
    assert newest.content[0].text == "three"
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError) as gone:
        client.responses.create(model="chatter", input="more", previous_response_id=made.id)
    assert gone.value.code == "previous_response_not_found"


def test_nothing_is_kept_when_asked_not_to_or_when_restricted(gateway: RunningGateway) -> None:
    client = gateway.openai()
    quiet = client.responses.create(model="chatter", input="Hello?", store=False)
    secret = client.responses.create(
        model="chatter", input="Hello?", extra_headers={"X-Switchyard-Sensitivity": "restricted"}
    )
    assert (quiet.store, secret.store) == (False, False) and not StoredResponse.objects.exists()
    with pytest.raises(openai.PermissionDeniedError):
        client.responses.create(
            model="chatter",
            input="Hello?",
            background=True,
            extra_headers={"X-Switchyard-Sensitivity": "restricted"},
        )


def test_the_neighbour_knows_nothing_of_it(gateway: RunningGateway) -> None:
    made = gateway.openai().responses.create(model="chatter", input="Hello?")
    legal = gateway.openai("legal")
    for ask in (
        legal.responses.retrieve,
        legal.responses.delete,
        legal.responses.cancel,
        legal.responses.input_items.list,
    ):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)  # type: ignore[operator]
    with pytest.raises(openai.NotFoundError):
        legal.responses.create(model="memo", input="more", previous_response_id=made.id)
    assert StoredResponse.objects.count() == 1


def test_what_is_old_is_gone_and_ends_the_conversation_in_words(gateway: RunningGateway) -> None:
    client = gateway.openai()
    first = client.responses.create(model="chatter", input="one")
    second = client.responses.create(model="chatter", input="two", previous_response_id=first.id)
    StoredResponse.objects.filter(pk=first.id).update(expires_at=now() - timedelta(seconds=1))
    with pytest.raises(openai.BadRequestError) as old:
        client.responses.create(model="chatter", input="three", previous_response_id=second.id)
    assert old.value.param == "previous_response_id"
    assert keeping.purge_expired() == 1 and StoredResponse.objects.count() == 1


# ------------------------------------------------------------------------------------------------------- background
def wait_for(client: openai.OpenAI, response_id: str, states: set[str]) -> Any:
    until = time.monotonic() + 15
    while (told := client.responses.retrieve(response_id)).status not in states:
        assert time.monotonic() < until, told
        time.sleep(0.05)
    return told


def test_one_in_the_background_is_fetched_when_it_is_done(gateway: RunningGateway) -> None:
    client = gateway.openai()
    gateway.external.next(slow(0.3))
    begun = client.responses.create(model="chatter", input="Hello?", background=True)
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])
    done = wait_for(client, begun.id, {"completed"})
    assert done.output_text == "All is well." and done.id == begun.id
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="chatter", input="Hello?", background=True, store=False)
    gateway.external.always(status(400, message="no such thing"))
    failed = wait_for(
        client, client.responses.create(model="chatter", input="x", background=True).id, {"failed"}
    )
    assert failed.error.code == "upstream_rejected"


def test_one_in_the_background_is_cancelled_and_paid_for_as_far_as_it_went(gateway: RunningGateway) -> None:
    client = gateway.openai()
    gateway.external.always(slow(30))
    begun = client.responses.create(model="chatter", input="Hello?", background=True)
    until = time.monotonic() + 5
    while not gateway.external.seen and time.monotonic() < until:
        time.sleep(0.02)
    assert client.responses.cancel(begun.id).status == "cancelled"
    assert client.responses.retrieve(begun.id).status == "cancelled"
    [event] = gateway.events()
    assert event["status"] == 499 and event["attempts"][0]["status"] == "cut"
    gateway.external.behave()
    answered = client.responses.create(model="support-sentiment", input="fine")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(answered.id)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"store": "yes"}, "store"),
        ({"background": True, "stream": True}, "stream"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(gateway: RunningGateway, change: dict[str, Any], param: str) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/responses", json={"model": "chatter", "input": "x"} | change)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == param, reply.text
    assert gateway.external.seen == [] and not StoredResponse.objects.exists()
