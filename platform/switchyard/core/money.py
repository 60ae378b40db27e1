"""Money as integer nano-dollars (1 nusd = 10⁻⁹ USD); decimals only at the edges, floats never."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

NUSD_PER_USD = 1_000_000_000
PRICE_UNIT = 1_000_000  # prices are nano-dollars per million units


def usd_to_nusd(usd: Decimal | str | int) -> int:
    """Nano-dollars of a decimal amount, half-even. Floats are refused."""
    if isinstance(usd, float):
        raise TypeError("Money is never a float: pass a Decimal or a string.")
    return int((Decimal(usd) * NUSD_PER_USD).to_integral_value(rounding=ROUND_HALF_EVEN))


def nusd_to_usd(nusd: int) -> Decimal:
    """An exact decimal with nine places."""
    return (Decimal(nusd) / NUSD_PER_USD).quantize(Decimal("0.000000001"))


def format_usd(nusd: int) -> str:
    """For headers and JSON: plain decimal notation, at least two places, no trailing noise."""
    whole, rest = divmod(abs(nusd), NUSD_PER_USD)
    places = f"{rest:09d}".rstrip("0")
    return f"{'-' if nusd < 0 else ''}{whole}.{places:0<2}"


def leg_nusd(quantity: int, price_nusd_per_munit: int) -> int:
    """half-even(quantity × price / 10⁶), in integers."""
    product = quantity * price_nusd_per_munit
    quotient, remainder = divmod(product, PRICE_UNIT)
    twice = remainder * 2
    if twice > PRICE_UNIT or (twice == PRICE_UNIT and quotient % 2):
        return quotient + 1
    return quotient


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `weights` so that the parts sum to it exactly.

    Weights are non-negative integers; all zero gives all zero only when total is 0, otherwise ValueError.
    """
    whole = sum(weights)
    if whole == 0:
        if total == 0:
            return [0] * len(weights)
        raise ValueError("Cannot share a non-zero total over weights that are all zero.")
    shares = [total * w // whole for w in weights]
    rest = total - sum(shares)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[:rest]:
        shares[i] += 1
    return shares
