"""What the benchmarks of inspection share: a rate with its interval, and a text as a caller or a tool brings it."""

from __future__ import annotations

from typing import Any

from bench.common import Results, Row
from costs.statistics import wilson
from routing.inspection.collect import look_into
from routing.inspection.gather import gather


def rate(
    results: Results, metric: str, hits: int, n: int, how: str, *, at_least: float | None = None,
    at_most: float | None = None, control: bool = False, scale: float = 1.0, unit: str = "share",
) -> None:  # fmt: skip
    """One proportion with its Wilson interval."""
    low, high = (scale * bound for bound in wilson(hits, n))
    value = scale * hits / n if n else None
    met, target = None, None
    if value is not None and at_least is not None:
        met, target = value >= at_least, f">= {at_least:g}"
    elif value is not None and at_most is not None:
        met, target = value <= at_most, f"<= {at_most:g}"
    row = Row(
        metric,
        value and round(value, 5),
        unit,
        round(low, 5),
        round(high, 5),
        n,
        how + "; 95 % Wilson interval",
        target,
        met,
    )
    results.put(row, control=control)


def found(body: dict[str, Any]) -> set[str]:
    read = gather(body)
    return set(
        look_into(
            read.texts, documents=read.documents, asides=read.asides, media=read.media, names=False
        ).counts
    )


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def brought(text: str) -> dict[str, Any]:
    """A tool's result between a question and an answer."""
    call = {"id": "c1", "type": "function", "function": {"name": "read_mail", "arguments": "{}"}}
    return {
        "messages": [
            {"role": "user", "content": "What does it say?"}, {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": text},
        ]
    }  # fmt: skip
