"""Conversations as the checkpoint itself writes them: training reads what serving will.

vLLM and SGLang answer chats by the template that lies in the checkpoint. A model that was taught in another spelling would be
asked in one that it never saw, so the template is used wherever there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelhub.ml.adapters.causal import IGNORED, TINY, learnable, rows_of, tokenizer_of

Chat = Sequence[dict[str, str]]


def rows_for(model: str, chats: Sequence[Chat], most: int) -> list[Any]:
    """(ids, labels) of each conversation for a checkpoint's folder, or one of TINY; cut and refused as `learnable` does.

    Raises ValueError for what the template refuses, or where nothing is left to learn.
    """
    encode, end = tokenizer_of(model)
    write = None if model in TINY else template_of(model)
    if write is None:
        return rows_of(chats, encode, end, most)
    return learnable([by_template(write, encode, chat) for chat in chats], most)


def template_of(model: str) -> Callable[[Chat, bool], str] | None:
    """(conversation, whether an answer is to follow) → text, by the checkpoint's template; None where it has none."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    if not tokenizer.chat_template:
        return None

    def write(chat: Chat, asked: bool) -> str:
        try:
            return str(tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=asked))
        except Exception as error:  # a template may raise whatever its author liked
            raise ValueError(f"the checkpoint's chat template refuses a conversation: {error}") from error

    return write


def by_template(
    write: Callable[[Chat, bool], str], encode: Callable[[str], list[int]], chat: Chat
) -> tuple[list[int], list[int]]:
    """One conversation; learned is what follows each prompt, encoded apart from it as a server's answer is.

    Some templates write an earlier answer otherwise once more follows it (they drop its reasoning); that one is only read.
    Raises ValueError where no answer can be told from its prompt.
    """
    whole, parts, at = write(chat, False), [], 0
    for place, turn in enumerate(chat):
        if turn["role"] != "assistant":
            continue
        prompt, answered = write(chat[:place], True), write(chat[: place + 1], False)
        apart = answered.startswith(prompt) and at <= len(prompt) < len(answered)
        if not (apart and whole.startswith(answered)):
            continue
        parts += [(whole[at : len(prompt)], False), (whole[len(prompt) : len(answered)], True)]
        at = len(answered)
    if not parts:
        raise ValueError(
            "the checkpoint's chat template tells no answer from its prompt: nothing can be learned of it"
        )
    ids: list[int] = []
    labels: list[int] = []
    for text, learned in [*parts, (whole[at:], False)]:
        spelt = encode(text) if text else []
        ids += spelt
        labels += spelt if learned else [IGNORED] * len(spelt)
    return ids, labels
