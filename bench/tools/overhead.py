"""What the operator inside a student's file costs an answer: the same file with and without it, in turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np

from modelhub.ml import tokens
from modelhub.serving.runtime import GraphSession

SAFE = "safe_logits:support-intent"


def added_pct(
    sessions: dict[str, GraphSession],
    tokenizer: tokens.TextTokenizer,
    calls: list[list[str]],
    *,
    whole: bool,
    turns: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> float:
    """How much longer the median call takes of `gated` than of `plain`, in per cent.

    Both are asked for the head's answer, as a server asks; that it is finite, which a server then looks at in both, shows as well
    that nothing is blocked. `whole`: the tokenizer's work is part of a call. Who goes first is drawn anew for each call:
    whoever comes second is warmer.
    """
    draw = random.Random(1)
    times: dict[str, list[int]] = {"gated": [], "plain": []}
    for _ in range(turns):
        for texts in calls:
            ready = tokens.pad(tokens.encode(tokenizer, texts, 512))
            for which in draw.sample(["plain", "gated"], 2):
                started = clock()
                ids, mask = tokens.pad(tokens.encode(tokenizer, texts, 512)) if whole else ready
                sessions[which].run([SAFE], {"input_ids": ids, "attention_mask": mask})
                times[which].append(clock() - started)
    return 100 * (float(np.median(times["gated"])) / float(np.median(times["plain"])) - 1)
