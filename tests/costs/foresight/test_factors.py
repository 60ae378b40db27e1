"""A day's difference taken apart: hand-worked cases, and parts that always sum to the whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.foresight.factors import Use, cause, mean, split, total


def use(requests: float, tokens: float, price: float) -> Use:
    """`tokens` a request, each at `price`."""
    return Use(requests, {"output": (requests * tokens, requests * tokens * price)})


def test_one_factor_alone_carries_the_whole_difference() -> None:
    before = {"a": use(100, 10, 2)}
    assert split(before, {"a": use(320, 10, 2)}) == {"requests": 4_400, "tokens": 0, "price": 0, "mix": 0}
    assert split(before, {"a": use(100, 20, 2)}) == {"requests": 0, "tokens": 2_000, "price": 0, "mix": 0}
    assert split(before, {"a": use(100, 10, 2.5)}) == {"requests": 0, "tokens": 0, "price": 500, "mix": 0}


def test_two_factors_share_what_they_did_together() -> None:
    parts = split({"a": use(10, 1, 10)}, {"a": use(20, 1, 20)})
    # 100 → 400: twice the requests alone are 100, twice the price alone 100, and the 100 of both is halved.
    assert parts == {"requests": 150, "tokens": 0, "price": 150, "mix": 0}


def test_the_same_requests_at_a_dearer_deployment_are_a_matter_of_the_mix() -> None:
    before = {"home": use(90, 10, 1), "out": use(10, 10, 5)}
    after = {"home": use(20, 10, 1), "out": use(80, 10, 5)}
    parts = split(before, after)
    assert parts["mix"] == pytest.approx(2_800, abs=1) and sum(parts.values()) == 2_800
    assert cause(before, after, "mix") == "out answered 80% of the requests, 10% before"


def test_a_deployment_that_is_new_is_mix_and_one_that_fails_at_a_price_is_counted() -> None:
    parts = split({"home": use(100, 1, 1)}, {"home": use(50, 1, 1), "new": use(50, 1, 3)})
    assert parts == {"requests": 0, "tokens": 0, "price": 0, "mix": 100}
    failing = {"home": use(100, 1, 1), "out": Use(0, {"input": (500, 500)})}
    assert sum(split({"home": use(100, 1, 1)}, failing).values()) == 500


def test_from_nothing_and_to_nothing_is_a_matter_of_requests() -> None:
    assert split({}, {"a": use(5, 2, 3)}) == {"requests": 30, "tokens": 0, "price": 0, "mix": 0}
    assert split({"a": use(5, 2, 3)}, {}) == {"requests": -30, "tokens": 0, "price": 0, "mix": 0}
    assert split({}, {}) == {"requests": 0, "tokens": 0, "price": 0, "mix": 0}


def test_causes_are_said_in_one_line() -> None:
    before, asked = {"ext-mini": use(100, 10, 2)}, {"desk": (60.0, 280.0), "bot": (40.0, 40.0)}
    line = cause(before, {"ext-mini": use(320, 10, 2)}, "requests", asked)
    assert line == "requests ×3.2, most of it from application desk"
    assert cause(before, {"ext-mini": use(100, 10, 2.8)}, "price") == "price of ext-mini +40% (output)"
    assert cause(before, {"ext-mini": use(100, 20, 2)}, "tokens") == "output tokens a request ×2 at ext-mini"


def test_a_mean_day_counts_what_a_day_lacks_as_zero() -> None:
    found = mean([{"a": use(10, 1, 2)}, {"a": use(20, 1, 2), "b": use(4, 1, 1)}])
    assert (found["a"].requests, found["a"].cost_nusd, found["b"].requests) == (15, 30, 2)


amounts = st.tuples(
    st.integers(0, 10_000), st.floats(0.5, 500), st.floats(0.001, 10_000), st.sampled_from(["input", "compute"])
)  # fmt: skip


@st.composite
def days(draw: st.DrawFn) -> dict[str, Use]:
    day = {}
    for name in sorted(draw(st.sets(st.sampled_from("abc")))):
        n, length, price, kind = draw(amounts)
        units = {
            "output": (n * length, float(round(n * length * price))),
            kind: (n * 3.0, float(round(n * price))),
        }
        day[name] = Use(float(n), units if n else {"input": (1.0, float(draw(st.integers(0, 50))))})
    return day


@given(before=days(), after=days())
def test_parts_sum_to_the_difference_exactly_whatever_moved(
    before: dict[str, Use], after: dict[str, Use]
) -> None:
    assert sum(split(before, after).values()) == round(total(after)) - round(total(before))


@given(before=days(), after=days())
def test_the_way_back_costs_what_the_way_there_brought(before: dict[str, Use], after: dict[str, Use]) -> None:
    there, back = split(before, after), split(after, before)
    scale = max(1.0, total(before), total(after))
    for factor, amount in there.items():
        assert amount == pytest.approx(-back[factor], abs=2 + 1e-9 * scale)


def test_the_benchmark_needs_no_settings_of_django() -> None:
    """`make bench-economics` runs these modules alone."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    code = "import sys, bench.foresight_tools; assert 'django' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
