"""What an upstream says it used, whichever vendor's words it uses for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from costs.contracts import Usage

MOST_TOKENS = 1_000_000_000  # of one call; more is no count
_TOTALS = ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens")
# Anthropic and OpenRouter, xAI (sources it read, or calls of its tool), Perplexity.
_SEARCHES = (
    "web_search_requests", "num_sources_used", "web_search_calls", "num_search_queries",
)  # fmt: skip
_NONE: Mapping[str, Any] = {}


class _Absurd(ValueError):
    """A count that can't be: not a whole number, negative, or beyond any call."""


def read_usage(usage: Any, *, accelerator_ns: int = 0) -> Usage:
    """Token counts of an answer. Absent ones make it `estimated`, and so do absurd ones, which count as not reported.

    OpenAI and most others count cached and reasoning tokens inside of the totals (`prompt_tokens_details.cached_tokens`,
    `completion_tokens_details.reasoning_tokens`, or `input_…` and `output_tokens_details` in the responses' spelling),
    DeepSeek as `prompt_cache_hit_tokens`. Anthropic's `input_tokens` leaves out what was read from the cache and written
    to it (`cache_read_input_tokens`, `cache_creation_input_tokens`): there the three are added up. Through OpenAI's shape
    `prompt_tokens` is the whole, also where Anthropic's names stand beside it. xAI leaves reasoning out of
    `completion_tokens`, which its total shows. Predicted tokens that were rejected are counted as output, as OpenAI bills
    them. Parts that exceed their whole count as the whole: vendors bill them.
    """
    if not isinstance(usage, dict):
        return Usage(accelerator_ns=accelerator_ns, source="estimated")
    if len(usage) == 3:  # the three that most answers say and nothing else
        tokens_in, tokens_out, total = (
            usage.get("prompt_tokens"), usage.get("completion_tokens"), usage.get("total_tokens"),
        )  # fmt: skip
        if (
            type(tokens_in) is int
            and type(tokens_out) is int
            and type(total) is int
            and 0 < tokens_in <= total <= MOST_TOKENS
            and 0 <= tokens_out <= total
        ):
            return Usage(tokens_in=tokens_in, tokens_out=tokens_out, accelerator_ns=accelerator_ns)
    try:
        return _read(usage, accelerator_ns)
    except _Absurd:
        return Usage(accelerator_ns=accelerator_ns, source="estimated")


def _read(usage: dict[str, Any], accelerator_ns: int) -> Usage:
    details = _part(usage, "prompt_tokens_details", "input_tokens_details")
    out_details = _part(usage, "completion_tokens_details", "output_tokens_details")
    read = _count(usage, "cache_read_input_tokens")
    cached = _count(details, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens") or read
    written = _count(usage, "cache_creation_input_tokens") or _count(
        details, "cache_write_tokens", "cache_creation_tokens"
    )
    tokens_in = _count(usage, "prompt_tokens")
    if not tokens_in:
        tokens_in = _count(usage, "input_tokens")
        if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
            tokens_in += read + written
    tokens_out = _count(usage, "completion_tokens", "output_tokens")
    reasoning = _count(out_details, "reasoning_tokens") or _count(usage, "reasoning_tokens")
    if reasoning and _count(usage, "total_tokens") == tokens_in + tokens_out + reasoning:
        tokens_out += reasoning
    heard, spoken = _count(details, "audio_tokens"), _count(out_details, "audio_tokens")
    foreseen = _count(out_details, "accepted_prediction_tokens") + _count(
        out_details, "rejected_prediction_tokens"
    )
    return Usage(
        tokens_in=max(tokens_in, cached + written, heard),
        tokens_out=max(tokens_out, reasoning, spoken, foreseen),
        cached_tokens_in=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        accelerator_ns=_count(usage, "accelerator_ns", most=None) or accelerator_ns,
        source="reported" if any(name in usage for name in _TOTALS) else "estimated",
        audio_tokens_in=heard,
        audio_tokens_out=spoken,
        searches=_searches(usage),
    )


def _searches(usage: Mapping[str, Any]) -> int | None:
    """Searches that the vendor ran itself; None where it says nothing of them."""
    for part in (usage, _part(usage, "server_tool_use"), _part(usage, "server_side_tool_usage_details")):
        for name in _SEARCHES:
            if name in part:
                return _count(part, name)
    return None


def _part(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        found = usage.get(name)
        if isinstance(found, dict):
            return found
    return _NONE


def _count(usage: Mapping[str, Any], *names: str, most: int | None = MOST_TOKENS) -> int:
    """The first that is there and not zero."""
    for name in names:
        value = usage.get(name)
        if not value:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or value < 0
            or (most is not None and value > most)
        ):
            raise _Absurd(f"{name} is {value!r}")
        return int(value)
    return 0


def guessed(usage: Usage, *, bytes_in: int, bytes_out: int) -> Usage:
    """Usage that nobody reported, from the sizes of question and answer: four bytes a token, so that it isn't free."""
    if usage.source == "reported" or usage.tokens_in or usage.tokens_out:
        return usage
    return replace(usage, tokens_in=max(1, bytes_in // 4), tokens_out=bytes_out // 4)
