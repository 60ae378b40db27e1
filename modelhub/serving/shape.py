"""The envelope of generated answers, whole or in chunks, as OpenAI shapes them."""

from __future__ import annotations

import time
from typing import Any

from switchyard.core.ids import new_id


def usage_of(states: list[Any]) -> dict[str, int]:
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

    def whole(self, texts: list[str], states: list[Any]) -> dict[str, Any]:
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

    def usage_chunk(self, states: list[Any]) -> dict[str, Any]:
        return self.head | {"object": self._chunk_kind(), "choices": [], "usage": usage_of(states)}

    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"
