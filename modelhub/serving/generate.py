"""Text generation for /chat/completions and /completions, plain and streamed: the request's side of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from modelhub.serving.batching import Device
from modelhub.serving.engine import Engine
from modelhub.serving.inputs import invalid, number, stop_strings
from modelhub.serving.sessions import Loaded
from modelhub.serving.shape import Shape, usage_of

__all__ = ["Generation", "Generator", "Shape", "usage_of"]


@dataclass(slots=True)
class Generation:
    """One choice while it is made: what it used and why it ended."""

    tokens_in: int
    tokens_out: int = 0
    accelerator_ns: int = 0
    finish_reason: str = "stop"


class Generator:
    """Reads a request and has its choices written: by the model's engine, together with everybody else's.

    A runner that knows no batches is asked token by token, each a turn of the device's thread.
    """

    def __init__(
        self, model: Loaded, device: Device, engine: Engine | None, body: dict[str, Any],
        prompt: str | list[dict[str, Any]], deadline: float | None = None,
    ) -> None:  # fmt: skip
        """`prompt`: text to go on from, or a chat's messages."""
        self.model, self.device, self.engine, self.prompt, self.deadline = (
            model,
            device,
            engine,
            prompt,
            deadline,
        )
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
            self.ids = await loop.run_in_executor(self.device.executor, self._encode)
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

    def _options(self, index: int) -> dict[str, Any]:
        seed = None if self.seed is None else int(self.seed) + index
        return {
            "max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p, "seed": seed,
            "stop": self.stop,
        }  # fmt: skip

    async def pieces(self, index: int, state: Generation) -> AsyncGenerator[str, None]:
        """Text pieces of one choice; `state` holds the counts as they grow."""
        state.tokens_in = len(self.ids)
        written = self._alone(index, state) if self.engine is None else self._together(index, state)
        async with aclosing(written):
            async for piece in written:
                if piece:
                    yield piece

    async def _together(self, index: int, state: Generation) -> AsyncGenerator[str, None]:
        assert self.engine is not None
        sequence = self.engine.open(self.ids, self._options(index), self.deadline)
        try:
            while (piece := await sequence.pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                state.tokens_out, state.accelerator_ns = sequence.tokens_out, sequence.elapsed_ns
                yield piece
            state.finish_reason = sequence.finish_reason
        finally:
            self.engine.close(sequence)
            state.tokens_out, state.accelerator_ns = sequence.tokens_out, sequence.elapsed_ns

    async def _alone(self, index: int, state: Generation) -> AsyncGenerator[str, None]:
        loop, executor = asyncio.get_running_loop(), self.device.executor
        started = await loop.run_in_executor(executor, self._start, index)
        while True:
            piece = await loop.run_in_executor(executor, self._next, started, state)
            if piece is None:
                break
            yield piece
        reason = getattr(started, "finish_reason", None)  # the runner knows: the context may end first
        state.finish_reason = reason or ("length" if state.tokens_out >= self.max_tokens else "stop")

    def _start(self, index: int) -> Any:
        return self.model.runner.stream(self.ids, **self._options(index))

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
