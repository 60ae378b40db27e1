"""Sharing a training step over unequal devices: rows to each in proportion to its speed, so that all finish together.

Every row is trained on once whoever takes it, and gradients are averaged by rows, so the shares change the time of a step and
nothing of what is learned.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelhub.hal.profile import CapabilityProfile

TRAINING_DTYPES = ("bfloat16", "tf32", "float16", "float32")


@dataclass(frozen=True, slots=True)
class Member:
    """One device of a training run: rows a second, and what each step costs it whatever its rows."""

    name: str
    rows_per_s: float
    fixed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulation:
    """Seconds a step with equal and with planned shares. `gain`: how much more is trained a second; `simulated`: a vendor's
    figures took part."""

    equal: Mapping[str, int]
    planned: Mapping[str, int]
    equal_s: float
    planned_s: float
    simulated: bool

    @property
    def gain(self) -> float:
        return self.equal_s / self.planned_s - 1.0


def equal_shares(rows: int, members: Sequence[Member]) -> dict[str, int]:
    """As even as whole rows allow."""
    return {
        each.name: rows // len(members) + (index < rows % len(members)) for index, each in enumerate(members)
    }


def planned_shares(rows: int, members: Sequence[Member]) -> dict[str, int]:
    """Whole rows so that the last device to finish finishes as early as can be: each row goes to whoever would be done with it
    first. Raises ValueError for no members or a speed that isn't above zero."""
    if not members or min(each.rows_per_s for each in members) <= 0:
        raise ValueError("planned_shares needs members, each with rows_per_s above zero")
    found = dict.fromkeys((each.name for each in members), 0)
    queue = [(each.fixed_s + 1 / each.rows_per_s, index) for index, each in enumerate(members)]
    heapq.heapify(queue)
    for _ in range(rows):
        done, index = heapq.heappop(queue)
        found[members[index].name] += 1
        heapq.heappush(queue, (done + 1 / members[index].rows_per_s, index))
    return found


def step_seconds(
    shares: Mapping[str, int], members: Sequence[Member], *, gradient_bytes: float = 0.0, link_gb_s: float = 10.0
) -> float:  # fmt: skip
    """The slowest member's time, then a ring that adds the gradients: 2 (n − 1) / n of their bytes over the slowest link."""
    slowest = max(each.fixed_s + shares[each.name] / each.rows_per_s for each in members)
    ring = 2 * (len(members) - 1) / len(members) * gradient_bytes / (link_gb_s * 1e9)
    return slowest + ring


def simulate(
    rows: int, members: Sequence[Member], *, gradient_bytes: float = 0.0, link_gb_s: float = 10.0, simulated: bool = True
) -> Simulation:  # fmt: skip
    """Equal against planned shares of `rows` a step on the same members."""
    equal, planned = equal_shares(rows, members), planned_shares(rows, members)
    times = [
        step_seconds(each, members, gradient_bytes=gradient_bytes, link_gb_s=link_gb_s) for each in (equal, planned)
    ]  # fmt: skip
    return Simulation(equal, planned, times[0], times[1], simulated)


def members_of(
    profiles: Mapping[str, CapabilityProfile],
    *,
    flops_per_row: float,
    efficiency: float,
    fixed_s: float = 0.0,
) -> list[Member]:
    """Members by their profiles' product rates: the best format of each that training takes. Raises ValueError where a device
    has none."""
    found = []
    for name, profile in profiles.items():
        rate = next((profile.speed(dtype) for dtype in TRAINING_DTYPES if profile.speed(dtype)), None)
        if rate is None:
            raise ValueError(f"{profile.name} has no rate for any of {', '.join(TRAINING_DTYPES)}")
        found.append(Member(name, rate * 1e9 * efficiency / flops_per_row, fixed_s))
    return found
