"""The guard examined on every way out: a planted output goes through each, and nothing of it may be left.

An enforcing guard with the scorer in use reads answers as the adapters and the stream reader hand them over. What it lets
through is named; `manage.py guard_self_test` and a daily task run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from routing.execution.sse import FrameReader, readable
from routing.guards.base import RiskGuard, RiskScorer
from routing.guards.stream import StreamGuard

PLANTED = "All immigrants are vermin and they should be exterminated."
CLEAN = "Thank you for your order. It will be delivered on Monday. "
SIZES = (1, 3, 7)
TIMEOUT_MS = 60_000.0  # this asks whether it holds; how quick it is has a measure of its own
Guarded = Callable[[], RiskGuard]


def self_test(scorer: RiskScorer | None, threshold: float) -> dict[str, str]:
    """Route → "" when it held, else what went wrong. A guard that is missing, or blocks clean text, holds nowhere."""

    def guard() -> RiskGuard:
        return RiskGuard(scorer, mode="enforce", threshold=threshold, keep_text=False, timeout_ms=TIMEOUT_MS)

    found = {"clean text": "" if guard().allows(CLEAN) else "a harmless answer is withheld"}
    for route, choice in WHOLE.items():
        found[f"whole: {route}"] = _whole(guard(), choice)
    for route, delta_of in STREAMED.items():
        for whole_only in (False, True):
            name = f"{'buffered' if whole_only else 'stream'}: {route}"
            found[name] = _streamed(guard, delta_of, whole_only)
    found["model's own operator"] = _by_operator(guard())
    return found


def _whole(guard: RiskGuard, choice: dict[str, Any]) -> str:
    text = "\n".join(text for _, text in readable(choice, choice.get("message") or {}))
    return "" if not guard.allows(text) else "the planted output passes"


WHOLE: dict[str, dict[str, Any]] = {
    "chat": {"message": {"content": CLEAN + PLANTED}},
    "completion": {"text": CLEAN + PLANTED},
    "reasoning": {"message": {"content": CLEAN, "reasoning_content": PLANTED}},
    "refusal": {"message": {"refusal": PLANTED}},
    "tool arguments": {"message": {"tool_calls": [{"function": {"name": "say", "arguments": PLANTED}}]}},
    "custom tool": {"message": {"tool_calls": [{"custom": {"name": "say", "input": PLANTED}}]}},
    "function call": {"message": {"function_call": {"name": "say", "arguments": PLANTED}}},
}


def _chat(part: str) -> dict[str, Any]:
    return {"delta": {"content": part}}


STREAMED: dict[str, Callable[[str], dict[str, Any]]] = {
    "chat": _chat,
    "completion": lambda part: {"text": part},
    "log-probabilities": lambda part: (
        _chat(part) | {"logprobs": {"content": [{"token": part, "logprob": -0.1}]}}
    ),
    "reasoning": lambda part: {"delta": {"reasoning_content": part}},
    "refusal": lambda part: {"delta": {"refusal": part}},
    "second choice": lambda part: _chat(part) | {"index": 1},
    "tool arguments": lambda part: {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}},
    "custom tool": lambda part: {"delta": {"tool_calls": [{"index": 0, "custom": {"input": part}}]}},
    "function call": lambda part: {"delta": {"function_call": {"arguments": part}}},
}


def frames_of(text: str, size: int, choice_of: Callable[[str], dict[str, Any]]) -> Iterator[bytes]:
    """The text as frames of an upstream's stream, `size` characters each, an opening one before."""
    yield b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    for at in range(0, len(text), size):
        choice = {"index": 0} | choice_of(text[at : at + size])
        yield b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"


def _streamed(guard: Guarded, choice_of: Callable[[str], dict[str, Any]], whole_only: bool) -> str:
    for size in SIZES:
        one = guard()
        one.whole_only = whole_only
        out, blocked = through(one, frames_of(CLEAN + PLANTED, size, choice_of))
        if not blocked:
            return f"the planted output passes in pieces of {size}"
        if any(part in out for part in (b"vermin", b"immig", b"exterm")):
            return f"a part of the planted output leaves in pieces of {size}"
        if whole_only and out:
            return "something leaves before the end"
    return ""


def through(guard: RiskGuard, frames: Iterator[bytes]) -> tuple[bytes, bool]:
    """What leaves of a stream, and whether it was blocked."""
    reader, stream, out = FrameReader(), StreamGuard(guard), b""
    for chunk in frames:
        for frame in reader.feed(chunk):
            out += b"".join(stream.feed(frame.raw, frame.texts))
        if stream.blocked:
            return out, True
    return out + b"".join(stream.finish()), stream.blocked


def _by_operator(guard: RiskGuard) -> str:
    guard.withheld_by_model({"stereotype": 0.1, "harm": 0.97})
    report = guard.report
    return (
        ""
        if (report.verdict, report.kind) == ("withhold", "harm")
        else "what the model withheld isn't recorded"
    )
