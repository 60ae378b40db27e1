"""What the checks of the official client share; it stands beside them and imports nothing but that client."""

import json
import time

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": WEATHER},
}
CHECKS = []


def check(area):
    def add(function):
        CHECKS.append((area, function.__name__.replace("_", " "), function))
        return function

    return add


def user(text):
    return [{"role": "user", "content": text}]


def said(client, text, **more):
    return client.chat.completions.create(model="chatter", messages=user(text), **more)


def echoed(client, **more):
    """The body as the upstream got it."""
    messages = more.pop("messages", user("misbehave: echo"))
    answer = client.chat.completions.create(model="chatter", messages=messages, **more)
    return json.loads(answer.choices[0].message.content)


def refused(kind, function, *args, **more):
    try:
        function(*args, **more)
    except kind as error:
        return error
    raise AssertionError(f"not refused as {kind.__name__}")


def recover(client):
    """Both sides answer well again, and more often than they failed (home is asked three times a request), so that their
    breakers stay closed whatever else was asked within their window: this is about single answers."""
    time.sleep(1.1)  # as long as an upstream may have asked to be left alone
    for sensitivity in 2 * ("internal",) + 4 * ("confidential",):
        said(client, "Hello?", extra_headers={"X-Switchyard-Sensitivity": sensitivity})
