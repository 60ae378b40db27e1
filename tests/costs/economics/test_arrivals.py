"""Arrivals one by one: hand-worked queues and bills, and the traces that ship."""

from __future__ import annotations

import numpy as np
import pytest

from bench.tools.arrivals import SHIPPED
from costs.economics.arrivals import Requests, cheapest, machines_for, overflow, read_requests
from costs.economics.assumptions import values

# A token in takes a second at home and costs a dollar outside; a machine costs a dollar a second.
NUMBERS = values(
    {"prefill_tokens_per_s": 1.0, "decode_tokens_per_s": 1.0, "gpu_usd_per_hour": 3600.0, "small_usd_per_mtok_in": 1e6,
     "small_usd_per_mtok_out": 2e6, "small_usd_per_mtok_cached": 0.5e6}
)  # fmt: skip


def requests(*rows: tuple[float, float, float, float]) -> Requests:
    """(arrival, tokens in, of them cached, tokens out)"""
    return Requests(*np.array(rows).T)


def test_what_was_seen_before_takes_no_time_and_costs_its_own_price() -> None:
    one = requests((0, 10, 4, 3), (5, 1, 0, 0))
    assert one.services_s(NUMBERS).tolist() == [6 + 3, 1]
    assert one.usd("small", NUMBERS).tolist() == [6 + 4 * 0.5 + 3 * 2, 1]


def test_who_would_wait_too_long_goes_out() -> None:
    """Three ask at 0, 1 and 2, four seconds each, before one machine: waits would be 0, 3 and 6."""
    three = requests((0, 4, 0, 0), (1, 4, 0, 0), (2, 4, 0, 0), (10, 1, 0, 0))
    patient = overflow(three, 1, NUMBERS, patience_s=6)
    assert (patient.out, patient.longest_wait_s, patient.usd) == (0, 6, 10)
    hasty = overflow(three, 1, NUMBERS, patience_s=2)
    assert (hasty.out, hasty.longest_wait_s) == (1, 2), "the third begins at 4, when the first has ended"
    assert hasty.usd == pytest.approx(10 + 4)
    assert overflow(three, 0, NUMBERS, patience_s=9).usd == pytest.approx(13)


def test_the_cheapest_number_of_machines_is_found_by_trying() -> None:
    rare = requests((0, 1, 0, 0), (100, 1, 0, 0))
    assert (cheapest(rare, NUMBERS, patience_s=1).machines, cheapest(rare, NUMBERS, patience_s=1).out) == (
        0,
        2,
    )
    busy = requests(*((float(t), 3, 0, 0) for t in range(100)))
    best = cheapest(busy, NUMBERS | {"small_usd_per_mtok_in": 2e6}, patience_s=1)
    assert (best.machines, best.usd, best.out) == (3, 3 * 99, 0), (
        "two machines cost 198, and 32 that don't fit 6 dollars each"
    )


def test_machines_are_counted_by_waiting_not_by_averages() -> None:
    burst = requests((0, 4, 0, 0), (0, 4, 0, 0), (0, 4, 0, 0), (0, 4, 0, 0), (1000, 1, 0, 0))
    assert machines_for(burst, NUMBERS, wait_s=0, share=1.0) == 4, "averages say one"
    assert machines_for(burst, NUMBERS, wait_s=4, share=1.0) == 2
    assert machines_for(burst, NUMBERS, wait_s=0, share=0.4) == 1


def test_the_traces_that_ship_are_whole_and_in_order() -> None:
    found = read_requests(SHIPPED)
    assert {name: len(one.arrivals_s) for name, one in found.items()} == {
        "azure-code": 6_521, "azure-conv": 12_340, "mooncake": 6_848,
    }  # fmt: skip
    for one in found.values():
        assert (np.diff(one.arrivals_s) >= 0).all() and (one.cached <= one.tokens_in).all()
        assert len(one.first(0.2).arrivals_s) < len(one.arrivals_s) / 2
    seen = found["mooncake"].cached.sum() / found["mooncake"].tokens_in.sum()
    assert 0.2 < seen < 0.5 and found["azure-conv"].cached.sum() == 0


def test_more_machines_never_send_more_out_on_real_arrivals() -> None:
    one, numbers = read_requests(SHIPPED)["azure-conv"].first(0.1), values({"prefill_tokens_per_s": 4_000.0})
    out = [overflow(one, n, numbers, patience_s=0.5).out for n in range(8)]
    assert out == sorted(out, reverse=True) and out[0] == len(one.arrivals_s) and out[-1] < out[0] / 10
