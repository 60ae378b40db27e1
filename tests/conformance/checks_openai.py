"""Every endpoint through the official `openai` client, whichever version runs this file; nothing else is imported.

python checks_openai.py URL KEY  → JSON: {"client", "results": [{"area", "name", "passed", "detail"}]}
"""

import io
import json
import sys
import time
import traceback

import openai
from checks_shared import CHECKS, TOOL, WEATHER, check, echoed, refused, said, user


# ---------------------------------------------------------------------------------------------------------------- chat
@check("chat")
def plain(client):
    answer = said(client, "Hello?")
    assert answer.choices[0].message.content == "All is well." and answer.model == "chatter"
    assert answer.usage.total_tokens == 16 and answer.choices[0].finish_reason == "stop"


@check("chat")
def auto_model(client):
    answer = client.chat.completions.create(model="auto", messages=user("Hello?"))
    assert answer.model == "chatter"


@check("chat")
def stream(client):
    chunks = list(said(client, "Hello?", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "All is well."
    assert chunks[-1].choices[0].finish_reason == "stop" and all(c.usage is None for c in chunks)


@check("chat")
def stream_with_usage(client):
    last = list(said(client, "Hello?", stream=True, stream_options={"include_usage": True}))[-1]
    assert last.choices == [] and last.usage.completion_tokens == 4
    assert set(last.usage.switchyard) == {"cost_usd", "decision_id"}


@check("chat")
def tools(client):
    answer = said(client, "misbehave: tool", tools=[TOOL], tool_choice="auto")
    [call] = answer.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_a", "weather", '{"city": "Oslo"}')
    assert answer.choices[0].finish_reason == "tool_calls"


@check("chat")
def tools_in_a_stream(client):
    chunks = list(said(client, "misbehave: tool", tools=[TOOL], stream=True))
    [call] = [t for c in chunks if c.choices for t in c.choices[0].delta.tool_calls or ()]
    assert call.function.arguments == '{"city": "Oslo"}'


@check("chat")
def tool_results(client):
    call = {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    told = [*user("Weather?"), {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_a", "content": "Rain"}, *user("misbehave: echo")]  # fmt: skip
    sent = echoed(client, messages=told, tools=[TOOL])
    assert sent["messages"] == told and sent["tools"] == [TOOL]


@check("chat")
def json_schema(client):
    schema = {"name": "place", "strict": True, "schema": WEATHER}
    form = {"type": "json_schema", "json_schema": schema}
    assert json.loads(said(client, "Where?", response_format=form).choices[0].message.content) == {
        "city": "Oslo"
    }
    assert echoed(client, response_format=form)["response_format"] == form


@check("chat")
def several_choices(client):
    answer = said(client, "Hello?", n=3)
    assert [c.index for c in answer.choices] == [0, 1, 2] and answer.usage.completion_tokens == 12


@check("chat")
def logprobs(client):
    answer = said(client, "Hello?", logprobs=True, top_logprobs=2)
    assert [p.token for p in answer.choices[0].logprobs.content] == ["All", " is", " well", "."]


@check("chat")
def stop_and_seed(client):
    sent = echoed(client, stop=["END"], seed=7, temperature=0.1)
    assert (sent["stop"], sent["seed"], sent["temperature"]) == (["END"], 7, 0.1)


@check("chat")
def unknown_fields_pass(client):
    sent = echoed(client, extra_body={"top_k": 3, "vendor": {"a": [1]}})
    assert sent["top_k"] == 3 and sent["vendor"] == {"a": [1]}


@check("chat")
def parts_of_every_kind(client):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    content = [{"type": "text", "text": "misbehave: echo"}, image]
    assert (
        echoed(client, messages=[{"role": "user", "content": content}])["messages"][0]["content"] == content
    )


@check("chat")
def a_label_as_an_answer(client):
    answer = client.chat.completions.create(model="support-sentiment", messages=user("Lovely"))
    assert answer.choices[0].message.content == "positive"


@check("completions")
def text_completion(client):
    assert client.completions.create(model="chatter", prompt="Say").choices[0].text == "All is well."


@check("completions")
def text_completion_stream(client):
    chunks = client.completions.create(model="chatter", prompt="Say", stream=True)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "All is well."


# ---------------------------------------------------------------------------------------------------------- embeddings
@check("embeddings")
def as_the_client_asks(client):
    answer = client.embeddings.create(model="vectors", input=["abc", "abcd"])
    assert [row.embedding for row in answer.data] == [[1.0, 3.0, 0.5], [1.0, 4.0, 0.5]]


@check("embeddings")
def floats(client):
    answer = client.embeddings.create(model="auto", input="abc", encoding_format="float")
    assert answer.data[0].embedding == [1.0, 3.0, 0.5] and answer.model == "vectors"


@check("embeddings")
def token_numbers_are_refused(client):
    error = refused(openai.BadRequestError, client.embeddings.create, model="vectors", input=[1, 2, 3])
    assert error.param == "input"


# ----------------------------------------------------------------------------------------------------------- responses
@check("responses")
def create(client):
    answer = client.responses.create(model="chatter", input="Hello?", instructions="Be kind.")
    assert (
        answer.output_text == "All is well."
        and answer.status == "completed"
        and answer.usage.output_tokens == 4
    )


@check("responses")
def typed_events(client):
    found = list(client.responses.create(model="chatter", input="Hello?", stream=True))
    assert [e.type for e in found] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        *["response.output_text.delta"] * 4, "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [e.sequence_number for e in found] == list(range(len(found)))


@check("responses")
def functions(client):
    tool = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}
    first = client.responses.create(model="chatter", input="misbehave: tool", tools=[tool])
    [call] = first.output
    assert (call.type, call.call_id, call.arguments) == ("function_call", "call_a", '{"city": "Oslo"}')
    result = {"type": "function_call_output", "call_id": "call_a", "output": "Rain"}
    told = [result, {"role": "user", "content": "misbehave: echo"}]
    second = client.responses.create(model="chatter", input=told, previous_response_id=first.id)
    sent = json.loads(second.output_text)["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "user"]


@check("responses")
def kept_listed_and_deleted(client):
    made = client.responses.create(model="chatter", input="Hello?")
    assert client.responses.retrieve(made.id).output_text == "All is well."
    assert len(list(client.responses.input_items.list(made.id))) == 1
    client.responses.delete(made.id)
    refused(openai.NotFoundError, client.responses.retrieve, made.id)


@check("responses")
def in_the_background(client):
    made = client.responses.create(model="chatter", input="Hello?", background=True)
    until = time.monotonic() + 30
    while (told := client.responses.retrieve(made.id)).status in ("queued", "in_progress"):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert told.status == "completed" and told.output_text == "All is well."
    assert client.responses.cancel(made.id).status == "completed"


# ---------------------------------------------------------------------------------------- models, files, batches, others
@check("models")
def listed_and_retrieved(client):
    ids = {model.id for model in client.models.list()}
    assert {"chatter", "vectors", "ext-a"} <= ids and "contract-clauses" not in ids
    assert client.models.retrieve("chatter").id == "chatter"


@check("files")
def there_and_back(client):
    row = b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "vectors", "input": "a"}}\n'
    made = client.files.create(file=("a.jsonl", io.BytesIO(row)), purpose="batch")
    assert (
        made.id in {file.id for file in client.files.list()} and client.files.content(made.id).read() == row
    )
    assert client.files.delete(made.id).deleted is True


@check("batches")
def answered_line_by_line(client):
    bodies = [
        {"model": "chatter", "messages": user("Hello?")},
        {"model": "nobody", "messages": user("Hello?")},
    ]
    rows = [
        {"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": b}
        for i, b in enumerate(bodies)
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = client.files.create(file=("a.jsonl", io.BytesIO(content)), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    until = time.monotonic() + 60
    while (told := client.batches.retrieve(made.id)).status not in (
        "completed",
        "failed",
        "expired",
        "cancelled",
    ):
        assert time.monotonic() < until, told
        time.sleep(0.2)
    assert told.status == "completed" and (told.request_counts.completed, told.request_counts.failed) == (
        1,
        1,
    )
    [row] = map(json.loads, client.files.content(told.output_file_id).read().splitlines())
    assert (
        row["custom_id"] == "0"
        and row["response"]["body"]["choices"][0]["message"]["content"] == "All is well."
    )
    [row] = map(json.loads, client.files.content(told.error_file_id).read().splitlines())
    assert row["custom_id"] == "1" and row["response"]["status_code"] == 404
    assert made.id in {batch.id for batch in client.batches.list()}


@check("moderations")
def judged(client):
    answer = client.moderations.create(input=["kind words", "bad words"])
    assert [row.flagged for row in answer.results] == [False, True]


@check("fine_tuning")
def listed_and_unknown(client):
    assert list(client.fine_tuning.jobs.list(limit=2)) == []
    refused(openai.NotFoundError, client.fine_tuning.jobs.retrieve, "job_none")


def main(url, key):
    import checks_trouble  # noqa: F401  (its checks come last)

    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60)
    results = []
    for area, name, function in CHECKS:
        try:
            function(client)
            results.append({"area": area, "name": name, "passed": True, "detail": ""})
        except Exception as error:  # a check may fail in any way
            place = traceback.extract_tb(error.__traceback__)[-1]
            detail = f"{type(error).__name__}: {error} ({place.name}:{place.lineno})"[:300]
            results.append({"area": area, "name": name, "passed": False, "detail": detail})
    print(json.dumps({"client": f"openai-python {openai.__version__}", "results": results}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
