"""The smoothing recursion against statsmodels, and against a series whose future is known."""

from __future__ import annotations

import numpy as np
import pytest

from costs.foresight import ets, seasonal
from costs.foresight.student import quantile


def weekly(n: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 100 + 20 * np.sin(np.arange(n) * 2 * np.pi / 7) + random.normal(0, 5, n)


@pytest.mark.parametrize("parameters", [(0.1, 0.01, 0.05), (0.4, 0.0, 0.2), (0.02, 0.002, 0.0)])
def test_states_and_errors_agree_with_statsmodels(parameters: tuple[float, float, float]) -> None:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    series = weekly(70)
    level, season = ets.start_states(series)
    levels, trends, seasons, errors = ets.smooth(series, np.array([parameters]), level, season, 0.95)
    alpha, beta, gamma = parameters
    reference = ETSModel(
        series, error="add", trend="add", damped_trend=True, seasonal="add", seasonal_periods=7,
        initialization_method="known", initial_level=level, initial_trend=0.0, initial_seasonal=season,
    )  # fmt: skip
    # statsmodels lists the initial seasons newest first.
    fitted = reference.smooth([alpha, beta, gamma, 0.95, level, 0.0, *season[::-1]])
    assert errors[:, 0] == pytest.approx(fitted.resid, abs=1e-8)
    ahead = fitted.forecast(10)
    steps = np.arange(1, 11)
    own = levels[-1, 0] + trends[-1, 0] * np.cumsum(0.95**steps) + seasons[-1, 0, (70 + steps - 1) % 7]
    assert own == pytest.approx(ahead, abs=1e-8)


def test_an_origin_knows_nothing_of_what_comes_after_it() -> None:
    series, changed = weekly(60), weekly(60)
    changed[40:] *= 9
    methods = (
        ets.paths,
        seasonal.long_mean,
        seasonal.recent_mean,
        seasonal.seasonal_naive,
        seasonal.weekday_profile,
    )
    for method in methods:
        origins = np.array([20, 40])
        assert method(series, origins, 12) == pytest.approx(method(changed, origins, 12)), method.__name__


def test_a_weekly_pattern_is_carried_on() -> None:
    series = np.tile([10.0, 10, 10, 10, 10, 2, 2], 12)
    for method in (ets.paths, seasonal.seasonal_naive):
        [path] = method(series, np.array([84]), 14)
        assert path == pytest.approx(series[:14], abs=1e-6), method.__name__
    [shrunk] = seasonal.weekday_profile(series, np.array([84]), 7)
    assert shrunk[0] > 3 * shrunk[6] and shrunk.sum() == pytest.approx(54, rel=0.02)


def test_quantiles_are_those_of_the_tables() -> None:
    assert quantile(0.95, 5) == pytest.approx(2.015, abs=5e-4)
    assert quantile(0.975, 10) == pytest.approx(2.228, abs=5e-4)
