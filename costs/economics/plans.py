"""The plans that are compared, day by day: who answers what, with how many machines, at what cost and accuracy.

Machines are chosen anew each midnight. Single-side plans and the hindsight optimum know the day they plan for (which is
generous to them); the hybrid knows only the days before. Bound work never leaves, and has the machines first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from costs.economics.streams import A_DAY, DAYS, WINDOW_S, Stream, best

MEMORY_DAYS = 3  # the hybrid plans on as many days as it has seen, at most these
FIRST_DAY = 1  # the first it can plan for


@dataclass(slots=True)
class Outcome:
    """A plan over the days replayed. Dollars and requests by day; `right` is the share that is right where it is known."""

    plan: str
    usd: list[float] = field(default_factory=list)
    machines_usd: list[float] = field(default_factory=list)
    right: float = 0.0
    late_share: float = 0.0  # of bound requests that waited for a later window
    lawful: bool = True  # keeps bound work at home
    floors: bool = True  # every workload is answered by somebody accurate enough
    nodes: list[dict[str, int]] = field(default_factory=list)

    @property
    def total_usd(self) -> float:
        return sum(self.usd)


@dataclass(frozen=True, slots=True)
class Choice:
    """Who may answer a stream outside, at what price and how well."""

    usd: float
    right: float
    meets_floor: bool


class World:
    """Streams and assumptions: who may answer what, and what a machine holds."""

    def __init__(self, streams: Sequence[Stream], numbers: Mapping[str, float]) -> None:
        self.streams = list(streams)
        self.numbers = numbers
        self.days = [slice(d * A_DAY, (d + 1) * A_DAY) for d in range(DAYS)]

    def outside(self, one: Stream) -> Choice:
        """The small vendor where it is known to be good enough, else the large one."""
        if one.facts.small is not None and one.facts.small >= one.floor:
            return Choice(one.small_usd, one.facts.small, True)
        return self.large(one)

    def large(self, one: Stream) -> Choice:
        """What nobody measured of the large model is taken to be as good as the best measured."""
        right = one.facts.large if one.facts.large is not None else best(one.facts)
        return Choice(one.large_usd, right, right >= one.floor)

    def good_at_home(self, one: Stream) -> bool:
        return one.facts.private >= one.floor

    def hourly(self, pool: str) -> float:
        return self.numbers[f"{pool}_usd_per_hour"]

    def capacity_s(self, pool: str, nodes: int) -> float:
        """Accelerator seconds a window offers."""
        threads = self.numbers["cpu_threads"] if pool == "cpu" else 1
        return nodes * threads * WINDOW_S * self.numbers["utilisation_cap"]

    def needed(self, pool: str, busy_s: np.ndarray, factor: float = 1.0) -> int:
        """Machines that hold the busiest window."""
        one = self.capacity_s(pool, 1)
        return ceil(float(busy_s.max()) * factor / one - 1e-9) if busy_s.size and busy_s.max() > 0 else 0


def outside_only(world: World, name: str, choose: Callable[[Stream], Choice]) -> Outcome:
    """Everything to a vendor, whatever may leave: a yardstick, not a lawful plan."""
    out = Outcome(name, lawful=not any(one.facts.bound for one in world.streams))
    choices = [(one, choose(one)) for one in world.streams]
    out.floors = all(choice.meets_floor for _, choice in choices)
    for day in world.days[FIRST_DAY:]:
        out.usd.append(sum(float(one.requests[day].sum()) * choice.usd for one, choice in choices))
        out.machines_usd.append(0.0)
    weights = [float(one.requests[FIRST_DAY * A_DAY :].sum()) for one, _ in choices]
    out.right = float(np.average([choice.right for _, choice in choices], weights=weights))
    return out


def at_home(
    world: World, name: str, share: Callable[[Stream], float], outside: Callable[[Stream], Choice]
) -> Outcome:
    """A fixed share of each stream at home, on machines for the day's own busiest window; the rest outside."""
    out = Outcome(name)
    right = weight = 0.0
    for one in world.streams:
        home = share(one)
        out.floors &= (home == 0 or world.good_at_home(one)) and (home == 1 or outside(one).meets_floor)
    for day in world.days[FIRST_DAY:]:
        usd = machines = 0.0
        nodes = {}
        for pool in ("cpu", "gpu"):
            mine = [one for one in world.streams if one.pool == pool]
            busy = sum((one.requests[day] * share(one) * one.private_s for one in mine), np.zeros(A_DAY))
            nodes[pool] = world.needed(pool, busy)
            machines += nodes[pool] * 24 * world.hourly(pool)
        for one in world.streams:
            requests, home, there = float(one.requests[day].sum()), share(one), outside(one)
            usd += requests * (1 - home) * there.usd
            right += requests * (home * one.facts.private + (1 - home) * there.right)
            weight += requests
        out.usd.append(usd + machines)
        out.machines_usd.append(machines)
        out.nodes.append(nodes)
    out.right = right / weight
    return out


@dataclass(slots=True)
class _Day:
    usd: float
    machines: float
    right: float
    requests: float
    late: float
    bound: float


def _pool_day(world: World, pool: str, nodes: int, day: slice) -> _Day:
    """One day of one pool: bound work first (what doesn't fit waits for the next window), then what is dearest outside per
    second of machine, as long as it fits; the rest goes out."""
    mine = [one for one in world.streams if one.pool == pool]
    found = _Day(0.0, nodes * 24 * world.hourly(pool), 0.0, 0.0, 0.0, 0.0)
    bound_s = sum((one.requests[day] * one.private_s for one in mine if one.facts.bound), np.zeros(A_DAY))
    room, late_s = _bound_first(bound_s, np.full(A_DAY, world.capacity_s(pool, nodes)))
    total_s = float(bound_s.sum())
    for one in mine:
        requests = float(one.requests[day].sum())
        found.requests += requests
        if one.facts.bound:
            found.bound += requests
            found.late += requests * (min(1.0, late_s / total_s) if total_s else 0.0)
            found.right += requests * one.facts.private
    free = [one for one in mine if not one.facts.bound]
    for one in sorted(free, key=lambda s: -world.outside(s).usd / max(s.private_s, 1e-12)):
        there = world.outside(one)
        busy = one.requests[day] * one.private_s
        taken = np.minimum(busy, room) if world.good_at_home(one) else np.zeros(A_DAY)
        room = room - taken
        home = float(taken.sum()) / one.private_s
        out = float(one.requests[day].sum()) - home
        found.usd += out * there.usd
        found.right += home * one.facts.private + out * there.right
    return found


def _bound_first(bound_s: np.ndarray, room: np.ndarray) -> tuple[np.ndarray, float]:
    """What bound work leaves of each window's seconds, and the seconds that waited, once for each window they did."""
    if (bound_s <= room).all():
        return room - bound_s, 0.0
    left, backlog, late_s = room.copy(), 0.0, 0.0
    for window, want in enumerate(bound_s):
        done = min(backlog + float(want), float(room[window]))
        backlog += float(want) - done
        left[window] -= done
        late_s += backlog
    return left, late_s


def _cheapest(world: World, pool: str, days: Sequence[slice], headroom: float) -> int:
    """Machines that would have cost least on these days, with bound work held at its busiest."""
    mine = [one for one in world.streams if one.pool == pool]
    least = most = 0
    for day in days:
        bound = sum((one.requests[day] * one.private_s for one in mine if one.facts.bound), np.zeros(A_DAY))
        everything = sum((one.requests[day] * one.private_s for one in mine), np.zeros(A_DAY))
        least = max(least, world.needed(pool, bound, headroom))
        most = max(most, world.needed(pool, everything))
    costs = {}
    for nodes in range(least, max(least, most) + 1):
        found = [_pool_day(world, pool, nodes, day) for day in days]
        costs[nodes] = sum(f.usd + f.machines for f in found)
    return min(costs, key=lambda n: (costs[n], n))


def mixed(world: World, name: str, *, knows_the_day: bool) -> Outcome:
    """Home first while there is room, outside where policy allows. `knows_the_day`: the hindsight optimum."""
    out = Outcome(name)
    right = requests = late = bound = 0.0
    for number, day in list(enumerate(world.days))[FIRST_DAY:]:
        seen = [day] if knows_the_day else world.days[max(0, number - MEMORY_DAYS) : number]
        headroom = 1.0 if knows_the_day else world.numbers["headroom"]
        nodes, usd, machines = {}, 0.0, 0.0
        for pool in ("cpu", "gpu"):
            nodes[pool] = _cheapest(world, pool, seen, headroom)
            found = _pool_day(world, pool, nodes[pool], day)
            usd, machines = usd + found.usd, machines + found.machines
            right, requests = right + found.right, requests + found.requests
            late, bound = late + found.late, bound + found.bound
        out.usd.append(usd + machines)
        out.machines_usd.append(machines)
        out.nodes.append(nodes)
    out.right, out.late_share = right / requests, late / bound if bound else 0.0
    out.floors = all(
        world.good_at_home(one) or (not one.facts.bound and world.outside(one).meets_floor)
        for one in world.streams
    )
    return out


def compare(world: World) -> dict[str, Outcome]:
    """Every plan by its name."""
    outcomes = [
        mixed(world, "hybrid", knows_the_day=False),
        mixed(world, "hindsight", knows_the_day=True),
        outside_only(world, "all_external_large", world.large),
        outside_only(
            world, "all_external_small",
            lambda one: Choice(one.small_usd, one.facts.small or 0.0, (one.facts.small or 0) >= one.floor),
        ),
        at_home(world, "all_private", lambda one: 1.0, world.outside),
        at_home(world, "external_but_bound", lambda one: 1.0 if one.facts.bound else 0.0, world.outside),
        at_home(world, "random_split", lambda one: 1.0 if one.facts.bound else 0.5, world.outside),
    ]  # fmt: skip
    return {outcome.plan: outcome for outcome in outcomes}
