"""Purchase advice by hand: money of buying and renting, machines from the queue, pay-back, leaving the vendor."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from costs.planning.advice import DAYS_PER_MONTH, Facts, Terms, compare, leave
from costs.planning.devices import MEASURED, load
from costs.planning.queueing import Planner, Trace

DEVICES = load()
USD = 1_000_000_000


def trace(gap_s: float = 60.0, service_s: float = 0.0056, jobs: int = 3000) -> Trace:
    random = np.random.default_rng(1)
    return Trace(np.cumsum(random.exponential(gap_s, jobs)), np.full(jobs, service_s))


FACTS = Facts(
    answers_per_day=Fraction(1440), correct=(Fraction(9, 10), 0.85, 0.95), external_nusd=Fraction(10_000_000),
    movable_share=Fraction(1), today_nusd_per_month=62 * USD, today_machines=1,
)  # fmt: skip
TERMS = Terms(cloud_usd={MEASURED: Decimal("0.085")}, utilisation=1.0)


def by_id(facts: Facts = FACTS, terms: Terms = TERMS, of: Trace | None = None) -> dict:
    return {offer.profile.id: offer for offer in compare(of or trace(), DEVICES, facts, terms)}


def test_a_rented_machine_costs_its_rate_for_the_hours_of_a_month() -> None:
    own = by_id()[MEASURED]
    assert (own.how, own.servers, own.once_nusd) == ("rent", 1, 0)
    assert own.month_nusd == round(85_000_000 * Decimal("730.5"))
    assert not own.simulated


def test_a_bought_device_is_purchase_over_life_and_power() -> None:
    """L4: 2,500 + 3,000 for the host over 48 months, and (72 + 200) W × 1.4 × $0.15."""
    l4 = by_id()["nvidia-l4"]
    hourly = (2500 + 3000) / (48 * 730.5) + 0.272 * 1.4 * 0.15
    assert (l4.how, l4.servers, l4.once_nusd) == ("buy", 1, 5500 * USD)
    assert l4.month_nusd == pytest.approx(hourly * 730.5 * USD, abs=1000)
    assert l4.running_nusd_per_month == pytest.approx(0.272 * 1.4 * 0.15 * 730.5 * USD, abs=1000)
    assert l4.simulated


def test_a_correct_answer_is_the_month_by_answers_by_the_share_right() -> None:
    own = by_id()[MEASURED]
    answers = 1440 * DAYS_PER_MONTH
    assert own.correct_nusd is not None and own.month_nusd is not None
    middle, low, high = own.correct_nusd
    assert middle == round(own.month_nusd / answers / Fraction(9, 10))
    assert low == pytest.approx(own.month_nusd / answers / Fraction(0.95), abs=1)
    assert high == pytest.approx(own.month_nusd / answers / Fraction(0.85), abs=1)
    assert by_id(replace(FACTS, correct=None))[MEASURED].correct_nusd is None


def test_it_pays_from_the_month_in_which_it_has_earned_itself_back() -> None:
    """Outside 1,440 answers a day at a cent: $438.3 a month. L4: $5,500 once, $41.73 a month to run: month 14."""
    offers = by_id()
    assert offers["nvidia-l4"].month_against_external == 14
    assert offers[MEASURED].month_against_external == 1, "a rented one costs less from the first month on"
    none_may_leave = by_id(replace(FACTS, movable_share=Fraction(0)))
    assert none_may_leave["nvidia-l4"].month_against_external is None
    assert by_id(terms=replace(TERMS, life_months=13))["nvidia-l4"].month_against_external is None, (
        "it wears out before it has paid"
    )


def test_part_of_the_work_that_may_leave_pays_its_part() -> None:
    half = by_id(replace(FACTS, movable_share=Fraction(1, 2)))
    assert half["nvidia-l4"].month_against_external == 14, "half the machine against half the bill"


def test_todays_machine_is_cheaper_to_keep_until_the_load_grows() -> None:
    assert by_id()["nvidia-a100-80gb"].month_against_today is None
    crowd = by_id(replace(FACTS, answers_per_day=Fraction(1440 * 120_000)), replace(TERMS, factor=120_000))
    assert crowd[MEASURED].servers >= 12
    assert crowd["nvidia-a100-80gb"].month_against_today is not None


def test_machines_follow_from_the_queue_and_from_planned_utilisation() -> None:
    busy, terms = trace(gap_s=0.007), replace(TERMS, target_ms=20.0)
    found = by_id(terms=terms, of=busy)[MEASURED]
    planner = Planner(busy, target_ms=20.0, percentile=95)
    assert found.servers == planner.smallest(1) > 1
    relaxed = by_id(terms=replace(terms, target_ms=1e6, utilisation=0.1), of=busy)[MEASURED]
    assert relaxed.servers == int(np.ceil(busy.load / 0.1)), "eight, though one keeps up"


def test_a_device_that_can_never_be_fast_enough_has_no_price() -> None:
    offers = compare(trace(), DEVICES, FACTS, replace(TERMS, target_ms=1.0))
    slow = {o.profile.id for o in offers if o.month_nusd is None}
    assert MEASURED in slow and "nvidia-a100-80gb" not in slow
    assert [o.month_nusd is None for o in offers] == sorted(o.month_nusd is None for o in offers), (
        "those come last"
    )


def test_leaving_a_vendor_goes_to_the_cheapest_of_another() -> None:
    offers = compare(trace(), DEVICES, FACTS, TERMS)
    found = {o.profile.id: leave(o, offers, TERMS) for o in offers}
    from_cpu, from_l4 = found[MEASURED], found["nvidia-l4"]
    assert from_cpu is not None and from_cpu.to.profile.id == "nvidia-l4"
    assert from_cpu.once_nusd == (20_000 + 5500) * USD
    assert from_l4 is not None and from_l4.to.profile.id == MEASURED and from_l4.once_nusd == 20_000 * USD
    assert from_cpu.month_nusd == -from_l4.month_nusd > 0


def test_every_assumption_moves_the_figure_it_should() -> None:
    base = by_id()["nvidia-l4"]
    assert (
        by_id(terms=replace(TERMS, price_usd={"nvidia-l4": Decimal(5000)}))["nvidia-l4"].once_nusd
        == 8000 * USD
    )
    assert by_id(terms=replace(TERMS, watts={"nvidia-l4": 720}))["nvidia-l4"].month_nusd > base.month_nusd
    assert by_id(terms=replace(TERMS, usd_per_kwh=Decimal("0.30")))["nvidia-l4"].month_nusd > base.month_nusd
    assert by_id(terms=replace(TERMS, life_months=24))["nvidia-l4"].month_nusd > base.month_nusd
    assert by_id(terms=replace(TERMS, efficiency=0.1))["nvidia-l4"].service_ms > base.service_ms
    assert by_id(terms=replace(TERMS, overhead_us=1200.0))["nvidia-l4"].service_ms == pytest.approx(
        base.service_ms + 1
    )
    assert by_id(terms=replace(TERMS, cloud_usd={"nvidia-l4": Decimal("0.01")}))["nvidia-l4"].how == "rent"
