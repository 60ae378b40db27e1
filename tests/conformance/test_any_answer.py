"""Whatever an upstream writes where something else belongs: read, or refused as an answer that makes no sense; never a fault."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from routing.apart import NOTHING
from routing.execution.adapters import CHAT, CLASSIFY, COMPLETION, MODERATE, OTHERS
from routing.execution.base import AttemptFailed
from routing.execution.sse import FrameReader
from switchyard.gateway.messages.telling import Messages
from switchyard.gateway.responses.telling import Responses
from tests.conformance.test_wire import ODD, changed
from tests.routing.execution.test_clients import target

USAGE = {
    "prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16, "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}  # fmt: skip
CALLS = [
    {"index": 0, "id": "a", "type": "function", "function": {"name": "w", "arguments": "{}"}},
    {"index": 1, "id": "b", "type": "custom", "custom": {"name": "w", "input": "x"}},
]
SAID = {
    "role": "assistant", "content": "Yes.", "refusal": "No.", "reasoning_content": "Hm.", "tool_calls": CALLS,
    "function_call": {"name": "w", "arguments": "{}"}, "audio": {"id": "a", "data": "aA", "transcript": "Yes."},
}  # fmt: skip
CHOICE = {"index": 0, "finish_reason": "stop", "stop_reason": None, "logprobs": {"content": [{"token": "a"}]}}
HEAD = {
    "id": "up-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "service_tier": "default",
    "usage": USAGE,
}
WHOLE = HEAD | {"choices": [CHOICE | {"message": SAID}]}
CHUNK = HEAD | {"object": "chat.completion.chunk", "choices": [CHOICE | {"delta": SAID}], "error": None}
ASKED: Any = SimpleNamespace(
    version=None, workload=None, wish="chatter", batch=False, request_id="r", apart=NOTHING,
    body={"model": "chatter", "input": ["a"], "records": [{"a": 1}]},
)  # fmt: skip


def every(body: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any, dict[str, Any]]]:
    for place in changed(body):
        for odd in ODD:
            told = copy.deepcopy(body)
            inside: Any = told
            for step in place[:-1]:
                inside = inside[step]
            inside[place[-1]] = copy.deepcopy(odd)
            yield place, odd, told


def faults(body: dict[str, Any], read: Callable[[dict[str, Any]], Any], *fine: type[Exception]) -> list[Any]:
    found = []
    for place, odd, told in every(body):
        try:
            read(told)
        except fine:
            continue
        except Exception as error:  # any other is what this is about
            found.append((place, odd, repr(error)[:80]))
    return found


def _shown(told: dict[str, Any]) -> None:
    payload = CHAT.read(ASKED, target("http://127.0.0.1:1/v1"), told).payload
    orjson.dumps(payload)
    orjson.dumps(Responses.of({"model": "chatter"}).shaped(payload, "x"))
    orjson.dumps(asyncio.run(Messages().whole(payload, "x")))


def test_a_whole_answer() -> None:
    assert faults(WHOLE, _shown, AttemptFailed) == []


def _chunk(told: dict[str, Any]) -> None:
    raw = b"data: " + orjson.dumps(told) + b"\n\n"
    for frame in FrameReader("chatter").feed(raw):
        assert all(isinstance(text, str) for text in frame.texts.values())
        if frame.failed:
            continue
        Messages().frame(orjson.loads(frame.raw[6:]), "x")
        Responses.of({"model": "chatter"}).frame(orjson.loads(frame.raw[6:]), "x")


def test_a_chunk_of_a_stream() -> None:
    assert faults(CHUNK, _chunk, ValueError) == []


OTHER = {
    "classification": {"data": [{"index": 0, "label": "a", "scores": [{"label": "a", "score": 0.9}]}], "usage": USAGE},
    "prediction": {"data": [{"index": 0, "prediction": 1, "probability": 0.5}], "usage": USAGE},
    "embedding": {"data": [{"index": 0, "embedding": [0.5, 1.0]}], "usage": USAGE},
}  # fmt: skip


@pytest.mark.parametrize("task", [*OTHER, "completion", "moderation"])
def test_answers_of_other_endpoints(task: str) -> None:
    adapter = {"classification": CLASSIFY, "completion": COMPLETION, "moderation": MODERATE}.get(
        task
    ) or OTHERS[task]
    body = (
        OTHER.get(task)
        or {
            "completion": HEAD | {"choices": [CHOICE | {"text": "Yes."}]},
            "moderation": {"results": [{"flagged": True, "categories": {"a": True}}], "usage": USAGE},
        }[task]
    )
    assert (
        faults(body, lambda told: adapter.read(ASKED, target("http://127.0.0.1:1/v1"), told), AttemptFailed)
        == []
    )


def test_an_answer_in_parts_is_read_like_one_in_one() -> None:
    """As Mistral's thinking models give it: a guard must see all of it."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}]},
        {"type": "text", "text": "Vermin."},
    ]
    told = HEAD | {"choices": [CHOICE | {"message": {"role": "assistant", "content": parts}}]}
    assert CHAT.read(ASKED, target("http://127.0.0.1:1/v1"), told).texts == ["Hm. Vermin."]
    chunk = HEAD | {"choices": [{"index": 0, "delta": {"content": parts}, "finish_reason": None}]}
    [frame] = FrameReader("chatter").feed(b"data: " + orjson.dumps(chunk) + b"\n\n")
    assert list(frame.texts.values()) == ["Hm. Vermin."]
