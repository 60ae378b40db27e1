"""Placing models on a mixed fleet by what each device can hold, run and how fast: a plan, with its reasons.

Times are rooflines over capability profiles: an operator takes the longer of its operations over the device's product rate and
its bytes over the device's bandwidth, both times an efficiency. Operators that the device's provider doesn't run go to the host
and back. A plan that rests on a vendor's figures is a simulation and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelhub.hal.operators import ITEM_BYTES
from modelhub.hal.profile import CapabilityProfile
from modelhub.hal.profiles import coverage

EFFICIENCY = 0.4  # of the peaks: what a served model reaches of a data sheet; the same for all, so that it favours none
FULL = 0.8  # planned load: above it queues grow faster than the load
HOST_LINK_GB_S = 25.0  # to the host and back, PCIe 4.0 × 16


@dataclass(frozen=True, slots=True)
class Work:
    """One operator's part of one answer: operations, bytes moved in float32, bytes that cross to the host if it must go there."""

    operator: str
    flops: float
    bytes_moved: float
    crossing_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Need:
    """A model that must be served. `dtypes`: the precisions it may run in, best first; `memory_bytes`: weights and caches."""

    name: str
    memory_bytes: int
    work: tuple[Work, ...]
    requests_per_s: float
    dtypes: tuple[str, ...] = ("bfloat16", "float16", "tf32", "float32")


@dataclass(frozen=True, slots=True)
class Machine:
    """A device of the fleet, and the host that takes what its provider doesn't run."""

    name: str
    profile: CapabilityProfile
    host: CapabilityProfile
    efficiency: float = EFFICIENCY


@dataclass(frozen=True, slots=True)
class Timing:
    """An answer of a model on a machine: seconds, the precision used, and which operators don't run on the device itself."""

    seconds: float
    dtype: str
    fallback: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """`share` of a model's requests goes to a machine, which they keep busy for `load` of the time."""

    need: str
    machine: str
    share: float
    load: float
    timing: Timing


@dataclass
class Plan:
    """`refused`: model → why it isn't placed in full. `simulated`: a vendor's figures took part."""

    placements: list[Placement] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    load: dict[str, float] = field(default_factory=dict)
    memory_bytes: dict[str, int] = field(default_factory=dict)
    simulated: bool = False

    def machines_of(self, need: str) -> list[str]:
        return [placement.machine for placement in self.placements if placement.need == need]


def timing(need: Need, machine: Machine) -> Timing | None:
    """How long an answer takes there; None when the device has no rate for any precision that the model may run in."""
    dtype = next((each for each in need.dtypes if machine.profile.speed(each)), None)
    if dtype is None:
        return None
    table: Mapping[str, str] = coverage(machine.profile.kind)
    seconds = 0.0
    left: dict[str, list[str]] = {"fallback": [], "missing": []}
    for work in need.work:
        how = table.get(work.operator, "missing")
        if how == "native":
            seconds += _roofline(work, machine.profile, dtype, machine.efficiency)
        else:
            left[how].append(work.operator)
            seconds += _roofline(work, machine.host, "float32", machine.efficiency)
            seconds += work.crossing_bytes / (HOST_LINK_GB_S * 1e9)
    return Timing(
        seconds,
        dtype,
        tuple(dict.fromkeys(left["fallback"])),
        tuple(dict.fromkeys(left["missing"])),
    )


def _roofline(work: Work, profile: CapabilityProfile, dtype: str, efficiency: float) -> float:
    rate, copy = profile.speed(dtype), profile.copy_gb_s
    if not rate or not copy:
        raise ValueError(
            f"{profile.name}: no rate for {dtype} or no bandwidth: measure it, or give another host"
        )
    narrow = ITEM_BYTES[dtype] / ITEM_BYTES["float32"]
    return max(work.flops / (rate * 1e9), narrow * work.bytes_moved / (copy * 1e9)) / efficiency


def place(needs: Sequence[Need], machines: Sequence[Machine]) -> Plan:
    """Put each model where it is answered quickest, the heaviest first, and spread what one machine can't carry.

    A machine takes a model only with its memory whole and is filled to `FULL`. What can't be placed is refused with the
    reason; the others stay.
    """
    plan = Plan(
        load=dict.fromkeys((each.name for each in machines), 0.0),
        memory_bytes=dict.fromkeys((each.name for each in machines), 0),
        simulated=any(each.profile.simulated or each.host.simulated for each in machines),
    )
    for need in sorted(needs, key=lambda each: -_weight(each, machines)):
        _place_one(plan, need, machines)
    return plan


def _weight(need: Need, machines: Sequence[Machine]) -> float:
    """A model's load on the machine that suits it best: large ones are placed while there is room."""
    times = [found.seconds for each in machines if (found := timing(need, each))]
    return need.requests_per_s * min(times, default=0.0)


def _place_one(plan: Plan, need: Need, machines: Sequence[Machine]) -> None:
    timed = [(found, each) for each in machines if (found := timing(need, each))]
    if not timed:
        plan.refused[need.name] = f"no device computes in {', '.join(need.dtypes)}"
        return
    fits = [
        (found, each) for found, each in timed
        if plan.memory_bytes[each.name] + need.memory_bytes <= each.profile.memory_bytes
    ]  # fmt: skip
    if not fits:
        plan.refused[need.name] = f"no device has {need.memory_bytes / 1e9:.1f} GB free"
        return
    remaining = 1.0
    for found, machine in sorted(fits, key=lambda pair: pair[0].seconds):
        whole = need.requests_per_s * found.seconds
        free = FULL - plan.load[machine.name]
        share = remaining if whole == 0 else min(remaining, free / whole)
        if share <= 1e-9:
            continue
        plan.placements.append(Placement(need.name, machine.name, share, share * whole, found))
        plan.load[machine.name] += share * whole
        plan.memory_bytes[machine.name] += need.memory_bytes
        remaining -= share
        if remaining <= 1e-9:
            return
    short = remaining * need.requests_per_s
    plan.refused[need.name] = (
        f"{short:.3g} of {need.requests_per_s:g} requests a second find no machine under {FULL:.0%} load"
    )
