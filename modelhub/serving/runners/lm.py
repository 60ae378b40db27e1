"""Runs the demonstration language model: ONNX Runtime steps with an explicit cache, one answer or many at once.

model = CausalLM(find("lm-tiny"))
generation = model.stream(model.chat_prompt([{"role": "user", "content": "…"}]), max_tokens=64)
for text, token_id in generation: ...
generation.finish_reason, generation.prompt_tokens, generation.completion_tokens

`model.new_batch()` writes several answers together (`modelhub.serving.runners.lm_batch`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from modelhub import artifacts
from modelhub.serving.forms import open_role
from modelhub.serving.runners.lm_steps import Caches, ManyRows, OneRow, Steps
from modelhub.serving.runners.writing import Piece, StopScanner, Writer, byte_alphabet, sample
from modelhub.serving.runtime import CPU, GraphSession, How, finite

__all__ = ["CausalLM", "Generation", "PromptTooLong", "StopScanner", "byte_alphabet", "sample"]

ROLE_MARKS = {
    "system": "<|system|>",
    "developer": "<|system|>",
    "user": "<|user|>",
    "tool": "<|user|>",
    "function": "<|user|>",
    "assistant": "<|assistant|>",
}


class PromptTooLong(ValueError):
    """The prompt leaves no room for an answer. Carries `tokens` and `limit`."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            f"the prompt has {tokens} tokens; this model reads at most {limit} and answers after them"
        )
        self.tokens, self.limit = tokens, limit


class Generation:
    """An answer being written alone: iterate for (text piece, token id); the counts and the reason stand beside it."""

    def __init__(self, model: CausalLM, prompt_ids: Sequence[int], limit: int, **options: Any) -> None:
        self.prompt_tokens = len(prompt_ids)
        self._writer = Writer(limit, model.end_ids, model.token_bytes, **options)
        self._pieces = self._run(model, list(prompt_ids))

    @property
    def completion_tokens(self) -> int:
        return self._writer.completion_tokens

    @property
    def finish_reason(self) -> str | None:
        return self._writer.finish_reason

    def __iter__(self) -> Iterator[Piece]:
        return self._pieces

    def __next__(self) -> Piece:
        return next(self._pieces)

    def _run(self, model: CausalLM, ids: list[int]) -> Iterator[Piece]:
        past = model.empty_cache()
        while self._writer.finish_reason is None:
            logits, past = model.step(ids, past)
            yield from self._writer.take(logits)
            ids = [self._writer.last_token]


class CausalLM:
    """The demonstration model of an artifact directory. Thread-safe: a generation keeps its own cache.

    Raises ArtifactCorrupt when a file is missing or not the one the manifest names, ModelRefused when no form of its
    graph can be opened.
    """

    def __init__(
        self, directory: Path, *, threads: int = 1, providers: list[str] | None = None, how: How | None = None
    ) -> None:
        self.manifest = artifacts.verify(directory)
        self.config = json.loads(artifacts.file_of(directory, self.manifest, "config").read_text("utf-8"))
        self.tokenizer = Tokenizer.from_file(str(artifacts.file_of(directory, self.manifest, "tokenizer")))
        self.tokenizer.encode_special_tokens = True  # marks typed by a user stay text
        self.how = replace(how or How(threads, tuple(providers or [CPU])), model=self.manifest["id"])
        self.chosen = open_role(directory, self.manifest, "model", self.how)
        self.session: GraphSession = self.chosen.session
        width = self.config["kv_lora_rank"] + self.config["qk_rope_head_dim"]
        kind = ManyRows if "expert_counts" in self.session.outputs() else OneRow
        self.steps: Steps = kind(self.session, self.config["num_hidden_layers"], width)
        self.context_length: int = self.config["max_position_embeddings"]
        self._load_vocabulary()

    def _load_vocabulary(self) -> None:
        special = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        alphabet = byte_alphabet()
        self.token_bytes = [
            b"" if i in special else bytes(alphabet[c] for c in self.tokenizer.id_to_token(i) or "")
            for i in range(self.tokenizer.get_vocab_size())
        ]
        self.marks = {self.tokenizer.id_to_token(i): i for i in special}
        self.end_ids = {self.marks["<|end|>"], self.marks["<|eos|>"]}
        self._never = np.array(sorted(special - self.end_ids))

    @property
    def providers(self) -> list[str]:
        """Where the session really runs."""
        return self.session.get_providers()

    @property
    def sessions(self) -> list[GraphSession]:
        return [self.session]

    # ------------------------------------------------------------------ text and tokens
    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; nothing in it is read as a mark."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, marks left out."""
        return b"".join(self.token_bytes[i] for i in ids).decode("utf-8", "replace")

    def text_prompt(self, text: str) -> list[int]:
        """A text to be continued."""
        return [self.marks["<|bos|>"], *self.encode(text)]

    def chat_prompt(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Messages `{"role", "content"}` as one prompt that ends where the assistant begins.

        Raises ValueError on a role that the model has no mark for.
        """
        ids = [self.marks["<|bos|>"]]
        for message in messages:
            role = message.get("role")
            if not isinstance(role, str) or role not in ROLE_MARKS:
                raise ValueError(f"role {role!r} is unknown: expected one of {sorted(ROLE_MARKS)}")
            mark = self.marks[ROLE_MARKS[role]]
            ids += [mark, *self.encode(message.get("content") or ""), self.marks["<|end|>"]]
        return [*ids, self.marks["<|assistant|>"]]

    # ------------------------------------------------------------------ steps
    def empty_cache(self) -> Caches:
        """A cache that has seen nothing."""
        return Caches(self.steps.layers, self.steps.width)

    def step(self, ids: Sequence[int], past: Caches) -> tuple[np.ndarray, Caches]:
        """Read more ids after `past`: logits (V,) of the next token, marks shut out, and the grown cache."""
        place = past.room(1, int(past.lengths[:1].max(initial=0)) + len(ids))
        logits = self.read(np.asarray([ids], np.int64), np.array([len(ids)], np.int64), place, 0)
        return logits[0], place

    def read(
        self, ids: np.ndarray, counts: np.ndarray, caches: Caches, first: int, counted: Any = None
    ) -> np.ndarray:
        """One step for rows first… of the caches, which grow in place: logits (B, V), marks shut out.

        Shapes: ids (B, S) padded on the right, counts (B,). Raises NotFinite.
        """
        logits = finite(self.steps.run(ids, counts, caches, first, counted), self.manifest["id"])
        logits[:, self._never] = -np.inf
        return logits

    # ------------------------------------------------------------------ answers
    def room_for(self, prompt_ids: Sequence[int], max_tokens: int) -> int:
        """How many tokens may be written. Raises PromptTooLong, or ValueError on an empty prompt or no tokens."""
        if not prompt_ids:
            raise ValueError("the prompt is empty")
        if max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens} must be at least 1")
        room = self.context_length - len(prompt_ids)
        if room < 1:
            raise PromptTooLong(len(prompt_ids), self.context_length - 1)
        return min(max_tokens, room)

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Generation:
        """Write an answer of at most `max_tokens` (less where the context ends), the same for the same seed.

        Raises PromptTooLong, or ValueError on an empty prompt or `max_tokens` below 1, before anything is run.
        """
        limit = self.room_for(prompt_ids, max_tokens)
        return Generation(self, prompt_ids, limit, temperature=temperature, top_p=top_p, seed=seed, stop=stop)

    def new_batch(self, max_rows: int = 32) -> Any:
        """An empty batch that answers join and leave between steps."""
        from modelhub.serving.runners.lm_batch import LmBatch

        return LmBatch(self, max_rows)
