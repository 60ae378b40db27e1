"""Pure: the JSON of LiteLLM's public price map: model → costs a token, tiers in the names of the fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from costs.pricing import PPM
from costs.sheets.amounts import TIER_AMOUNTS
from costs.sheets.rows import Bad, Book, Refusal, Row, Wanted, decimal_of, faulty
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import PRICE_UNIT, usd_to_nusd

_PER_TOKEN = {
    "input_cost_per_token": "input_nusd_per_munit", "output_cost_per_token": "output_nusd_per_munit",
    "cache_read_input_token_cost": "cached_input_nusd_per_munit",
    "cache_creation_input_token_cost": "cache_write_nusd_per_munit",
    "output_cost_per_reasoning_token": "reasoning_nusd_per_munit",
}  # fmt: skip
_AUDIO = {
    "input_cost_per_audio_token": "audio_input_nusd_per_munit",
    "output_cost_per_audio_token": "audio_output_nusd_per_munit",
}
_BATCH = {
    "input_cost_per_token_batches": "input_cost_per_token",
    "output_cost_per_token_batches": "output_cost_per_token",
}
_ABOVE = re.compile(rf"({'|'.join(_PER_TOKEN)})_above_([0-9]{{1,6}})k_tokens")
_PER_SECOND = ("input_cost_per_second", "output_cost_per_second")
_DECODER = json.JSONDecoder(parse_float=lambda text: _Number(text), parse_int=lambda text: _Number(text))
_SPACE = re.compile(r"[ \t\r\n]*")


class _Number(str):
    """A JSON number by its text, so that no float ever stands between."""


_ZERO = (_Number("0"), _Number("0.0"))


def read_litellm(text: str, wanted: Wanted) -> Book:
    book, seen = Book(), dict[str, int]()
    for line, model, value in _entries(text):
        vendor = value.get("litellm_provider", "") if isinstance(value, dict) else ""
        if not wanted(vendor if isinstance(vendor, str) else "", model, ""):
            book.others += 1
            continue
        if model in seen:
            book.refused.append(Refusal(line, model[:120], f"line {seen[model]} names it too"))
            continue
        seen[model] = line
        try:
            book.rows.append(_litellm_row(line, model, value))
        except Bad as error:
            book.refused.append(Refusal(line, model[:120], str(error)))
    return book


def _entries(text: str) -> Iterator[tuple[int, str, Any]]:
    """(line, key, value) of the outer object, one by one: the standard decoder doesn't say where a key stood."""
    at = _SPACE.match(text, 0).end()  # type: ignore[union-attr]
    line, counted = 1, 0
    if text[at : at + 1] != "{":
        raise _not_json(text, at, "the file is no JSON object of models")
    at += 1
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] == "}":
            if text[at + 1 :].strip():
                raise _not_json(text, at + 1, "something follows the end")
            return
        line, counted = line + text.count("\n", counted, at), at
        try:
            key, at = _DECODER.raw_decode(text, at)
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            if not isinstance(key, str) or isinstance(key, _Number) or text[at : at + 1] != ":":
                raise _not_json(text, at, "a key and a colon are expected")
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
            value, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _not_json(text, error.pos, error.msg) from None
        except RecursionError:
            raise _not_json(text, at, "it is nested too deep") from None
        yield line, key, value
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "}":
            raise _not_json(text, at, "a comma or the end is expected")


def _not_json(text: str, at: int, what: str) -> ValidationFailed:
    return faulty(what, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def _litellm_row(line: int, model: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise Bad("it is no object of prices")
    value = {name: raw for name, raw in value.items() if raw is not None}
    # Of audio, a second is one of sound and not of the call.
    per_second = () if str(value.get("mode", "")).startswith("audio") else _PER_SECOND
    if not any(name in value for name in per_second):
        for name in ("input_cost_per_token", "output_cost_per_token"):
            if name not in value:
                raise Bad(f"it has no {name}")
    told = _PER_TOKEN | {name: column for name, column in _AUDIO.items() if name in value}
    terms: dict[str, Any] = {column: _per_million(value, name) for name, column in told.items()}
    terms |= {n: terms[n] or 0 for n in ("input_nusd_per_munit", "output_nusd_per_munit")}
    terms["second_nusd_per_munit"] = sum(_per_million(value, name) or 0 for name in per_second)
    terms |= {"currency": "USD", "batch_ppm": _batch_share(value), "tiers": _tiers(value)}
    if not any(terms[name] for name in (*TIER_AMOUNTS, "second_nusd_per_munit")):
        raise Bad("all its prices are zero: a model that is free is entered by hand")
    known = {*told, *_BATCH, *per_second}
    others = [n for n, raw in value.items() if "cost" in n and n not in known and not _ABOVE.fullmatch(n)]
    return Row(line, model, terms=terms, ignored=tuple(sorted(n for n in others if value[n] not in _ZERO)))


def _tiers(value: Mapping[str, Any]) -> list[dict[str, int]]:
    """Ascending; the bound stands in the name: input_cost_per_token_above_200k_tokens."""
    tiers: dict[int, dict[str, int]] = {}
    for name in value:
        above = _ABOVE.fullmatch(name)
        if above is not None:
            bound = int(above[2]) * 1000
            tiers.setdefault(bound, {"above_tokens_in": bound})[_PER_TOKEN[above[1]]] = (
                _per_million(value, name) or 0
            )
    return [tiers[bound] for bound in sorted(tiers)]


def _per_million(value: Mapping[str, Any], name: str) -> int | None:
    return usd_to_nusd(_exact(value[name], name) * PRICE_UNIT) if name in value else None


def _exact(raw: Any, name: str) -> Decimal:
    if not isinstance(raw, _Number):
        raise Bad(f"{name} is no number")
    return decimal_of(str(raw), name)


def _batch_share(value: Mapping[str, Any]) -> int | None:
    """One share of the price, if input and output agree on it within a hundredth of a percent."""
    shares = set()
    for name, plain in _BATCH.items():
        if name in value and (whole := _exact(value.get(plain), plain)):
            shares.add(round(_exact(value[name], name) / whole * PPM, -2))
    if not shares:
        return None
    if len(shares) > 1 or max(shares) > PPM:
        raise Bad("its batch prices are no single share of input and output price")
    return int(shares.pop())
