"""The six lines of business as streams of requests: who asks how often, how big, who may answer and how well."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WINDOWS, WINDOW_S, DAYS = 1008, 600, 7
A_DAY = WINDOWS // DAYS


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a kind of work: sizes in tokens, accelerator seconds a request takes at home, share right by who
    answers (None: never measured, so nothing is claimed for it)."""

    lob: str
    workload: str
    kind: str  # text | tabular | chat
    client: str  # of the arrival trace: the week's shape
    bound: bool  # may not leave
    tokens_in: float
    tokens_out: float
    rate: float  # mean requests a second
    rate_name: str  # the assumption that scales it
    private_s: float | None  # measured seconds of one thread; None: from tokens and the accelerator's speed
    private: float
    small: float | None
    large: float | None
    documents: bool = False  # its input repeats (prefix cache)


# Sizes of chat: means of the traces' first 60 % (Azure 2023 conversation and code, Mooncake conversation); rates theirs.
# Sizes of text: mean characters ÷ 4 of the validation rows, plus the prompt with its label list as our adapter writes it.
# Shares right: our own benchmark (bench/results/models.json); chat: published per-prompt tables, Mixtral 8x7B against
# GPT-4-1106 (MMLU for customers' questions, MBPP for code).
SHIPPED: tuple[Facts, ...] = (
    Facts("customer-service", "support-intent", "text", "5", False, 480, 12, 1, "text_rate", 0.0056, 0.936, 0.913, None),
    Facts("customer-service", "assistant-intent", "text", "5", False, 760, 12, 1, "text_rate", 0.0056, 0.950, 0.913, None),
    Facts("customer-service", "support-sentiment", "text", "5", False, 90, 8, 1, "text_rate", 0.0056, 0.894, 0.860, None),
    Facts("customer-service", "customer-chat", "chat", "5", False, 1246.1, 203.8, 5.87, "chat_rate", None, 0.683, 0.683, 0.808),
    Facts("legal", "contract-clauses", "text", "27", True, 480, 14, 1, "text_rate", 0.0112, 0.801, None, None),
    Facts("legal", "terms-review", "text", "27", True, 130, 10, 1, "text_rate", 0.0056, 0.934, None, None),
    Facts("legal", "contract-documents", "chat", "27", True, 12566, 347.1, 3.23, "documents_rate", None, 0.683, None, None, True),
    Facts("healthcare", "clinical-notes", "text", "12", True, 420, 10, 1, "text_rate", 0.0224, 0.783, None, None),
    Facts("manufacturing", "equipment-fault", "tabular", "14", False, 160, 10, 1, "tabular_rate", 0.00004, 0.976, 0.973, None),
    Facts("manufacturing", "plate-fault", "tabular", "14", False, 420, 10, 1, "tabular_rate", 0.00006, 0.765, 0.735, None),
    Facts("manufacturing", "remaining-life", "tabular", "14", False, 900, 10, 1, "tabular_rate", 0.0004, 0.888, 0.871, None),
    Facts("supply-chain", "price-advice", "tabular", "38", False, 160, 20, 1, "tabular_rate", 0.0002, 0.784, 0.630, None),
    Facts("engineering", "code-chat", "chat", "17", False, 2040.2, 27.3, 3.17, "code_rate", None, 0.552, 0.552, 0.687),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stream:
    """Facts with numbers in place: requests by window, and what one request costs or takes anywhere."""

    facts: Facts
    requests: np.ndarray  # (windows,)
    small_usd: float
    large_usd: float
    private_s: float  # of its pool's accelerator or thread
    floor: float  # least share right of whoever answers

    @property
    def pool(self) -> str:
        return "gpu" if self.facts.kind == "chat" else "cpu"


def read_shapes(path: Path) -> dict[str, np.ndarray]:
    """client → the week's ten-minute rates divided by their mean. Windows left out of the file had no requests."""
    rates: dict[str, np.ndarray] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            week = rates.setdefault(row["client"], np.zeros(WINDOWS))
            week[int(row["start_s"]) // WINDOW_S % WINDOWS] = float(row["rate_rps"])
    return {client: week / week.mean() for client, week in rates.items() if week.any()}


def build(
    facts: tuple[Facts, ...], shapes: Mapping[str, np.ndarray], numbers: Mapping[str, float]
) -> list[Stream]:
    """Streams under these assumptions. Where the cheap models are below the floor and the work may leave, as much of it as
    the floor needs is a stream of its own that only the large model may answer (drawn at random: a router that knows hard
    prompts would need fewer)."""
    built = []
    for one in facts:
        requests = shapes[one.client] * one.rate * numbers[one.rate_name] * WINDOW_S
        floor = numbers["floor_chat" if one.kind == "chat" else "floor_text"] * best(one)
        hard = escalated(one, floor)
        parts = [(one, 1.0, floor)] if hard == 0 else [(one, 1 - hard, 0.0), (one, hard, one.large or 0.0)]
        built += [_stream(of, requests * share, least, numbers) for of, share, least in parts if share > 0]
    return built


def best(one: Facts) -> float:
    """The best measured share right."""
    return max(x for x in (one.private, one.small, one.large) if x is not None)


def escalated(one: Facts, floor: float) -> float:
    """The share that must go to the large model so that the whole meets its floor; 0 where nothing can or must be moved."""
    if one.bound or one.large is None or one.private >= floor:
        return 0.0
    cheap = min(one.private, one.small if one.small is not None else one.private)
    return min(1.0, (floor - cheap) / (one.large - cheap)) if one.large > cheap else 0.0


def _stream(one: Facts, requests: np.ndarray, floor: float, numbers: Mapping[str, float]) -> Stream:
    cached = numbers["prefix_cache_share"] * one.tokens_in if one.documents else 0.0
    fresh = one.tokens_in - cached
    usd = {
        size: (
            fresh * numbers[f"{size}_usd_per_mtok_in"]
            + cached * numbers[f"{size}_usd_per_mtok_cached"]
            + one.tokens_out * numbers[f"{size}_usd_per_mtok_out"]
        )
        / 1e6
        for size in ("small", "large")
    }
    seconds = one.private_s
    if seconds is None:
        seconds = fresh / numbers["prefill_tokens_per_s"] + one.tokens_out / numbers["decode_tokens_per_s"]
    return Stream(one, requests, usd["small"], usd["large"], seconds, floor)
