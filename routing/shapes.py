"""Answers of classification and prediction workloads in chat's shape, whole and as a stream."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson

from routing.contracts import GatewayRequest
from routing.execution.base import shown_model


def wants_json(request: GatewayRequest) -> bool:
    form = request.body.get("response_format")
    return isinstance(form, Mapping) and form.get("type") in ("json_object", "json_schema")


def content_of(request: GatewayRequest, row: dict[str, Any]) -> str:
    """The label or value as text; with a JSON response format the whole scored row."""
    if wants_json(request):
        return orjson.dumps({name: value for name, value in row.items() if name != "index"}).decode()
    value = row["label"] if "label" in row else row["prediction"]
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def as_chat(request: GatewayRequest, payload: dict[str, Any]) -> dict[str, Any]:
    """A chat completion around the only row of `payload`; a withheld row ends as content_filter."""
    row = payload["data"][0]
    blocked = bool(row.get("blocked"))
    usage = payload["usage"]
    message = {"role": "assistant", "content": "" if blocked else content_of(request, row)}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "content_filter" if blocked else "stop",
        "logprobs": None,
    }
    return {
        "id": f"chatcmpl_{request.request_id}", "object": "chat.completion", "created": int(time.time()),
        "model": shown_model(request), "choices": [choice],
        "usage": {
            "prompt_tokens": usage.get("input_tokens", 0), "completion_tokens": usage.get("output_tokens", 0),
            "total_tokens": usage.get("total_tokens", 0),
        },
    }  # fmt: skip


def data_frame(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


def chunk(
    head: Mapping[str, Any], *, delta: dict[str, Any], finish: str | None, chat: bool = True
) -> dict[str, Any]:
    """One chunk in the envelope of `head` (id, created, model)."""
    envelope = {name: head[name] for name in ("id", "created", "model") if name in head}
    if chat:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
        return envelope | {"object": "chat.completion.chunk", "choices": [choice]}
    choice = {"index": 0, "text": delta.get("content", ""), "finish_reason": finish}
    return envelope | {"object": "text_completion", "choices": [choice]}


def usage_chunk(
    head: Mapping[str, Any], usage: dict[str, Any], *, cost_usd: str, decision_id: str
) -> dict[str, Any]:
    """The last chunk: no choices, usage with what it cost."""
    envelope = {name: head[name] for name in ("id", "object", "created", "model") if name in head}
    extra = {"switchyard": {"cost_usd": cost_usd, "decision_id": decision_id}}
    return envelope | {"choices": [], "usage": usage | extra}


def chat_as_frames(answer: dict[str, Any]) -> list[bytes]:
    """A whole chat completion as the frames of a stream, without usage and end."""
    choice = answer["choices"][0]
    frames = [
        data_frame(
            chunk(answer, delta={"role": "assistant", "content": choice["message"]["content"]}, finish=None)
        )
    ]
    frames.append(data_frame(chunk(answer, delta={}, finish=choice["finish_reason"])))
    return frames
