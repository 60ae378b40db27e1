"""Pure: an hour's bill shared out. used + idle = bill to the nano-dollar, and each part sums over who carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from switchyard.core.money import largest_remainder


@dataclass(frozen=True, slots=True)
class IdleRule:
    """Who carries the time nobody used: nobody, the pool's account, or lines of business by use or by fixed weights."""

    rule: str = "nobody"
    pool: str = ""
    weights: Mapping[str, int] = field(default_factory=dict)

    def account(self, node: str) -> str:
        """Where the part that no line of business carries is booked."""
        return f"expense:pool:{self.pool}" if self.rule == "pool" and self.pool else f"expense:idle:{node}"


@dataclass(frozen=True, slots=True)
class Allocation:
    """A bill by who used it, what nobody used, and which part of that lines of business carry."""

    shares: Mapping[str, int]
    idle_nusd: int
    carried: Mapping[str, int] = field(default_factory=dict)

    @property
    def used_nusd(self) -> int:
        return sum(self.shares.values())

    @property
    def uncarried_nusd(self) -> int:
        return self.idle_nusd - sum(self.carried.values())


NOBODY = IdleRule()


def allocate(
    bill_nusd: int, used_ns: Mapping[str, int], capacity_ns: int, rule: IdleRule = NOBODY
) -> Allocation:
    """Share a bill by measured nanoseconds; what is left of the capacity is idle. Everything sums to the bill exactly.

    When more was measured than the clock gave (work side by side on several cores), nothing is idle.
    """
    names = sorted(used_ns)
    weights = [used_ns[name] for name in names]
    idle_ns = max(0, capacity_ns - sum(weights))
    *shares, idle = largest_remainder(bill_nusd, [*weights, idle_ns])
    return Allocation(dict(zip(names, shares, strict=True)), idle, _carried(idle, used_ns, rule))


def _carried(idle_nusd: int, used_ns: Mapping[str, int], rule: IdleRule) -> dict[str, int]:
    """By use where there was any, else by the fixed weights, else nobody carries it."""
    if rule.rule != "lob_share":
        return {}
    weights = used_ns if sum(used_ns.values()) else rule.weights
    names = sorted(name for name in weights if weights[name] > 0)
    if not names:
        return {}
    return dict(zip(names, largest_remainder(idle_nusd, [weights[n] for n in names]), strict=True))


def spread(total_nusd: int, weights: Sequence[int]) -> list[int]:
    """A line of business's loaded cost over its rows; nothing where nothing was measured."""
    return largest_remainder(total_nusd, weights) if sum(weights) else [0] * len(weights)
