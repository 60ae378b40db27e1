"""Month's ends: hand-worked where the future is plain, and on months built from a public trace."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from bench.foresight_tools import FIRST, SHIPPED, SIX, forecast_series, read_rates
from costs.foresight import backtest


def test_an_even_spender_ends_the_month_at_the_day_rate_times_its_days() -> None:
    end = backtest.month_end([1_000] * 69, date(2026, 1, 1))  # up to and with 10 March
    assert (end.month, end.spent) == (date(2026, 3, 1), 10_000)
    assert (end.estimate, end.low, end.high) == (31_000, 31_000, 31_000)
    assert end.foreseen.mape == 0 and end.foreseen.backtests > 20
    assert [p["actual"] for p in end.points[:3]] == [1_000, 2_000, 3_000]
    assert end.points[-1] == {
        "day": "2026-03-31",
        "actual": None,
        "nusd": 31_000,
        "low": 31_000,
        "high": 31_000,
    }


def test_what_today_has_spent_already_is_in_the_estimate_and_under_the_interval() -> None:
    end = backtest.month_end([1_000] * 69, date(2026, 1, 1), spent_today=9_000)
    assert (end.spent, end.estimate) == (19_000, 39_000)
    assert end.low >= end.spent


def test_a_day_that_is_not_over_goes_on_as_such_days_do() -> None:
    """At noon an even spender has half a day before them, whatever the morning cost; what was spent is sure."""
    noon = backtest.month_end([1_000] * 69, date(2026, 1, 1), spent_today=700, gone_of_today=0.5)
    assert (noon.spent, noon.estimate) == (10_700, 10_000 + 700 + 500 + 20_000)
    assert noon.points[10] | {"low": 0, "high": 0} == {
        "day": "2026-03-11", "actual": 10_700, "nusd": 11_200, "low": 0, "high": 0,
    }  # fmt: skip
    midnight = backtest.month_end([1_000] * 69, date(2026, 1, 1), spent_today=0, gone_of_today=0.0)
    assert midnight.estimate == 31_000 and midnight.points[10]["actual"] is None
    night = backtest.month_end([1_000] * 69, date(2026, 1, 1), spent_today=300, gone_of_today=1.0)
    assert night.estimate == 30_300, "a quiet day stays a quiet one"


def test_the_interval_is_of_what_is_not_spent_yet() -> None:
    random = np.random.default_rng(3)
    days = [round(v) for v in 1_000 + random.normal(0, 200, 69)]
    late = backtest.month_end(days, date(2026, 1, 1), spent_today=900, gone_of_today=0.9)
    early = backtest.month_end(days, date(2026, 1, 1), spent_today=0, gone_of_today=0.0)
    rest = (late.estimate - late.spent) / (early.estimate - early.spent)
    assert (late.high - late.estimate) == pytest.approx((early.high - early.estimate) * rest, abs=2)


@pytest.mark.parametrize("began", [8, 13, 16])
def test_books_that_began_within_the_month_count_from_their_first_day(began: int) -> None:
    """More days of the month may be gone than the books have: each stands on its own day, and none is lost."""
    spends = [1_000 + day for day in range(began, 31)]
    end = backtest.month_end(spends, date(2026, 7, began), spent_today=7)
    assert end.spent == sum(spends) + 7
    assert [p["actual"] for p in end.points[began - 2 : began + 1]] == [0, 1_000 + began, 2_001 + 2 * began]
    assert end.estimate >= end.spent


def test_on_the_first_of_a_month_nothing_of_it_is_known_yet() -> None:
    end = backtest.month_end([500] * 59, date(2026, 1, 1))
    assert (end.month, end.spent, end.estimate) == (date(2026, 3, 1), 0, 31 * 500)


def test_too_few_days_are_refused_with_how_many_there_are() -> None:
    with pytest.raises(backtest.NotEnoughDays, match="13 whole days"):
        backtest.foresee([1.0] * 13, 10)
    short = backtest.foresee(list(range(100, 114)), 17)
    assert short.backtests >= 3 and len(short.days) == 17 and short.half_width > 0


def test_nothing_spent_is_foreseen_as_nothing() -> None:
    end = backtest.month_end([0] * 40, date(2026, 1, 1))
    assert (end.estimate, end.low, end.high) == (0, 0, 0)


def test_a_noisier_past_gives_a_wider_interval() -> None:
    random = np.random.default_rng(3)
    calm, wild = 1_000 + random.normal(0, 20, 90), 1_000 + random.normal(0, 300, 90)
    assert backtest.foresee(list(wild), 20).half_width > 5 * backtest.foresee(list(calm), 20).half_width


def test_a_whole_evaluation_is_counted_by_hand() -> None:
    days = [100] * 59 + [100] * 10 + [400] * 21  # March goes another way after day 10
    found = backtest.evaluate({"one": days}, date(2026, 1, 1), at_day=10, history_days=56)
    [only] = found["estimates"]
    assert (only["month"], only["actual"], only["estimate"]) == ("2026-03-01", 1_000 + 21 * 400, 3_100)
    assert only["error"] == pytest.approx(6_300 / 9_400) and not only["inside"]
    assert (found["n"], found["coverage"], found["by_series"]["one"]["n"]) == (1, 0.0, 1)
    assert found["run_rate_mape"] == pytest.approx(6_300 / 9_400)


def test_without_a_whole_month_after_enough_days_there_is_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match="56 days"):
        backtest.evaluate({"one": [1] * 60}, date(2026, 1, 1))


def test_on_months_built_from_the_trace_the_error_is_small_and_the_interval_honest() -> None:
    rates = read_rates(SHIPPED)
    assert set(rates) == set(SIX)
    series = {
        f"{seed}/{name}": days
        for seed in range(3)
        for name, days in forecast_series(rates, {}, 243, seed).items()
    }  # eight months, two of them known before the first estimate
    found = backtest.evaluate(series, FIRST)
    assert found["n"] == 3 * 7 * 6
    assert found["mape"] <= 0.10
    assert 0.85 <= found["coverage"] <= 0.97  # 126 months: ±5 points around 90 %
    assert found["mape"] < found["run_rate_mape"] < found["seasonal_naive_mape"]
