"""Byte-level BPE for the demonstration model, and the few marks its chat form needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = [PAD, BOS, EOS, SYSTEM, USER, ASSISTANT, END]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Fit a `tokenizers.Tokenizer` whose first ids are `SPECIAL` in order; every byte has a token.

    Marks inside a text are not parsed (`encode_special_tokens`), so nobody can type a role into a prompt.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer
