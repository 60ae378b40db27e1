"""The way back: whole answers and streams, with values where the placeholders stand. The guard reads what the client will.

Log-probabilities are dropped: their tokens spell the placeholders, and would no longer match the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from routing.execution.base import Completion
from routing.execution.sse import READABLE, Frame
from routing.masking.vault import Vault

_JSON = frozenset({"arguments"})  # fields that hold JSON as a string


def unmask_completion(completion: Completion, vault: Vault, *, json_answer: bool) -> Completion:
    """A whole answer, changed in place: payload, what the guard reads, and kept answers. `json_answer`: contents are JSON."""
    completion.payload = _walk(completion.payload, vault, json_answer, "")
    completion.texts = [vault.unmask(text, inside_json=json_answer) for text in completion.texts]
    completion.answers = [
        vault.unmask(answer) if isinstance(answer, str) else answer for answer in completion.answers
    ]
    return completion


def _walk(value: Any, vault: Vault, json_answer: bool, name: str) -> Any:
    if isinstance(value, str):
        return vault.unmask(value, inside_json=name in _JSON or (json_answer and name == "content"))
    if isinstance(value, Mapping):
        return {
            key: None if key == "logprobs" else _walk(item, vault, json_answer, key)
            for key, item in value.items()
        }
    if isinstance(value, list) and name != "embedding":
        return [_walk(item, vault, json_answer, name) for item in value]
    return value


class StreamUnmasker:
    """feed(frame) → the frame to go on with: as many as came, with what may yet become a placeholder held for a later one.

    A channel is one choice's content, reasoning, or the arguments of one of its tool calls, as in `Frame.texts`.
    """

    def __init__(self, vault: Vault, *, json_answer: bool) -> None:
        self.vault, self.json_answer = vault, json_answer
        self._held: dict[tuple[int, str, int], str] = {}
        self._head: dict[str, Any] = {}

    def feed(self, frame: Frame) -> Frame:
        if frame.data is None or not frame.choices:
            return frame
        self._head = self._head or {k: v for k, v in frame.data.items() if k not in ("choices", "usage")}
        data = dict(frame.data) | {"choices": [self._choice(dict(choice)) for choice in frame.choices]}
        return _frame(data)

    def finish(self) -> list[Frame]:
        """What is still held when a stream ends without saying so: it was no placeholder."""
        rest, self._held = self._held, {}
        frames = []
        for (index, name, call), text in rest.items():
            if text:
                choice: dict[str, Any] = {"index": index, "finish_reason": None}
                _put(choice, name, call, text)
                frames.append(_frame(self._head | {"choices": [choice]}))
        return frames

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        given = choice.get("index")
        index = given if isinstance(given, int) else 0
        if "logprobs" in choice:
            choice["logprobs"] = None
        if isinstance(choice.get("text"), str):
            choice["text"] = self._released((index, "text", 0), choice["text"])
        delta = choice.get("delta")
        if isinstance(delta, dict):
            choice["delta"] = self._delta(dict(delta), index)
        if choice.get("finish_reason"):
            for (owner, name, call), text in list(self._held.items()):
                if owner == index:
                    del self._held[(owner, name, call)]
                    _put(choice, name, call, text)
        return choice

    def _delta(self, delta: dict[str, Any], index: int) -> dict[str, Any]:
        for name in READABLE:
            if isinstance(delta.get(name), str):
                delta[name] = self._released((index, name, 0), delta[name])
        legacy = delta.get("function_call")
        if isinstance(legacy, dict) and isinstance(legacy.get("arguments"), str):
            told = self._released((index, "function_call", 0), legacy["arguments"])
            delta["function_call"] = legacy | {"arguments": told}
        if isinstance(delta.get("tool_calls"), list):
            delta["tool_calls"] = [
                self._call(call, place, index) for place, call in enumerate(delta["tool_calls"])
            ]
        return delta

    def _call(self, call: Any, place: int, index: int) -> Any:
        if not isinstance(call, dict):
            return call
        number = call.get("index", place)
        for kind, name in (("function", "arguments"), ("custom", "input")):
            part = call.get(kind)
            if isinstance(part, dict) and isinstance(part.get(name), str):
                told = self._released((index, kind, number if isinstance(number, int) else place), part[name])
                call = call | {kind: part | {name: told}}
        return call

    def _released(self, channel: tuple[int, str, int], text: str) -> str:
        text = self._held.pop(channel, "") + text
        cut = self.vault.held_from(text)
        if cut < len(text):
            self._held[channel] = text[cut:]
        inside_json = channel[1] in ("function", "function_call") or (
            self.json_answer and channel[1] == "content"
        )
        return self.vault.unmask(text[:cut], inside_json=inside_json)


def _put(choice: dict[str, Any], name: str, call: int, text: str) -> None:
    """Add text to a channel of a choice, whether or not the frame has the field."""
    if name == "text":
        choice["text"] = (choice.get("text") or "") + text
        return
    delta = dict(choice.get("delta") or {})
    if name == "function_call":
        told = dict(delta.get("function_call") or {})
        delta["function_call"] = told | {"arguments": (told.get("arguments") or "") + text}
    elif name in ("function", "custom"):
        field = "arguments" if name == "function" else "input"
        calls = [dict(c) for c in delta.get("tool_calls") or () if isinstance(c, dict)]
        mine = next((c for c in calls if c.get("index", 0) == call), None)
        if mine is None:
            mine = {"index": call}
            calls.append(mine)
        part = dict(mine.get(name) or {})
        mine[name] = part | {field: (part.get(field) or "") + text}
        delta["tool_calls"] = calls
    else:
        delta[name] = (delta.get(name) or "") + text
    choice["delta"] = delta


def _frame(data: dict[str, Any]) -> Frame:
    return Frame(b"data: " + orjson.dumps(data) + b"\n\n", data)
