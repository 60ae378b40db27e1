"""/v1/messages/count_tokens: an estimate by the same rule that reserves money for a prompt, and it says that it is one."""

from __future__ import annotations

from typing import Any

from routing.contracts import KeyInfo, Snapshot
from routing.inspection.collect import texts_of
from routing.intake.resolve import resolve
from switchyard.gateway.messages.asking import chat_of

BYTES_A_TOKEN = 4


def count_tokens(body: dict[str, Any], key: KeyInfo, world: Snapshot) -> dict[str, Any]:
    """{"input_tokens", "estimated"}. Nobody is asked, so no model's own tokenizer counts. Raises as a message would."""
    chat = chat_of({"max_tokens": 1} | body)
    resolve(chat.get("model"), "chat/completions", key, world)
    size = sum(len(text.encode()) for text in texts_of(chat))
    return {"input_tokens": max(1, -(-size // BYTES_A_TOKEN)), "estimated": True}
