"""Server-sent events taken apart: frames whole, wherever the network cut them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import orjson

FRAME_MAX_BYTES = 4 * 1024 * 1024
READABLE = ("content", "refusal", "reasoning", "reasoning_content")


_PLAIN = frozenset({"content", "role"})  # a delta of nothing else has one thing that a person could read


class Frame:
    """One event: its bytes as relayed, its JSON (None for [DONE]), and what matters in it, looked up once.

    `texts`: by channel, everything in it that a person could read: content, refusals, reasoning, tool names and arguments.
    A channel is (choice, name): what stands in two of them is no sentence, however they are interleaved.
    """

    __slots__ = ("choices", "data", "done", "finished", "raw", "texts", "usage")

    def __init__(self, raw: bytes, data: dict[str, Any] | None, done: bool = False) -> None:
        self.raw, self.data, self.done = raw, data, done
        self.choices: list[dict[str, Any]] = []
        self.usage: dict[str, Any] | None = None
        self.finished = False
        self.texts: dict[Hashable, str] = {}
        if data is None:
            return
        usage, found = data.get("usage"), data.get("choices")
        if isinstance(usage, dict):
            self.usage = usage
        if isinstance(found, list) and found:
            self.choices = [choice for choice in found if isinstance(choice, dict)]
            for choice in self.choices:
                if choice.get("finish_reason"):
                    self.finished = True
                self._read(choice)

    def _read(self, choice: dict[str, Any]) -> None:
        index, delta = choice.get("index"), choice.get("delta")
        if not isinstance(delta, dict):
            delta = {}
        place = index if isinstance(index, int) else 0
        if "text" not in choice and delta.keys() <= _PLAIN:
            content = delta.get("content")
            if isinstance(content, str) and content:
                key: Hashable = (place, "content")
                self.texts[key] = self.texts.get(key, "") + content
            return
        for channel, text in readable(choice, delta):
            key = (place, channel)
            self.texts[key] = self.texts.get(key, "") + text


def readable(choice: dict[str, Any], message: dict[str, Any]) -> list[tuple[str, str]]:
    """(channel, text) of one choice; `message` is its delta or its whole message."""
    found = [(name, message.get(name)) for name in READABLE]
    found.append(("text", choice.get("text")))
    calls = [call for call in message.get("tool_calls") or () if isinstance(call, dict)]
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        found += [("function_call", legacy.get("name")), ("function_call", legacy.get("arguments"))]
    for place, call in enumerate(calls):
        channel = f"call {call.get('index', place)}"
        for kind in ("function", "custom"):
            part = call.get(kind)
            if isinstance(part, dict):
                found += [
                    (f"{channel} name", part.get("name")),
                    (channel, part.get("arguments") or part.get("input")),
                ]
    return [(channel, text) for channel, text in found if isinstance(text, str) and text]


class FrameReader:
    """feed(bytes) → frames. CRLF, comments and data split anywhere are handled; a frame that isn't JSON is a ValueError."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, chunk: bytes) -> list[Frame]:
        self._buffer += chunk
        if b"\r" in self._buffer:
            # A lone \r at the end may be half of \r\n: it waits for the rest.
            keep = b"\r" if self._buffer.endswith(b"\r") else b""
            self._buffer = self._buffer.removesuffix(b"\r").replace(b"\r\n", b"\n") + keep
        if len(self._buffer) > FRAME_MAX_BYTES:
            raise ValueError("a frame larger than 4 MiB")
        *whole, self._buffer = self._buffer.split(b"\n\n")
        return [frame for block in whole if (frame := self._frame(block)) is not None]

    @staticmethod
    def _frame(block: bytes) -> Frame | None:
        if block.startswith(b"data: {") and b"\n" not in block:  # nearly all of them
            data = orjson.loads(block[6:])
            return Frame(block + b"\n\n", data)
        lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
        if not lines:
            return None  # a comment, or a field we don't relay
        payload = b"\n".join(lines)
        if payload.strip() == b"[DONE]":
            return Frame(b"data: [DONE]\n\n", None, done=True)
        data = orjson.loads(payload)
        if not isinstance(data, dict):
            raise ValueError("an event that is not an object")
        return Frame(b"data: " + payload + b"\n\n", data)
