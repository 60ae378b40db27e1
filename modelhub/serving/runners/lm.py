"""Runs the demonstration language model: ONNX Runtime steps with an explicit cache, numpy sampling, streamed text.

model = CausalLM(find("lm-tiny"))
generation = model.stream(model.chat_prompt([{"role": "user", "content": "…"}]), max_tokens=64)
for text, token_id in generation: ...
generation.finish_reason, generation.prompt_tokens, generation.completion_tokens
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from modelhub import artifacts

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


def byte_alphabet() -> dict[str, int]:
    """The printable character that byte-level BPE writes for each byte, read backwards."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def sample(logits: np.ndarray, temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """One token id from logits (V,): the largest at temperature 0, else drawn from the smallest set of mass `top_p`."""
    if temperature <= 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        kept = order[: int(np.searchsorted(np.cumsum(weights[order]), top_p) + 1)]
        cut = np.zeros_like(weights)
        cut[kept] = weights[kept]
        weights = cut / cut.sum()
    return int(rng.choice(len(weights), p=weights))


class StopScanner:
    """Lets text through except what is, or may become, a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Text that is safe to release; after a stop string `found` is set and the rest is dropped."""
        self.held += text
        places = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if places:
            released, self.held, self.found = self.held[: min(places)], "", True
            return released
        keep = max((self._overlap(stop) for stop in self.stops), default=0)
        released = self.held[: len(self.held) - keep]
        self.held = self.held[len(self.held) - keep :]
        return released

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        released, self.held = self.held, ""
        return released

    def _overlap(self, stop: str) -> int:
        sizes = range(min(len(stop) - 1, len(self.held)), 0, -1)
        return next((n for n in sizes if self.held.endswith(stop[:n])), 0)


class Generation:
    """An answer being written: iterate for (text piece, token id); the counts and the reason stand beside it.

    A piece is whole UTF-8 text and may be empty while a character or a stop string is incomplete. Text that was
    held back when the last token had come is a piece without a token (None).
    """

    def __init__(self, model: CausalLM, prompt_ids: Sequence[int], limit: int, **options: Any) -> None:
        self.prompt_tokens = len(prompt_ids)
        self.completion_tokens = 0
        self.finish_reason: str | None = None
        self._pieces = self._run(model, list(prompt_ids), limit, **options)

    def __iter__(self) -> Iterator[tuple[str, int | None]]:
        return self._pieces

    def __next__(self) -> tuple[str, int | None]:
        return next(self._pieces)

    def _run(
        self,
        model: CausalLM,
        ids: list[int],
        limit: int,
        *,
        temperature: float,
        top_p: float,
        seed: int | None,
        stop: Sequence[str],
    ) -> Iterator[tuple[str, int | None]]:
        rng = np.random.default_rng(seed)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        scanner, past = StopScanner(stop), model.empty_cache()
        while self.completion_tokens < limit:
            logits, past = model.step(ids, past)
            token = sample(logits, temperature, top_p, rng)
            if token in model.end_ids:
                self.finish_reason = "stop"
                break
            self.completion_tokens += 1
            ids = [token]
            text = scanner.feed(decoder.decode(model.token_bytes[token]))
            if scanner.found:
                self.finish_reason = "stop"
                yield text, token
                return
            yield text, token
        self.finish_reason = self.finish_reason or "length"
        rest = scanner.feed(decoder.decode(b"", final=True)) + scanner.flush()
        if rest:
            yield rest, None


class CausalLM:
    """The demonstration model of an artifact directory. Thread-safe: a generation keeps its own cache.

    Raises ArtifactCorrupt when a file is missing or not the one the manifest names.
    """

    def __init__(self, directory: Path, *, threads: int = 1, providers: list[str] | None = None) -> None:
        self.manifest = artifacts.verify(directory)
        self.config = json.loads(artifacts.file_of(directory, self.manifest, "config").read_text("utf-8"))
        self.tokenizer = Tokenizer.from_file(str(artifacts.file_of(directory, self.manifest, "tokenizer")))
        self.tokenizer.encode_special_tokens = True  # marks typed by a user stay text
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors; the converters leave harmless warnings behind
        self.session = ort.InferenceSession(
            str(artifacts.file_of(directory, self.manifest, "model")),
            options,
            providers=providers or ["CPUExecutionProvider"],
        )
        self.context_length: int = self.config["max_position_embeddings"]
        self._cache_shape = (
            self.config["num_hidden_layers"],
            1,
            0,
            self.config["kv_lora_rank"] + self.config["qk_rope_head_dim"],
        )
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

    def empty_cache(self) -> np.ndarray:
        """A cache that has seen nothing: (layers, 1, 0, width) float32."""
        return np.zeros(self._cache_shape, np.float32)

    def step(self, ids: Sequence[int], past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read more ids after `past`: logits (V,) of the next token, marks shut out, and the grown cache."""
        feed = {"ids": np.asarray([ids], np.int64), "past": past}
        logits, present = self.session.run(["logits", "present"], feed)
        logits[0, self._never] = -np.inf
        return logits[0], present

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
        if not prompt_ids:
            raise ValueError("the prompt is empty")
        if max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens} must be at least 1")
        room = self.context_length - len(prompt_ids)
        if room < 1:
            raise PromptTooLong(len(prompt_ids), self.context_length - 1)
        return Generation(
            self,
            prompt_ids,
            min(max_tokens, room),
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop=stop,
        )
