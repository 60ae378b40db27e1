"""The queue against closed forms, against another way to reckon it, and against cases worked by hand."""

from __future__ import annotations

from math import factorial, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costs.planning.queueing import Planner, Trace, replay, waits_s

JOBS, WARM_UP = 200_000, 20_000


def poisson(rate: float, seed: int, jobs: int = JOBS) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, jobs))


def erlang_c(servers: int, load: float) -> float:
    """The chance to wait in M/M/c, from the sum in the textbook (Erlang 1917)."""
    waiting = load**servers / factorial(servers) * servers / (servers - load)
    return waiting / (sum(load**k / factorial(k) for k in range(servers)) + waiting)


def close(values: np.ndarray, theory: float) -> bool:
    """Within four standard errors, from the means of fifty batches: neighbouring waits are far from independent."""
    settled = values[WARM_UP:]
    batches = settled[: len(settled) // 50 * 50].reshape(50, -1).mean(axis=1)
    return abs(settled.mean() - theory) <= 4 * batches.std(ddof=1) / 50**0.5


@pytest.mark.parametrize("load", [0.3, 0.7, 0.85])
def test_one_server_waits_as_m_m_1_says(load: float) -> None:
    services = np.random.default_rng(2).exponential(1, JOBS)
    waits = waits_s(poisson(load, 1), services, 1)
    assert close(waits, load / (1 - load))
    assert close((waits > 0).astype(float), load), "an arrival finds the server busy as often as it works"


def test_the_95th_percentile_of_m_m_1_is_the_exponentials() -> None:
    trace = Trace(poisson(0.6, 3), np.random.default_rng(4).exponential(1, JOBS))
    found = replay(trace, 1, factor=1, target_ms=1000)
    assert found.response_ms[95] == pytest.approx(1000 * -log(0.05) / 0.4, rel=0.03)
    assert found.over_target == pytest.approx(np.exp(-0.4), abs=0.01)
    assert found.utilisation == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(("servers", "load"), [(2, 1.4), (3, 2.5), (8, 6.8)])
def test_several_servers_wait_as_erlang_c_says(servers: int, load: float) -> None:
    services = np.random.default_rng(6).exponential(1, JOBS)
    waits = waits_s(poisson(load, 5), services, servers)
    chance = erlang_c(servers, load)
    assert close((waits > 0).astype(float), chance)
    assert close(waits, chance / (servers - load))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_equal_jobs_wait_half_as_long_m_d_1(load: float) -> None:
    waits = waits_s(poisson(load, 7), np.ones(JOBS), 1)
    assert close(waits, load / (2 * (1 - load)))


def kiefer_wolfowitz(arrivals: np.ndarray, services: np.ndarray, servers: int) -> list[float]:
    """The sorted vector of what each server still has to do (Kiefer and Wolfowitz 1955), written as the paper has it."""
    left, waits = np.zeros(servers), []
    gaps = [*np.diff(arrivals), 0.0]
    for service, gap in zip(services, gaps, strict=True):
        waits.append(float(left[0]))
        left[0] += service
        left = np.sort(np.maximum(left - gap, 0.0))
    return waits


jobs = st.lists(
    st.tuples(st.floats(0, 5, allow_subnormal=False), st.floats(0.001, 5)), min_size=2, max_size=60
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(jobs, st.integers(1, 6))
def test_every_wait_is_that_of_the_workload_vector(rows: list[tuple[float, float]], servers: int) -> None:
    arrivals, services = np.cumsum([gap for gap, _ in rows]), np.array([service for _, service in rows])
    assert waits_s(arrivals, services, servers) == pytest.approx(
        kiefer_wolfowitz(arrivals, services, servers), abs=1e-9
    )


@settings(max_examples=100, deadline=None)
@given(jobs)
def test_more_servers_never_make_anybody_wait_longer(rows: list[tuple[float, float]]) -> None:
    arrivals, services = np.cumsum([gap for gap, _ in rows]), np.array([service for _, service in rows])
    before = waits_s(arrivals, services, 1)
    for servers in range(2, 5):
        waits = waits_s(arrivals, services, servers)
        assert np.all(waits <= before + 1e-9)
        before = waits
    assert not np.any(waits_s(arrivals, services, len(rows)))


def test_a_case_by_hand() -> None:
    arrivals, services = np.array([0.0, 1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0, 1.0])
    assert waits_s(arrivals, services, 1).tolist() == [0, 2, 3, 3]
    assert waits_s(arrivals, services, 2).tolist() == [0, 0, 1, 0]
    trace = Trace(arrivals, services)
    assert trace.load == pytest.approx(7 / 4), "an arrival a second, 7/4 seconds of work each"
    twice = replay(trace, 2, factor=2, target_ms=3000)
    assert twice.wait_ms[50] == pytest.approx(np.median([0, 0, 1.5, 1.5]) * 1000)
    assert not twice.stable and twice.utilisation == pytest.approx(7 / 4)


def bursts(hour: int = 40) -> Trace:
    """Ten jobs at once every hundred seconds: an average of 10 % busy that still queues."""
    at = np.repeat(np.arange(hour) * 100.0, 10)
    return Trace(at, np.ones(len(at)))


def test_averages_would_say_one_server_and_the_queue_says_five() -> None:
    trace = bursts()
    assert trace.load < 0.11, "one server is busy a tenth of the time"
    planner = Planner(trace, target_ms=2000, percentile=95)
    assert planner.smallest(1) == 5, "ten at once, each a second, two seconds at most"
    assert planner.at(1, 5).over_target == 0 and planner.at(1, 4).over_target == pytest.approx(0.2)


def test_the_smallest_number_is_the_first_that_meets_the_target() -> None:
    random = np.random.default_rng(8)
    trace = Trace(np.cumsum(random.exponential(0.05, 5000)), random.exponential(1, 5000))
    planner = Planner(trace, target_ms=3500, percentile=95)
    for factor in (0.5, 1, 2):
        found = planner.smallest(factor)
        assert found is not None
        meeting = [
            n for n in range(1, found + 3) if replay(trace, n, factor=factor, target_ms=3500).meets(95)
        ]
        assert meeting[0] == found


def test_no_number_of_servers_helps_where_the_work_alone_is_too_slow() -> None:
    planner = Planner(bursts(), target_ms=999, percentile=95)
    assert planner.smallest(1) is None
    assert {row.servers for row in planner.table([1])} == {1}


def test_a_load_that_no_thousand_servers_carry_is_refused_without_trying() -> None:
    trace = Trace(np.linspace(0, 1, 100), np.full(100, 60.0))
    assert Planner(trace, target_ms=1e9, percentile=95).smallest(1) is None


def test_where_nobody_waits_more_servers_are_not_replayed_again() -> None:
    calm = Trace(np.arange(50) * 10.0, np.ones(50))
    planner = Planner(calm, target_ms=2000, percentile=95)
    one, many = planner.at(1, 1), planner.at(1, 7)
    assert many.response_ms == one.response_ms and many.utilisation == pytest.approx(one.utilisation / 7)
    assert many == replay(calm, 7, factor=1, target_ms=2000)


@pytest.mark.parametrize(
    ("arrivals", "services"),
    [([0.0], [1.0]), ([0.0, 0.0], [1.0, 1.0]), ([1.0, 0.0], [1.0, 1.0]), ([0.0, 1.0], [1.0, 0.0]), ([0.0, 1.0], [1.0])],
)  # fmt: skip
def test_a_trace_that_is_none_is_refused(arrivals: list[float], services: list[float]) -> None:
    with pytest.raises(ValueError, match="queue|Arrivals|Service"):
        Trace(np.array(arrivals), np.array(services))


def test_nobody_can_be_served_by_no_server() -> None:
    with pytest.raises(ValueError, match="at least one"):
        waits_s(np.array([0.0, 1.0]), np.array([1.0, 1.0]), 0)
