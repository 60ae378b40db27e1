"""What stands out and what doesn't: planted days are found and named, ordinary ones left in peace."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from bench.foresight_tools import SHIPPED, hunt, make_company, plant, read_rates
from costs.foresight import bursts, detect
from costs.foresight.factors import Day, Use, total

FIRST = date(2026, 3, 2)  # a Monday


def ordinary(n: int = 60, seed: int = 5, scale: float = 1.0) -> list[Day]:
    """Fewer requests at weekends, a few per cent of noise, two deployments."""
    random = np.random.default_rng(seed)
    days: list[Day] = []
    for i in range(n):
        asked = scale * (1_000 if i % 7 < 5 else 300) * random.lognormal(0, 0.08)
        uses = {}
        for name, share, price in (("home", 0.7, 2.0), ("out", 0.3, 9.0)):
            requests = float(round(asked * share))
            tokens = requests * 40 * random.lognormal(0, 0.02)
            uses[name] = Use(requests, {"output": (tokens, tokens * price)})
        days.append(uses)
    return days


def changed(day: Day, *, requests: float = 1.0, tokens: float = 1.0, price: float = 1.0) -> Day:
    return {
        name: Use(
            use.requests * requests,
            {k: (q * requests * tokens, c * requests * tokens * price) for k, (q, c) in use.units.items()},
        )
        for name, use in day.items()
    }


def test_ordinary_weeks_with_their_weekends_are_left_in_peace() -> None:
    for seed in range(12):
        assert detect.find(ordinary(90, seed), FIRST) == []


@pytest.mark.parametrize(
    ("change", "factor", "words"),
    [
        ({"requests": 3.2}, "requests", "requests ×"),
        ({"price": 1.4}, "price", "price of out +40%"),
        ({"tokens": 2.0}, "tokens", "output tokens a request ×"),
        ({"requests": 0.1}, "requests", "requests ×0.1"),
    ],
)
def test_a_planted_day_is_found_with_its_cause(change: dict[str, float], factor: str, words: str) -> None:
    days = ordinary()
    days[45] = changed(days[45], **change)
    [found] = detect.find(days, FIRST)
    assert (found.day, found.factor) == (FIRST + timedelta(days=45), factor)
    assert words in found.cause
    assert sum(found.parts.values()) == found.spent - found.expected
    assert found.score >= -(detect.RARE + detect.AT_MOST) / np.log(10)


def test_a_saturday_as_busy_as_a_monday_is_within_what_was_seen() -> None:
    days = ordinary()
    days[47] = changed(days[47], requests=3.3)
    assert detect.find(days, FIRST) == []


def test_a_new_price_is_told_once_and_then_it_is_the_price() -> None:
    days = ordinary(95)
    days[45:] = [changed(day, price=1.5) for day in days[45:]]
    assert [f.day for f in detect.find(days, FIRST)] == [FIRST + timedelta(days=45)]
    days[85] = changed(days[85], price=1.5)
    assert [f.day for f in detect.find(days, FIRST)][1:] == [FIRST + timedelta(days=85)]


def test_what_is_small_beside_the_organisation_is_let_pass() -> None:
    days = ordinary()
    days[45] = changed(days[45], requests=3)
    assert len(detect.find(days, FIRST)) == 1
    assert detect.find(days, FIRST, usual_nusd=1e9) == []


def test_a_quiet_day_is_told_only_when_it_is_much_of_the_organisations() -> None:
    """A workload that is a hundredth of the spending rests: nobody is woken. When a tenth of it rests, somebody is."""
    days = ordinary()
    days[45] = changed(days[45], requests=0.1)
    own = total(days[44])
    assert [f.day for f in detect.find(days, FIRST, usual_nusd=10 * own)] == [FIRST + timedelta(days=45)]
    assert detect.find(days, FIRST, usual_nusd=100 * own) == []
    days[45] = changed(days[45], requests=50)
    assert len(detect.find(days, FIRST, usual_nusd=100 * own)) == 1, "five times as much is told as before"


def test_the_more_workloads_are_judged_the_rarer_each_must_be_but_for_the_large_ones() -> None:
    days = ordinary()
    own = total(days[44])
    days[45] = changed(days[45], requests=1.5)

    def told(workloads: int, of_own: float) -> int:
        return len(detect.find(days, FIRST, usual_nusd=of_own * own, workloads=workloads))

    assert told(1, 300) == told(detect.CHOSEN_ON, 300) == 1
    assert told(300, 300) == 0, "one of three hundred: such a day is somebody's every week"
    assert told(300, 5) == told(3_000, 5) == 1, "a fifth of the spending is never one of many"


def test_a_price_is_told_where_as_many_more_requests_would_be_let_pass() -> None:
    """Somebody decided it; requests of a workload that is a thousandth of the spending are nobody's news."""
    days = ordinary()
    usual = 1_000 * total(days[44])
    days[45] = changed(days[45], requests=2.5)
    assert detect.find(days, FIRST, usual_nusd=usual) == []
    days[45] = changed(ordinary()[45], price=2.5)
    assert [f.factor for f in detect.find(days, FIRST, usual_nusd=usual)] == ["price"]
    assert detect.find(days, FIRST, usual_nusd=1e5 * usual) == [], "even a price can be too small for a line"


def test_ratios_of_a_day_with_hardly_any_requests_are_weighed_by_what_that_day_cost() -> None:
    """Twenty-one long questions on a day that usually has a thousand: nothing that anybody paid for."""
    days = ordinary()
    usual = 10_000 * total(days[44])
    days[45] = changed(days[45], requests=0.03, tokens=3)
    assert detect.find(days, FIRST, usual_nusd=usual) == []
    days[45] = changed(ordinary()[45], tokens=3)
    assert [f.factor for f in detect.find(days, FIRST, usual_nusd=usual)] == ["tokens"]


def test_nine_days_are_too_few_to_say_anything_of_the_tenth() -> None:
    days = ordinary(12)
    days[9] = changed(days[9], requests=9)
    assert detect.find(days[:10], FIRST) == []


def test_the_application_that_asked_is_named() -> None:
    days = ordinary()
    days[45] = changed(days[45], requests=4)
    asked = [{"desk": 500.0, "bot": 300.0} for _ in days]
    asked[45] = {"desk": 520.0, "bot": 3_000.0}
    [found] = detect.find(days, FIRST, applications=asked)
    assert found.cause.endswith("most of it from application bot")


def test_recall_is_high_and_false_alarms_are_rare_on_months_built_from_the_trace() -> None:
    rates = read_rates(SHIPPED)
    hits, planted, alarms, months = 0.0, 0, 0, 0.0
    for seed in range(2):
        company = make_company(rates, {}, 224, seed)
        changed_company, planned = plant(company, 42, np.random.default_rng(1000 + seed), each=5)
        found, clean = hunt(changed_company, planned, 42), hunt(company, [], 42)
        hits += found.recall * len(planned)
        planted += len(planned)
        alarms, months = alarms + clean.false_alarms, months + clean.months
        assert found.named >= 0.9
    assert hits / planted >= 0.9
    assert alarms / months <= 1


def hour(requests: float, price: float = 5.0) -> Day:
    return {"out": Use(requests, {"output": (requests * 30, requests * 30 * price)})}


def test_an_hour_that_spends_a_good_part_of_a_day_is_told_with_its_cause() -> None:
    past = [hour(100 if h % 24 in range(8, 18) else 5) for h in range(24 * 14)]
    found = bursts.find_burst(past, hour(2_000))
    assert found is not None and found.factor == "requests" and "requests ×" in found.cause
    assert sum(found.parts.values()) == found.spent - found.expected
    assert bursts.find_burst(past, hour(180)) is None, "a busy hour is no burst"
    assert bursts.find_burst(past[:100], hour(9_000)) is None, "too little is known"
    assert bursts.find_burst(past, hour(2_000), usual_nusd=1e9) is None, "small beside the organisation"
