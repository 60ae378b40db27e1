"""Pure: usage × price → integer nano-dollars. One rounding per leg, half-even, never a float."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from costs.contracts import NodeRate, PriceSheet, Usage
from switchyard.core.money import leg_nusd, usd_to_nusd

HOUR_NS = 3_600_000_000_000
PPM = 1_000_000
HOURS_PER_MONTH = Decimal("730.5")  # 365.25 days × 24 h ÷ 12
# An in-house answer rarely takes longer than a few times what it usually takes; a queue on a busy machine does that.
PRIVATE_MARGIN = 8
UNKNOWN_ACCELERATOR_NS = 2_000_000_000  # per answer, while nothing was measured yet


class Unpriced(ValueError):
    """A deployment has neither a price sheet nor a node rate: it is refused traffic."""


def half_even(numerator: int, denominator: int) -> int:
    """numerator ÷ denominator in integers, ties to even. The denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = remainder * 2
    if twice > denominator or (twice == denominator and quotient % 2):
        return quotient + 1
    return quotient


def external_legs(usage: Usage, sheet: PriceSheet) -> dict[str, int]:
    """Nano-dollars by leg. Cached and reasoning tokens are parts of the input and output counts; where the sheet
    has no price of their own they stay in the leg they are part of."""
    cached = min(usage.cached_tokens_in, usage.tokens_in)
    reasoning = min(usage.reasoning_tokens, usage.tokens_out)
    if sheet.cached_input_nusd_per_munit is None:
        cached = 0
    if sheet.reasoning_nusd_per_munit is None:
        reasoning = 0
    legs = {
        "input": leg_nusd(usage.tokens_in - cached, sheet.input_nusd_per_munit),
        "output": leg_nusd(usage.tokens_out - reasoning, sheet.output_nusd_per_munit),
    }
    if cached:
        legs["cached_input"] = leg_nusd(cached, sheet.cached_input_nusd_per_munit or 0)
    if reasoning:
        legs["reasoning"] = leg_nusd(reasoning, sheet.reasoning_nusd_per_munit or 0)
    if sheet.call_nusd_per_munit:
        legs["calls"] = leg_nusd(usage.calls, sheet.call_nusd_per_munit)
    return legs


def external_cost(usage: Usage, sheet: PriceSheet) -> int:
    """Nano-dollars of one attempt by an external price sheet; at least the sheet's minimum."""
    return max(sum(external_legs(usage, sheet).values()), sheet.minimum_nusd)


def private_cost(accelerator_ns: int, rate: NodeRate) -> int:
    """Nano-dollars of measured accelerator time at the standard rate: node cost per hour ÷ planned utilisation."""
    return half_even(accelerator_ns * rate.nusd_per_hour * PPM, HOUR_NS * rate.planned_utilisation_ppm)


def cost_of(usage: Usage, *, prices: PriceSheet | None, rate: NodeRate | None) -> int:
    """The metered price of one attempt. Raises Unpriced when the deployment has neither sheet nor rate."""
    if prices is not None:
        return external_cost(usage, prices)
    if rate is not None:
        return private_cost(usage.accelerator_ns, rate)
    raise Unpriced("The deployment has neither a price sheet nor a node rate.")


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
) -> int:
    """What one attempt may cost at most, in nano-dollars: what admission reserves.

    External: every byte of text one input token, cap × n output tokens, each at its dearest price. Private: what an
    answer usually takes × answers × a margin. Raises Unpriced.
    """
    if prices is not None:
        dearest_in = max(prices.input_nusd_per_munit, prices.cached_input_nusd_per_munit or 0)
        dearest_out = max(prices.output_nusd_per_munit, prices.reasoning_nusd_per_munit or 0)
        legs = leg_nusd(text_bytes, dearest_in) + leg_nusd(max_tokens * n, dearest_out)
        legs += (prices.cached_input_nusd_per_munit is not None) + (
            prices.reasoning_nusd_per_munit is not None
        )  # a count split over two legs is rounded twice
        return max(legs + leg_nusd(1, prices.call_nusd_per_munit), prices.minimum_nusd)
    if rate is not None:
        usual = usual_accelerator_ns or UNKNOWN_ACCELERATOR_NS
        return private_cost(usual * max(answers, n, 1) * PRIVATE_MARGIN, rate)
    raise Unpriced("The deployment has neither a price sheet nor a node rate.")


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


def node_nusd_per_hour(
    *,
    usd_per_hour: Decimal | None,
    capex_usd: Decimal | None = None,
    life_months: int | None = None,
    watts: int = 0,
    pue: Decimal = Decimal(1),
    usd_per_kwh: Decimal = Decimal(0),
    operations_usd_per_month: Decimal = Decimal(0),
) -> int:
    """What a node costs an hour whether it is used or not: a cloud rate, or purchase ÷ life + power × PUE; operations on
    top of either. Raises Unpriced when it has neither."""
    if usd_per_hour is not None:
        hourly = Decimal(usd_per_hour)
    elif capex_usd is not None and life_months:
        power = Decimal(watts) / 1000 * Decimal(pue) * Decimal(usd_per_kwh)
        hourly = Decimal(capex_usd) / (life_months * HOURS_PER_MONTH) + power
    else:
        raise Unpriced("The node has neither a rate per hour nor a purchase price with a life.")
    return usd_to_nusd(hourly + Decimal(operations_usd_per_month) / HOURS_PER_MONTH)
