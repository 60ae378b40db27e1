"""Pure: usage × price → integer nano-dollars. One rounding per leg, half-even, never a float."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from costs.contracts import Charge, NodeRate, PriceSheet, Usage
from switchyard.core.money import leg_nusd
from switchyard.core.quick import quick

HOUR_NS = 3_600_000_000_000
PPM = 1_000_000
MILLION_SECONDS_NS = 1_000_000 * 1_000_000_000
HOURS_PER_MONTH = Decimal("730.5")  # 365.25 days × 24 h ÷ 12
# An in-house answer rarely takes longer than a few times what it usually takes; a queue on a busy machine does that.
PRIVATE_MARGIN = 8
UNKNOWN_ACCELERATOR_NS = 2_000_000_000  # per answer, while nothing was measured yet


# Of a million tokens: input, cached input, cache write, output, reasoning. None: as the class it is part of.
TokenPrices = tuple[int, int | None, int | None, int, int | None]


class Unpriced(ValueError):
    """A deployment has neither a price sheet nor a node rate: it is refused traffic."""


def half_even(numerator: int, denominator: int) -> int:
    """numerator ÷ denominator in integers, ties to even. The denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = remainder * 2
    if twice > denominator or (twice == denominator and quotient % 2):
        return quotient + 1
    return quotient


def prices_at(sheet: PriceSheet, tokens_in: int) -> TokenPrices:
    """What a call of so many input tokens pays: a tier's prices hold for the whole call, not for what exceeds its bound."""
    price, cached, write = (
        sheet.input_nusd_per_munit, sheet.cached_input_nusd_per_munit, sheet.cache_write_nusd_per_munit,
    )  # fmt: skip
    out, reasoning = sheet.output_nusd_per_munit, sheet.reasoning_nusd_per_munit
    found = None
    for tier in sheet.tiers:
        if tokens_in <= tier.above_tokens_in:
            break
        found = tier
    if found is not None:
        price = price if found.input_nusd_per_munit is None else found.input_nusd_per_munit
        cached = cached if found.cached_input_nusd_per_munit is None else found.cached_input_nusd_per_munit
        write = write if found.cache_write_nusd_per_munit is None else found.cache_write_nusd_per_munit
        out = out if found.output_nusd_per_munit is None else found.output_nusd_per_munit
        reasoning = reasoning if found.reasoning_nusd_per_munit is None else found.reasoning_nusd_per_munit
    return price, cached, write, out, reasoning


def external_charge(usage: Usage, sheet: PriceSheet) -> Charge:
    """An attempt's cost by a price sheet, in nano-dollars, by leg, and what cache and batch prices saved.

    Cached, written, audio and reasoning tokens are parts of the input and output counts; where the sheet has no price of
    their own they stay in the leg they are part of. Batch work pays its share of everything but searches and the minimum
    charge. Each leg is rounded once, half-even; legs of nothing are left out.
    """
    if not (counted_apart(usage) or sheet.tiers):
        return _plain_charge(usage, sheet)  # as most are
    price, cached_price, write_price, out_price, reasoning_price = prices_at(sheet, usage.tokens_in)
    cached = min(usage.cached_tokens_in, usage.tokens_in) if cached_price is not None else 0
    write = min(usage.cache_write_tokens, usage.tokens_in - cached) if write_price is not None else 0
    reasoning = min(usage.reasoning_tokens, usage.tokens_out) if reasoning_price is not None else 0
    heard_price, spoken_price = sheet.audio_input_nusd_per_munit, sheet.audio_output_nusd_per_munit
    heard = min(usage.audio_tokens_in, usage.tokens_in - cached - write) if heard_price is not None else 0
    spoken = min(usage.audio_tokens_out, usage.tokens_out - reasoning) if spoken_price is not None else 0
    parts = (
        ("input", usage.tokens_in - cached - write - heard, price), ("cached_input", cached, cached_price or 0),
        ("cache_write", write, write_price or 0), ("output", usage.tokens_out - reasoning - spoken, out_price),
        ("reasoning", reasoning, reasoning_price or 0), ("calls", usage.calls, sheet.call_nusd_per_munit),
        ("audio_input", heard, heard_price or 0), ("audio_output", spoken, spoken_price or 0),
    )  # fmt: skip
    share = sheet.batch_ppm if usage.batch and sheet.batch_ppm is not None else PPM
    legs = _legs(parts, usage.duration_ns, sheet.second_nusd_per_munit, share)
    searched = leg_nusd(usage.searches or 0, sheet.search_nusd_per_munit or 0)
    if searched:
        legs["searches"] = searched
    whole = sum(legs.values())
    cost = max(whole, sheet.minimum_nusd)
    if cost > whole:
        legs["minimum"] = cost - whole
    if not cached and not write and share == PPM:
        return Charge(cost, legs)
    # Each saving is what the call would have cost without it, less what it cost: the minimum charge counts in both.
    at_full = cost
    if share != PPM:
        at_full = max(
            sum(_legs(parts, usage.duration_ns, sheet.second_nusd_per_munit, PPM).values()) + searched,
            sheet.minimum_nusd,
        )
    plain = at_full
    if cached or write:
        uncached = (("input", usage.tokens_in - heard, price), *parts[3:])
        plain = max(
            sum(_legs(uncached, usage.duration_ns, sheet.second_nusd_per_munit, PPM).values()) + searched,
            sheet.minimum_nusd,
        )
    saved = {"cache": plain - at_full, "batch": at_full - cost}
    return Charge(cost, legs, {what: amount for what, amount in saved.items() if amount})


def counted_apart(usage: Usage) -> bool:
    """Whether it holds more than tokens in and out, a call and its seconds at the plain price."""
    return bool(
        usage.cached_tokens_in
        or usage.cache_write_tokens
        or usage.reasoning_tokens
        or usage.batch
        or usage.searches
        or usage.audio_tokens_in
        or usage.audio_tokens_out
    )


def _plain_charge(usage: Usage, sheet: PriceSheet) -> Charge:
    """`external_charge` of tokens in and out, a call and its seconds, by a sheet without tiers: nothing can be saved."""
    legs: dict[str, int] = {}
    whole = 0
    if cost := leg_nusd(usage.tokens_in, sheet.input_nusd_per_munit):
        legs["input"], whole = cost, cost
    if cost := leg_nusd(usage.tokens_out, sheet.output_nusd_per_munit):
        legs["output"] = cost
        whole += cost
    if sheet.call_nusd_per_munit and (cost := leg_nusd(usage.calls, sheet.call_nusd_per_munit)):
        legs["calls"] = cost
        whole += cost
    if cost := half_even(usage.duration_ns * sheet.second_nusd_per_munit, MILLION_SECONDS_NS):
        legs["seconds"] = cost
        whole += cost
    if whole < sheet.minimum_nusd:
        legs["minimum"] = sheet.minimum_nusd - whole
        whole = sheet.minimum_nusd
    return Charge(whole, legs)


def _legs(
    parts: tuple[tuple[str, int, int], ...], duration_ns: int, second_nusd_per_munit: int, share_ppm: int
) -> dict[str, int]:
    if share_ppm == PPM:
        legs = {name: leg_nusd(count, price) for name, count, price in parts if count and price}
    else:
        legs = {
            name: half_even(count * price * share_ppm, PPM * PPM)
            for name, count, price in parts
            if count and price
        }
    if second_nusd_per_munit and duration_ns:
        legs["seconds"] = half_even(duration_ns * second_nusd_per_munit * share_ppm, PPM * MILLION_SECONDS_NS)
    return {name: amount for name, amount in legs.items() if amount}


def external_legs(usage: Usage, sheet: PriceSheet) -> dict[str, int]:
    """Nano-dollars by leg (costs.models.LEGS); they sum to the cost exactly."""
    return dict(external_charge(usage, sheet).legs)


def external_cost(usage: Usage, sheet: PriceSheet) -> int:
    """Nano-dollars of one attempt by an external price sheet; at least the sheet's minimum."""
    return external_charge(usage, sheet).cost_nusd


def private_cost(accelerator_ns: int, rate: NodeRate) -> int:
    """Nano-dollars of measured accelerator time at the standard rate: node cost per hour ÷ planned utilisation."""
    return half_even(accelerator_ns * rate.nusd_per_hour * PPM, HOUR_NS * rate.planned_utilisation_ppm)


def charge_of(usage: Usage, *, prices: PriceSheet | None, rate: NodeRate | None) -> Charge:
    """The metered price of one attempt with its legs. Raises Unpriced when the deployment has neither sheet nor rate."""
    if prices is not None:
        return external_charge(usage, prices)
    if rate is not None:
        cost = private_cost(usage.accelerator_ns, rate)
        return Charge(cost, {"compute": cost} if cost else {})
    raise Unpriced("The deployment has neither a price sheet nor a node rate.")


def cost_of(usage: Usage, *, prices: PriceSheet | None, rate: NodeRate | None) -> int:
    """The metered price of one attempt. Raises Unpriced when the deployment has neither sheet nor rate."""
    return charge_of(usage, prices=prices, rate=rate).cost_nusd


def price_version(prices: PriceSheet | None, rate: NodeRate | None) -> str:
    return prices.version if prices is not None else rate.version if rate is not None else ""


def worst_case(
    *,
    prices: PriceSheet | None,
    rate: NodeRate | None,
    text_bytes: int,
    max_tokens: int,
    n: int = 1,
    answers: int = 1,
    usual_accelerator_ns: int | None = None,
    duration_ns: int = 0,
    searches: int = 0,
    heard: bool = False,
    spoken: bool = False,
) -> int:
    """What one attempt may cost at most, in nano-dollars: what admission reserves.

    External: every byte of text one input token, cap × n output tokens, each at its dearest price in the dearest tier that
    so many bytes can reach (that of sound among them where sound is `heard` or `spoken`), `duration_ns` of the vendor's
    time, so many searches, no batch discount. Private: what an answer usually takes × answers × a margin. Raises Unpriced.
    """
    if prices is not None:
        aloud = (
            prices.audio_input_nusd_per_munit if heard else None,
            prices.audio_output_nusd_per_munit if spoken else None,
        )
        tokens = max(
            _dearest(prices_at(prices, bound), text_bytes, max_tokens * n, aloud)
            for bound in (0, *(t.above_tokens_in + 1 for t in prices.tiers if t.above_tokens_in < text_bytes))
        )
        seconds = half_even(duration_ns * prices.second_nusd_per_munit, MILLION_SECONDS_NS)
        seconds += leg_nusd(searches, prices.search_nusd_per_munit or 0)
        return max(tokens + seconds + leg_nusd(1, prices.call_nusd_per_munit), prices.minimum_nusd)
    if rate is not None:
        usual = usual_accelerator_ns or UNKNOWN_ACCELERATOR_NS
        return private_cost(usual * max(answers, n, 1) * PRIVATE_MARGIN, rate)
    raise Unpriced("The deployment has neither a price sheet nor a node rate.")


def _dearest(
    prices: TokenPrices, tokens_in: int, tokens_out: int, aloud: tuple[int | None, int | None]
) -> int:
    """Every token at its dearest price. A count that is split over more legs is rounded once more for each: half-even
    moves each by half a nano-dollar at most, so one more for every further leg is enough."""
    price, cached, write, out, reasoning = prices
    heard, spoken = aloud
    legs = leg_nusd(tokens_in, max(price, cached or 0, write or 0, heard or 0)) + leg_nusd(
        tokens_out, max(out, reasoning or 0, spoken or 0)
    )
    return legs + sum(own is not None for own in (cached, write, reasoning, heard, spoken))


@quick
@dataclass(frozen=True, slots=True)
class OtherSide:
    """A deployment of the side that did not answer but could have."""

    deployment: str
    prices: PriceSheet | None = None
    rate: NodeRate | None = None
    usual_accelerator_ns: int | None = None  # per answer, measured


def other_side_cost(usage: Usage, answers: int, candidates: Iterable[OtherSide]) -> tuple[str, int] | None:
    """(deployment, nano-dollars) of the cheapest that could have answered instead; None when no estimate is possible.

    External: its sheet on the same tokens. Private: its rate × what an answer usually takes there; one that was never
    measured is left out rather than guessed.
    """
    found: list[tuple[int, str]] = []
    for candidate in candidates:
        if candidate.prices is not None:
            found.append((external_cost(usage, candidate.prices), candidate.deployment))
        elif candidate.rate is not None and candidate.usual_accelerator_ns is not None:
            taken_ns = candidate.usual_accelerator_ns * max(answers, 1)
            found.append((private_cost(taken_ns, candidate.rate), candidate.deployment))
    if not found:
        return None
    cost, deployment = min(found)
    return deployment, cost
