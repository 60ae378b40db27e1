"""/v1/messages through the official `anthropic` client. python checks_anthropic.py URL KEY → JSON as checks_openai.py."""

import json
import sys
import time
import traceback

import anthropic

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def said(client, text, **more):
    messages = more.pop("messages", [{"role": "user", "content": text}])
    return client.messages.create(**({"model": "chatter", "max_tokens": 50, "messages": messages} | more))


def refused(kind, function, *args, **more):
    try:
        function(*args, **more)
    except kind as error:
        return error
    raise AssertionError(f"not refused as {kind.__name__}")


@check
def plain(client):
    answer = said(client, "Hello?", system="Be kind.", stop_sequences=["END"], metadata={"user_id": "u"})
    assert (
        answer.type == "message"
        and answer.content[0].text == "All is well."
        and answer.stop_reason == "end_turn"
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (12, 4)


@check
def stream(client):
    with client.messages.stream(
        model="chatter", max_tokens=50, messages=[{"role": "user", "content": "Hello?"}]
    ) as told:
        assert "".join(told.text_stream) == "All is well."
        final = told.get_final_message()
    assert final.stop_reason == "end_turn" and final.usage.output_tokens == 4


@check
def tools(client):
    answer = said(client, "misbehave: tool", tools=[WEATHER], tool_choice={"type": "auto"})
    [block] = answer.content
    assert (block.type, block.name, block.input, answer.stop_reason) == (
        "tool_use",
        "weather",
        {"city": "Oslo"},
        "tool_use",
    )


@check
def tools_in_a_stream(client):
    messages = [{"role": "user", "content": "misbehave: tool"}]
    with client.messages.stream(model="chatter", max_tokens=50, messages=messages, tools=[WEATHER]) as told:
        final = told.get_final_message()
    assert final.content[-1].input == {"city": "Oslo"}


@check
def blocks_reach_the_upstream(client):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "Rain"}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Look"}, image]}, {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, {"type": "text", "text": "misbehave: echo"}]},
    ]  # fmt: skip
    sent = json.loads(said(client, "", messages=messages).content[0].text)["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "user"]
    assert sent[0]["content"][1]["type"] == "image_url" and sent[1]["tool_calls"][0]["id"] == "t1"


@check
def tokens_are_counted(client):
    told = client.messages.count_tokens(model="chatter", messages=[{"role": "user", "content": "x" * 40}])
    assert 10 <= told.input_tokens <= 14


@check
def models_are_listed(client):
    assert {"chatter", "ext-a"} <= {model.id for model in client.models.list()}


@check
def refusals_have_their_kinds(client):
    other = client.with_options(api_key="sy_live_no")
    assert (
        refused(anthropic.AuthenticationError, said, other, "x").body["error"]["type"]
        == "authentication_error"
    )
    assert refused(anthropic.NotFoundError, said, client, "x", model="nobody").body["type"] == "error"
    assert (
        refused(anthropic.BadRequestError, said, client, "x", max_tokens=0).body["error"]["param"]
        == "max_tokens"
    )
    error = refused(anthropic.APIStatusError, said, client, "misbehave: 429")
    assert (error.status_code, error.body["error"]["type"]) == (529, "overloaded_error")
    time.sleep(1.1)  # as long as the upstream asked to be left alone


@check
def a_stream_cut_off_is_an_error(client):
    def read():
        for _ in said(client, "misbehave: cut", stream=True):
            pass

    refused(anthropic.APIError, read)


def main(url, key):
    client = anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key=key, max_retries=0, timeout=60)
    results = []
    for function in CHECKS:
        told = {"area": "messages", "name": function.__name__.replace("_", " "), "passed": True, "detail": ""}
        try:
            function(client)
        except Exception as error:  # a check may fail in any way
            place = traceback.extract_tb(error.__traceback__)[-1]
            told |= {
                "passed": False,
                "detail": f"{type(error).__name__}: {error} ({place.name}:{place.lineno})"[:300],
            }
        results.append(told)
    print(json.dumps({"client": f"anthropic-python {anthropic.__version__}", "results": results}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
