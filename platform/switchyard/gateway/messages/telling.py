"""A chat's answer, its chunks and its errors in Anthropic's shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from routing.contracts import KeyInfo
from routing.execution.usage import read_usage
from switchyard.gateway.blocks import Block, Blocks, Step, blocks_of
from switchyard.gateway.edges import event
from switchyard.gateway.messages.asking import chat_of

STOPS = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip
KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 409: "invalid_request_error", 413: "request_too_large", 422: "invalid_request_error",
    429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
OVERLOADED = 529  # what this vendor's clients know a busy upstream by


def stop_reason(blocks: Blocks) -> str:
    if blocks.stop_sequence is not None and blocks.finish_reason == "stop":
        return "stop_sequence"
    if blocks.finish_reason in ("", "stop") and any(block.kind == "tool" for block in blocks.done):
        return "tool_use"  # Ollama and others end a call of a tool like any answer
    return STOPS.get(blocks.finish_reason, "end_turn")


def usage_of(usage: Any) -> dict[str, Any]:
    """Input that was read from a cache stands beside the rest, not inside of it."""
    used = read_usage(usage)
    told: dict[str, Any] = {
        "input_tokens": used.tokens_in - used.cached_tokens_in - used.cache_write_tokens,
        "cache_creation_input_tokens": used.cache_write_tokens, "cache_read_input_tokens": used.cached_tokens_in,
        "output_tokens": used.tokens_out,
    }  # fmt: skip
    if isinstance(usage, dict) and "switchyard" in usage:
        told["switchyard"] = usage["switchyard"]
    return told


def error_of(status: int, error: dict[str, Any], mark: str) -> tuple[int, dict[str, Any]]:
    """(status, body). Ours are kept beside this vendor's words: `code` and `param` say the same as everywhere else."""
    status = OVERLOADED if error.get("code") == "upstream_busy" else status
    told = {"type": KINDS.get(status, "api_error"), "message": str(error.get("message") or "")}
    more = {
        name: value for name, value in error.items() if name not in ("type", "message") and value is not None
    }
    return status, {"type": "error", "error": told | more, "request_id": f"req_{mark}"}


class Messages:
    """One call of /v1/messages (switchyard.gateway.edges.Dialect)."""

    surface = "messages"
    ping = event("ping", {"type": "ping"})

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._usage: dict[str, Any] = {}
        self._thinks = self._opened = False
        self._places: dict[Block, int] = {}

    async def asked(self, body: dict[str, Any], key: KeyInfo) -> dict[str, Any]:
        thinking = body.get("thinking")
        self._thinks = isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
        return chat_of(body)

    def headers(self, mark: str) -> list[tuple[bytes, bytes]]:
        return [(b"request-id", f"req_{mark}".encode())]

    def refused(self, status: int, body: dict[str, Any], mark: str) -> tuple[int, dict[str, Any]]:
        return error_of(status, body.get("error") or {}, mark)

    # ------------------------------------------------------------------------------------------------------ whole
    async def whole(self, answer: dict[str, Any], mark: str) -> dict[str, Any]:
        blocks = blocks_of(answer["choices"][0])
        content = [self._content(block) for block in blocks.done if block.kind != "reasoning" or self._thinks]
        return self._message(answer, mark) | {
            "content": content, "stop_reason": stop_reason(blocks), "stop_sequence": blocks.stop_sequence,
            "usage": usage_of(answer.get("usage")),
        }  # fmt: skip

    @staticmethod
    def _message(head: dict[str, Any], mark: str) -> dict[str, Any]:
        return {
            "id": f"msg_{mark}", "type": "message", "role": "assistant", "model": head.get("model", ""), "content": [],
            "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }  # fmt: skip

    @staticmethod
    def _content(block: Block) -> dict[str, Any]:
        if block.kind == "tool":
            return {
                "type": "tool_use",
                "id": block.call_id,
                "name": block.name,
                "input": arguments(block.text),
            }
        if block.kind == "reasoning":
            return {"type": "thinking", "thinking": block.text, "signature": ""}
        return {"type": "text", "text": block.text}

    # ----------------------------------------------------------------------------------------------------- stream
    def frame(self, data: dict[str, Any], mark: str) -> bytes:
        out = b""
        if not self._opened:
            self._opened = True
            out = event("message_start", {"type": "message_start", "message": self._message(data, mark)})
            out += self.ping
        if isinstance(data.get("usage"), dict):
            self._usage = data["usage"]
        for choice in data.get("choices") or ():
            if choice.get("index", 0) == 0:
                out += self._steps(self._blocks.feed(choice))
        return out

    def _steps(self, steps: Iterable[Step]) -> bytes:
        out = b""
        for what, block, text in steps:
            if block.kind == "reasoning" and not self._thinks:
                continue
            index = self._places.setdefault(block, len(self._places))
            told: dict[str, Any]
            if what == "open":
                empty = Block(block.kind, block.place, block.call_id, block.name)
                begun = self._content(empty)
                told = {"type": "content_block_start", "index": index, "content_block": begun}
            elif what == "more":
                told = {"type": "content_block_delta", "index": index, "delta": _delta(block, text)}
            else:
                told = {"type": "content_block_stop", "index": index}
            out += event(told["type"], told)
        return out

    async def ended(self) -> bytes:
        out = self._steps(self._blocks.finish())
        delta = {"stop_reason": stop_reason(self._blocks), "stop_sequence": self._blocks.stop_sequence}
        told = {"type": "message_delta", "delta": delta, "usage": usage_of(self._usage)}
        return out + event("message_delta", told) + event("message_stop", {"type": "message_stop"})

    async def failed(self, error: dict[str, Any]) -> bytes:
        """Broken off: whoever reads it must not take what came for the whole, so no block is ended and no message."""
        kind = "rate_limit_error" if error.get("code") == "project_spend_limit_exceeded" else "api_error"
        _, body = error_of(200, error, "")
        body.pop("request_id")
        body["error"]["type"] = kind
        return event("error", body)


def _delta(block: Block, text: str) -> dict[str, Any]:
    if block.kind == "tool":
        return {"type": "input_json_delta", "partial_json": text}
    if block.kind == "reasoning":
        return {"type": "thinking_delta", "thinking": text}
    return {"type": "text_delta", "text": text}


def arguments(text: str) -> dict[str, Any]:
    """The JSON object a model wrote for a tool; one that wrote none gets its words back under `_raw`."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"_raw": text}
