"""Pure: what the amounts of a sheet may be, and how they are called outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from costs.contracts import PriceTier
from costs.pricing import PPM
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import NUSD_PER_USD, format_usd

TOKEN_CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")
OPTIONAL_CLASSES = ("cached_input", "cache_write", "reasoning")  # unpriced, they pay as what they are part of
TIER_AMOUNTS = tuple(f"{name}_nusd_per_munit" for name in TOKEN_CLASSES)
# Columns of Price → their names outside. Amounts of a sheet in another currency stand under the same names.
OUTSIDE = {f"{name}_nusd_per_munit": f"{name}_usd_per_mtok" for name in TOKEN_CLASSES} | {
    "audio_input_nusd_per_munit": "audio_input_usd_per_mtok",
    "audio_output_nusd_per_munit": "audio_output_usd_per_mtok",
    "search_nusd_per_munit": "usd_per_msearch",
    "call_nusd_per_munit": "usd_per_mcall",
    "second_nusd_per_munit": "usd_per_second",
    "training_nusd_per_munit": "training_usd_per_mtok",
    "minimum_nusd": "minimum_usd",
}
AMOUNTS = tuple(OUTSIDE)
TERMS = (*AMOUNTS, "batch_ppm", "tiers", "currency")  # everything that a sheet says of money
MOST_TIERS = 10
LARGEST_TIER = 100_000_000  # tokens of one call
# What no vendor asks: beyond it somebody mistook the unit. Dollars per million tokens; per call, second and minimum.
ABSURD_MTOK_NUSD = 100_000 * NUSD_PER_USD
ABSURD_EACH_NUSD = 100 * NUSD_PER_USD
_FORMULA = "=+-@\t\r"


def check_terms(values: Mapping[str, Any], *, nusd_per_unit: int | None) -> None:
    """Raises ValidationFailed, all faults at once: amounts that are negative or absurd, tiers out of order, a batch share
    beyond the whole. `nusd_per_unit`: the currency's rate, None while there is none (then a unit counts as a dollar)."""
    faults: list[tuple[str, str]] = []
    for name in AMOUNTS:
        if values.get(name) is not None:
            faults += _amount_faults(OUTSIDE[name], values[name], _limit(name), nusd_per_unit)
    share = values.get("batch_ppm")
    if share is not None and not 0 <= share <= PPM:
        faults.append(("batch_pct", "What batch work pays lies between 0 and 100 percent of the price."))
    faults += _tier_faults(values.get("tiers") or [], nusd_per_unit)
    if faults:
        errors = [
            {"path": path, "line": None, "column": None, "message": message} for path, message in faults
        ]
        raise ValidationFailed(f"{faults[0][0]}: {faults[0][1]}", errors)


def check_source(text: str) -> str:
    """Who published the sheet, and when. Raises ValidationFailed when it is empty or a spreadsheet would run it."""
    text = text.strip()
    if not text or len(text) > 300:
        raise ValidationFailed(
            "Name who published the sheet, and when, in at most 300 characters.", param="source"
        )
    if text[0] in _FORMULA or "\x00" in text:
        raise ValidationFailed(
            "The source begins like a spreadsheet's formula: begin it with a letter or a digit.",
            param="source",
        )
    return text


def tiers_of(rows: Iterable[Mapping[str, Any]], to_nusd: Any = None) -> tuple[PriceTier, ...]:
    """Tiers as the gateway holds them; `to_nusd` turns an amount of the sheet's currency into nano-dollars."""
    return tuple(
        PriceTier(
            row["above_tokens_in"],
            **{n: to_nusd(row[n]) if to_nusd else row[n] for n in TIER_AMOUNTS if row.get(n) is not None},
        )
        for row in rows
    )


def _limit(name: str) -> int:
    if name == "minimum_nusd":
        return ABSURD_EACH_NUSD
    return (
        ABSURD_EACH_NUSD * PPM
        if name in ("call_nusd_per_munit", "second_nusd_per_munit", "search_nusd_per_munit")
        else ABSURD_MTOK_NUSD
    )


def _amount_faults(path: str, amount: int, limit: int, nusd_per_unit: int | None) -> list[tuple[str, str]]:
    if amount < 0:
        return [(path, "A price is never negative.")]
    if amount * (nusd_per_unit or NUSD_PER_USD) > limit * NUSD_PER_USD:
        each = limit // PPM if path == "usd_per_second" else limit
        return [(path, f"More than {format_usd(each)} US dollars: no vendor asks that; check the unit.")]
    return []


def _tier_faults(tiers: Sequence[Mapping[str, Any]], nusd_per_unit: int | None) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = []
    if len(tiers) > MOST_TIERS:
        return [("tiers", f"At most {MOST_TIERS} tiers.")]
    last = 0
    for index, tier in enumerate(tiers):
        path, bound = f"tiers[{index}]", tier.get("above_tokens_in")
        unknown = set(tier) - {"above_tokens_in", *TIER_AMOUNTS}
        if unknown:
            faults.append((path, f"Unknown: {', '.join(sorted(unknown))}."))
        if not isinstance(bound, int) or not last < bound <= LARGEST_TIER:
            faults.append(
                (
                    f"{path}.above_tokens_in",
                    f"Tiers ascend: more than {last} and at most {LARGEST_TIER} tokens.",
                )
            )
        else:
            last = bound
        if all(tier.get(name) is None for name in TIER_AMOUNTS):
            faults.append((path, "A tier names at least one price."))
        for name in TIER_AMOUNTS:
            if tier.get(name) is not None:
                faults += _amount_faults(
                    f"{path}.{OUTSIDE[name]}", tier[name], ABSURD_MTOK_NUSD, nusd_per_unit
                )
    return faults
