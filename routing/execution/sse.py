"""Server-sent events taken apart: frames whole, wherever the network cut them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import orjson

FRAME_MAX_BYTES = 4 * 1024 * 1024
READABLE = ("content", "refusal", "reasoning", "reasoning_content")
# How servers say that they broke off: OpenRouter, DeepSeek, and vLLM or SGLang when a call was aborted there.
BROKEN = frozenset({"error", "insufficient_system_resource", "abort"})


_PLAIN = frozenset({"content", "role"})  # a delta of nothing else has one thing that a person could read


class Frame:
    """One event: its bytes as relayed, its JSON (None for [DONE]), and what matters in it, looked up once.

    `texts`: by channel, everything in it that a person could read: content, refusals, reasoning, tool names and arguments.
    A channel is (choice, name): what stands in two of them is no sentence, however they are interleaved.
    """

    __slots__ = ("_choices", "_data", "done", "failed", "finished", "raw", "texts", "usage")

    def __init__(self, raw: bytes, data: dict[str, Any] | None, done: bool = False) -> None:
        self.raw, self._data, self.done = raw, data, done
        self._choices: list[dict[str, Any]] = []
        self.usage: dict[str, Any] | None = None
        self.finished = self.failed = False
        self.texts: dict[Hashable, str] = {}
        if data is None:
            return
        usage, found = data.get("usage"), data.get("choices")
        if isinstance(usage, dict):
            self.usage = usage
        if isinstance(found, list) and found:
            self._choices = [choice for choice in found if isinstance(choice, dict)]
            if len(self._choices) != len(found):
                raise ValueError("a choice that is no object")
            for choice in self._choices:
                if reason := choice.get("finish_reason"):
                    self.finished = True
                    self.failed = self.failed or (type(reason) is str and reason in BROKEN)
                self._read(choice)
        elif data.get("error") or data.get("object") == "error":
            self.failed = True  # the server's own words for having broken off
        elif found:
            raise ValueError("choices that are no list")

    @property
    def data(self) -> dict[str, Any] | None:
        return self._data

    def call(self, model: str) -> None:
        """Whatever name the server gave itself, the caller sees the one he asked for."""
        told = self._data.get("model") if self._data is not None else None
        if self._data is not None and told is not None and told != model:
            self.raw = (
                renamed(self.raw, told, model)
                or b"data: " + orjson.dumps(self._data | {"model": model}) + b"\n\n"
            )
            self._data["model"] = model

    @property
    def choices(self) -> list[dict[str, Any]]:
        return self._choices

    def _read(self, choice: dict[str, Any]) -> None:
        index, delta = choice.get("index"), choice.get("delta")
        if not isinstance(delta, dict):
            if delta is not None:
                raise ValueError("a delta that is no object")
            delta = {}
        place = index if isinstance(index, int) else 0
        if "text" not in choice and delta.keys() <= _PLAIN:
            content = delta.get("content")
            if text := content if isinstance(content, str) else words(content):
                key: Hashable = (place, "content")
                self.texts[key] = self.texts.get(key, "") + text
            return
        if mend(delta):
            self.raw = b"data: " + orjson.dumps(self._data) + b"\n\n"
        for channel, text in readable(choice, delta):
            key = (place, channel)
            self.texts[key] = self.texts.get(key, "") + text


def readable(choice: dict[str, Any], message: dict[str, Any]) -> list[tuple[str, str]]:
    """(channel, text) of one choice; `message` is its delta or its whole message."""
    found: list[tuple[str, Any]] = [(name, words(message.get(name))) for name in READABLE]
    found.append(("text", choice.get("text")))
    if isinstance(sound := message.get("audio"), dict):
        found.append(("audio", sound.get("transcript")))
    calls = message.get("tool_calls")
    calls = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
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


def words(value: Any) -> str:
    """A text, or those of the parts that a server gave in its place (Mistral's thoughts are parts of parts)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(words, value))
    if isinstance(value, dict):
        return "".join(words(value.get(name)) for name in ("text", "thinking", "content"))
    return ""


def mend(message: Any) -> bool:
    """Arguments that a server gave as an object (older TGI and Ollama) become the text that the shape has; True where any
    were. ValueError for calls that are none."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not calls:
        return False
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise ValueError("calls of tools that are none")
    mended = False
    for call in calls:
        part = call.get("function")
        if isinstance(part, dict) and isinstance(part.get("arguments"), dict | list):
            part["arguments"] = orjson.dumps(part["arguments"]).decode()
            mended = True
    return mended


def renamed(raw: bytes, told: Any, model: str) -> bytes | None:
    """The JSON with another name of the model; None where it stands nowhere or in several places. No text can hold such
    words: its quotes are written otherwise."""
    for mark in (b'"model":', b'"model": '):
        old = mark + orjson.dumps(told)
        if raw.count(old) == 1 and raw.count(mark) == 1:
            return raw.replace(old, mark + orjson.dumps(model))
    return None


class AlikeFrame(Frame):
    """One that is another one with another text: its JSON is decoded when somebody asks."""

    __slots__ = ()
    done, failed, finished, usage = False, False, False, None

    def __init__(self, raw: bytes, channel: Hashable, text: str) -> None:
        self.raw, self.texts, self._data = raw, {channel: text}, None

    def call(self, model: str) -> None:
        """It was given its name when it was read."""

    @property
    def data(self) -> dict[str, Any]:
        if self._data is None:
            self._data = orjson.loads(self.raw[6:])
        return self._data

    @property
    def choices(self) -> list[dict[str, Any]]:
        return [choice for choice in self.data["choices"] if isinstance(choice, dict)]


class _Alike:
    """What stands before and after the text in a frame of one choice's content. Nearly all frames of a stream differ in it
    alone, and a text without quotes and backslashes can't end before it ends: comparing what is around it reads a frame as
    surely as decoding it, for a tenth of the work. `shown`: what stands around it on its way out, where that is another name."""

    __slots__ = ("channel", "head", "shown", "tail")

    def __init__(self, head: bytes, tail: bytes, channel: Hashable) -> None:
        self.head, self.tail, self.channel = head, tail, channel
        self.shown: tuple[bytes, bytes] | None = None

    def read(self, raw: bytes) -> AlikeFrame | None:
        """One frame with its empty line. None: another one, several, or a text that JSON writes in its own way."""
        if not (raw.startswith(self.head) and raw.endswith(self.tail)):
            return None
        piece = raw[len(self.head) : -len(self.tail)]
        text = piece.decode()  # what isn't UTF-8 is a ValueError
        if not text or '"' in text or "\\" in text or not text.isprintable():
            return None
        if self.shown is not None:
            raw = self.shown[0] + piece + self.shown[1]
        return AlikeFrame(raw, self.channel, text)

    def call(self, told: Any, model: str) -> bool:
        """Whether what is read from now on can be shown under that name."""
        head, tail = renamed(self.head, told, model), renamed(self.tail, told, model)
        if (head is None) == (tail is None):
            return False
        self.shown = (head or self.head, tail or self.tail)
        return True


def _alike(block: bytes, frame: Frame, model: str) -> _Alike | None:
    """What frames like this one have in common, if it is a plain piece of content and no more. `model`: as in FrameReader."""
    if len(frame.choices) != 1 or len(frame.texts) != 1 or frame.finished or frame.usage is not None:
        return None
    ((channel, text),) = frame.texts.items()
    mark = next((m for m in (b'"content":"', b'"content": "') if block.count(m) == 1), None)
    if mark is None or channel != (frame.choices[0].get("index"), "content"):
        return None
    start = block.index(mark) + len(mark)
    end = start + len(text.encode())
    made = _Alike(block[:start], block[end:] + b"\n\n", channel)
    if block[start:end] != text.encode() or made.read(frame.raw) is None:
        return None
    other = Frame(b"", orjson.loads(block[6:start] + b"x" + block[end:]))
    if other.texts != {channel: "x"}:
        return None
    told = frame.data.get("model") if frame.data else None
    return made if not model or told in (None, model) or made.call(told, model) else None


LUCK = 4  # frames in a row that may be unlike the one before them: then a stream is read frame by frame


class FrameReader:
    """feed(bytes) → frames. CRLF, comments and data split anywhere are handled; a frame that isn't JSON is a ValueError.
    `model`: the name that frames are given in place of their server's; "" leaves it."""

    def __init__(self, model: str = "") -> None:
        self._model = model
        self._buffer = b""
        self._known: _Alike | None = None
        self._luck = LUCK

    def feed(self, chunk: bytes) -> list[Frame]:
        if self._known is not None and not self._buffer and (alike := self._known.read(chunk)) is not None:
            return [alike]
        self._buffer += chunk
        if b"\r" in self._buffer:
            # A lone \r at the end may be half of \r\n: it waits for the rest.
            keep = b"\r" if self._buffer.endswith(b"\r") else b""
            self._buffer = self._buffer.removesuffix(b"\r").replace(b"\r\n", b"\n") + keep
        if len(self._buffer) > FRAME_MAX_BYTES:
            raise ValueError("a frame larger than 4 MiB")
        *whole, self._buffer = self._buffer.split(b"\n\n")
        return [frame for block in whole if (frame := self._frame(block)) is not None]

    def _frame(self, block: bytes) -> Frame | None:
        if self._known is not None and (alike := self._known.read(block + b"\n\n")) is not None:
            self._luck = LUCK
            return alike
        if block.startswith(b"data: {") and b"\n" not in block:  # nearly all others
            frame = Frame(block + b"\n\n", orjson.loads(block[6:]))
            if self._luck:
                self._luck -= 1
                self._known = _alike(block, frame, self._model) or self._known
            return self._called(frame)
        lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
        if not lines:
            return None  # a comment, or a field we don't relay
        payload = b"\n".join(lines)
        if payload.strip() == b"[DONE]":
            return Frame(b"data: [DONE]\n\n", None, done=True)
        data = orjson.loads(payload)
        if not isinstance(data, dict):
            raise ValueError("an event that is not an object")
        return self._called(Frame(b"data: " + payload + b"\n\n", data))

    def _called(self, frame: Frame) -> Frame:
        if self._model:
            frame.call(self._model)
        return frame
