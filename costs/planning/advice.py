"""Devices side by side on the arrivals that were measured: machines needed, cost of a correct answer, when it pays, and
what leaving the vendor would take. Everything but the measured device's own speed is SIMULATED from assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil

from costs.nodes.terms import Terms as MachineTerms
from costs.nodes.terms import standard_bill
from costs.periods import EPOCH
from costs.planning.devices import MEASURED, Carried, Devices, Profile, carry
from costs.planning.queueing import Planner, Trace
from costs.pricing import HOURS_PER_MONTH
from switchyard.core.money import usd_to_nusd

DAYS_PER_MONTH = Fraction(487, 16)  # 365.25 ÷ 12


@dataclass(frozen=True)
class Terms:
    """What nobody measured. Dollars a kWh, watts, months; `price_usd`, `cloud_usd` and `watts` by device override a
    profile's own."""

    factor: float = 1.0
    target_ms: float = 1000.0
    percentile: float = 95.0
    precision: str = "tf32"
    efficiency: float = 0.3
    overhead_us: float = 200.0
    utilisation: float = 0.7
    life_months: int = 48
    usd_per_kwh: Decimal = Decimal("0.15")
    pue: Decimal = Decimal("1.4")
    host_usd: Decimal = Decimal(3000)
    host_watts: int = 200
    upkeep_usd_per_month: Decimal = Decimal(0)
    move_usd: Decimal = Decimal(20000)
    price_usd: Mapping[str, Decimal] = field(default_factory=dict)
    cloud_usd: Mapping[str, Decimal] = field(default_factory=dict)
    watts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What was measured: private answers a day, share right with its interval, what they would cost outside."""

    answers_per_day: Fraction
    correct: tuple[Fraction, float, float] | None
    external_nusd: Fraction | None
    movable_share: Fraction
    today_nusd_per_month: int
    today_machines: int


@dataclass(frozen=True)
class Offer:
    """One device for all of it. Nano-dollars; None where it can't do it, or where nothing was measured to say it."""

    profile: Profile
    carried: Carried
    service_ms: float
    servers: int | None = None
    utilisation: float | None = None
    response_ms: float | None = None
    how: str = ""
    once_nusd: int | None = None
    running_nusd_per_month: int | None = None
    month_nusd: int | None = None
    answer_nusd: Fraction | None = None
    correct_nusd: tuple[int, int, int] | None = None
    month_against_external: int | None = None
    month_against_today: int | None = None

    @property
    def simulated(self) -> bool:
        return self.profile.id != MEASURED


@dataclass(frozen=True)
class Move:
    """From a device to the best of another vendor: once, and each month from then on (negative: cheaper)."""

    to: Offer
    once_nusd: int
    month_nusd: int


def compare(trace: Trace, devices: Devices, facts: Facts, terms: Terms) -> list[Offer]:
    """An offer a device, the cheapest that can do it first; those that can't, last."""
    offers = [_offer(trace, devices, profile, facts, terms) for profile in devices.profiles.values()]
    return sorted(offers, key=lambda o: (o.month_nusd is None, o.month_nusd or 0, o.profile.id))


def _offer(trace: Trace, devices: Devices, profile: Profile, facts: Facts, terms: Terms) -> Offer:
    carried = carry(devices, profile, precision=terms.precision, efficiency=terms.efficiency)
    there = trace.on(carried.share, 0.0 if profile.id == MEASURED else terms.overhead_us / 1e6)
    service_ms = float(there.services_s.mean() * 1000)
    planner = Planner(there, target_ms=terms.target_ms, percentile=terms.percentile)
    needed = planner.smallest(terms.factor)
    price = _cheapest(profile, terms)
    if needed is None or price is None:
        return Offer(profile, carried, service_ms)
    servers = max(needed, ceil(there.load * terms.factor / terms.utilisation - 1e-9))
    outcome = planner.at(terms.factor, servers)
    how, once, running, month = (price[0], *(servers * part for part in price[1:]))
    answers = facts.answers_per_day * Fraction(terms.factor) * DAYS_PER_MONTH
    each = month / answers if answers else None
    return Offer(
        profile, carried, service_ms, servers, outcome.utilisation, outcome.response_ms[95], how, once, running, month,
        each, _per_correct(each, facts), _pays_outside(once, running, answers, facts, terms),
        _months(once, _today(servers, trace, facts, terms) - running, terms.life_months),
    )  # fmt: skip


def _cheapest(profile: Profile, terms: Terms) -> tuple[str, int, int, int] | None:
    """(buy or rent, once, running a month, all of it a month) of one machine, whichever is less a month."""
    ways: list[tuple[str, int, int, int]] = []
    bought = terms.price_usd.get(profile.id, profile.price_usd)
    rented = terms.cloud_usd.get(profile.id, profile.cloud_usd_per_hour)
    if bought is not None:
        watts, once = terms.watts.get(profile.id, profile.watts), bought
        if profile.kind != "cpu":
            watts, once = watts + terms.host_watts, bought + terms.host_usd
        machine = MachineTerms(
            "", capex_usd=once, life_months=terms.life_months, watts=watts, pue=terms.pue, usd_per_kwh=terms.usd_per_kwh,
            operations_usd_per_month=terms.upkeep_usd_per_month,
        )  # fmt: skip
        running = _month(replace(machine, capex_usd=Decimal(0)))
        ways.append(("buy", usd_to_nusd(once), running, _month(machine)))
    if rented is not None:
        cloud = MachineTerms("", usd_per_hour=rented, operations_usd_per_month=terms.upkeep_usd_per_month)
        ways.append(("rent", 0, _month(cloud), _month(cloud)))
    return min(ways, key=lambda way: way[3]) if ways else None


def _month(machine: MachineTerms) -> int:
    return round(standard_bill(machine, EPOCH).nusd * HOURS_PER_MONTH)


def _per_correct(each: Fraction | None, facts: Facts) -> tuple[int, int, int] | None:
    if each is None or facts.correct is None:
        return None
    rate, worst, best = facts.correct
    if not rate or worst <= 0:
        return None
    return round(each / rate), round(each / Fraction(best)), round(each / Fraction(worst))


def _pays_outside(once: int, running: int, answers: Fraction, facts: Facts, terms: Terms) -> int | None:
    """The month from which it has cost less than the vendor, for the part of the work that may leave."""
    if facts.external_nusd is None or not facts.movable_share:
        return None
    saved = facts.external_nusd * answers * facts.movable_share - running * facts.movable_share
    return _months(round(once * facts.movable_share), saved, terms.life_months)


def _today(servers: int, trace: Trace, facts: Facts, terms: Terms) -> Fraction:
    """What today's kind of machine costs a month for the same work: as many as there are, or as the factor asks for."""
    if not facts.today_machines:
        return Fraction(0)
    needed = ceil(trace.load * terms.factor / terms.utilisation - 1e-9)
    return Fraction(facts.today_nusd_per_month, facts.today_machines) * max(needed, facts.today_machines)


def _months(once: int, saved_per_month: Fraction | int, life_months: int) -> int | None:
    """The first month at whose end `once` has been earned back; None when it wears out before that."""
    if saved_per_month <= 0:
        return None
    month = max(1, ceil(Fraction(once) / Fraction(saved_per_month)))
    return month if month <= life_months else None


def leave(offer: Offer, offers: list[Offer], terms: Terms) -> Move | None:
    """The cheapest device of another vendor: moving the work and buying the machines once, the difference a month."""
    others = [o for o in offers if o.profile.vendor != offer.profile.vendor and o.month_nusd is not None]
    best = min(others, key=lambda o: (o.month_nusd or 0, o.profile.id), default=None)
    if best is None or best.month_nusd is None or offer.month_nusd is None:
        return None
    once = usd_to_nusd(terms.move_usd) + (best.once_nusd or 0)
    return Move(best, once, best.month_nusd - offer.month_nusd)
