"""An hour that cost as much as a good part of a day: told within the hour, long before the day is over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from costs.foresight.detect import PART_OF_COMPANY
from costs.foresight.factors import Day, Say, cause, mean, plainly, split, total

MIN_PAST_HOURS = 7 * 24
PART_OF_DAY = 0.5  # of the workload's own usual day
TIMES_DEAREST = 2.0  # the dearest hour of the past


@dataclass(frozen=True)
class Burst:
    """Nano-dollars of one hour, beside what that hour of the day usually costs."""

    spent: int
    expected: int
    dearest: int
    factor: str
    parts: dict[str, int]
    cause: str


def find_burst(
    past: Sequence[Day], hour: Day, *, usual_nusd: float = 0.0, say: Say = plainly
) -> Burst | None:
    """`past`: the hours before, oldest first and without gaps; `hour`: the one that is judged, whole or running.

    It stands out when it cost twice the dearest hour of the past, half of the workload's usual day and 0.2 % of the
    organisation's usual day (`usual_nusd`).
    """
    if len(past) < MIN_PAST_HOURS:
        return None
    spent, costs = total(hour), [total(h) for h in past]
    whole = len(costs) // 24 * 24
    days = [sum(costs[i : i + 24]) for i in range(len(costs) - whole, len(costs), 24)]
    needed = max(TIMES_DEAREST * max(costs), PART_OF_DAY * median(days), PART_OF_COMPANY * usual_nusd)
    if spent <= 0 or spent < needed:
        return None
    same = [past[i] for i in range(len(past) - 24, -1, -24)]
    expected = mean(same)
    parts = split(expected, hour)
    factor = max(parts, key=lambda n: parts[n])
    return Burst(
        round(spent),
        round(total(expected)),
        round(max(costs)),
        factor,
        parts,
        cause(expected, hour, factor, say=say),
    )
