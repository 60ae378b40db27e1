"""Text generation for /chat/completions and /completions, plain and streamed; requests take turns by token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from modelhub.serving.inputs import invalid, number, stop_strings
from modelhub.serving.sessions import Loaded
from switchyard.core.ids import new_id


@dataclass(slots=True)
class Generation:
    """One choice while it is made: what it used and why it ended."""

    tokens_in: int
    tokens_out: int = 0
    accelerator_ns: int = 0
    finish_reason: str = "stop"


class Generator:
    """Draws tokens one executor turn at a time, so that streams of several callers interleave."""

    def __init__(
        self, model: Loaded, executor: Executor, body: dict[str, Any], prompt: str | list[dict[str, Any]]
    ) -> None:
        """`prompt`: text to go on from, or a chat's messages."""
        self.model, self.executor, self.prompt = model, executor, prompt
        self.ids: list[int] = []
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        self.max_tokens = int(number({"max_tokens": limit}, "max_tokens", 1024, 1, 32_768))
        self.temperature = number(body, "temperature", 0.8, 0, 2)
        self.top_p = number(body, "top_p", 0.95, 0, 1)
        self.choices = int(number(body, "n", 1, 1, 8))
        self.seed = body.get("seed")
        self.stop = stop_strings(body)

    async def read(self) -> None:
        """Turn the prompt into ids; ServingError 400, before anything is sent, where it can't be answered."""
        loop = asyncio.get_running_loop()
        try:
            self.ids = await loop.run_in_executor(self.executor, self._encode)
        except ValueError as error:
            raise invalid(f"The prompt can't be read: {error}.", "messages") from None
        limit = getattr(self.model.runner, "context_length", None)
        if limit is not None and len(self.ids) >= limit:
            raise invalid(
                f"The prompt has {len(self.ids)} tokens; this model reads at most {limit - 1}.", "messages"
            )

    def _encode(self) -> list[int]:
        runner = self.model.runner
        return runner.encode(self.prompt) if isinstance(self.prompt, str) else runner.chat_prompt(self.prompt)

    async def pieces(self, index: int, state: Generation) -> AsyncIterator[str]:
        """Text pieces of one choice; `state` holds the counts as they grow."""
        loop = asyncio.get_running_loop()
        seed = None if self.seed is None else int(self.seed) + index
        started = await loop.run_in_executor(self.executor, self._start, seed, state)
        while True:
            piece = await loop.run_in_executor(self.executor, self._next, started, state)
            if piece is None:
                break
            if piece:
                yield piece
        reason = getattr(started, "finish_reason", None)  # the runner knows: the context may end first
        state.finish_reason = reason or ("length" if state.tokens_out >= self.max_tokens else "stop")

    def _start(self, seed: int | None, state: Generation) -> Any:
        state.tokens_in = len(self.ids)
        return self.model.runner.stream(
            self.ids,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=seed,
            stop=self.stop,
        )

    def _next(self, stream: Any, state: Generation) -> str | None:
        before = self.model.clock()
        try:
            piece, token = next(stream)
        except StopIteration:
            return None
        finally:
            state.accelerator_ns += max(0, self.model.clock() - before)
        if token is not None:
            state.tokens_out += 1
        return piece


def usage_of(states: list[Generation]) -> dict[str, int]:
    """The prompt counts once, as it does at vendors; every choice's output counts."""
    tokens_in = states[0].tokens_in
    tokens_out = sum(s.tokens_out for s in states)
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "accelerator_ns": sum(s.accelerator_ns for s in states),
    }


class Shape:
    """The envelope of one answer: chat or plain completion, whole or in chunks."""

    def __init__(self, *, chat: bool, model: str) -> None:
        self.chat = chat
        self.head = {
            "id": new_id("chatcmpl" if chat else "cmpl"),
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, texts: list[str], states: list[Generation]) -> dict[str, Any]:
        choices = []
        for i, (text, state) in enumerate(zip(texts, states, strict=True)):
            content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
            choices.append({"index": i, **content, "finish_reason": state.finish_reason, "logprobs": None})
        kind = "chat.completion" if self.chat else "text_completion"
        return self.head | {"object": kind, "choices": choices, "usage": usage_of(states)}

    def chunk(
        self, index: int, piece: str | None, *, first: bool = False, finish: str | None = None
    ) -> dict[str, Any]:
        if self.chat:
            delta: dict[str, Any] = {"role": "assistant"} if first else {}
            if piece is not None:
                delta["content"] = piece
            choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish}
        else:
            choice = {"index": index, "text": piece or "", "finish_reason": finish}
        return self.head | {"object": self._chunk_kind(), "choices": [choice]}

    def usage_chunk(self, states: list[Generation]) -> dict[str, Any]:
        return self.head | {"object": self._chunk_kind(), "choices": [], "usage": usage_of(states)}

    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"
