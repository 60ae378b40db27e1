"""A node's hours: bill = used + idle exactly, booked once, booked anew when late work arrives."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs import intervals, ledger
from costs.metering import record_events
from costs.models import LedgerEntry, Node, NodeInterval
from costs.pricing import HOUR_NS
from costs.rollups import HOUR, hour_of
from switchyard.core.money import largest_remainder
from tests.costs.events import NOON, make_event, private_attempt
from tests.factories import make_organisation

nanoseconds = st.integers(0, 2 * HOUR_NS)


@given(st.integers(0, 10**13), st.lists(st.integers(0, 10**13), min_size=1, max_size=30))
def test_largest_remainder_sums_exactly_and_is_fair_to_one_unit(total, weights):
    if sum(weights) == 0:
        return
    shares = largest_remainder(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert total * weight // sum(weights) <= share <= total * weight // sum(weights) + 1


@given(st.integers(0, 10**13), st.dictionaries(st.text(min_size=1, max_size=3), nanoseconds, max_size=12))
def test_an_intervals_shares_and_its_idle_rest_sum_to_the_bill(bill, used_ns):
    parts = intervals.allocate(bill, used_ns, HOUR_NS)
    assert parts.used_nusd + parts.idle_nusd == bill
    assert parts.idle_nusd >= 0 and all(share >= 0 for share in parts.shares.values())
    if sum(used_ns.values()) >= HOUR_NS:
        assert parts.idle_nusd == 0


def test_an_unused_hour_is_all_idle():
    assert intervals.allocate(77, {}, HOUR_NS).idle_nusd == 77


@pytest.fixture
def node(db):
    return Node.objects.create(
        organisation=make_organisation(),
        name="node-cpu-1",
        usd_per_hour=Decimal("0.05"),
        created_at=NOON - 2 * HOUR,
    )


def work(node, seconds, at=NOON, **changes):
    ns = seconds * 1_000_000_000
    record_events(
        [
            make_event(
                private_attempt(accelerator_ns=ns), at=at, organisation_id=node.organisation_id, **changes
            )
        ]
    )


def close(node, hours=3):
    return intervals.close_intervals(node.organisation_id, NOON - 2 * HOUR, NOON + hours * HOUR)


@pytest.mark.django_db
def test_every_hour_since_the_node_was_set_up_is_billed(node, time_machine):
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal")
    work(node, 450)
    assert close(node) == 5
    busy = NodeInterval.objects.get(start=hour_of(NOON))
    assert (busy.bill_nusd, busy.used_nusd, busy.idle_nusd) == (50_000_000, 18_750_000, 31_250_000)
    assert busy.shares == {"legal": 12_500_000, "customer-service": 6_250_000}
    assert all(i.used_nusd + i.idle_nusd == i.bill_nusd for i in NodeInterval.objects.all())
    owed = ledger.balances(LedgerEntry.objects.all())["payable:node:node-cpu-1"]
    assert owed == (0, 5 * 50_000_000)
    assert ledger.trial_balance(node.organisation_id) == 0


@pytest.mark.django_db
def test_closing_again_changes_nothing_and_late_work_is_booked_by_reversal(node, time_machine):
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900)
    close(node)
    entries = LedgerEntry.objects.count()
    assert close(node) == 0 and LedgerEntry.objects.count() == entries
    work(node, 900)
    assert close(node) == 1
    work(node, 900)
    assert close(node) == 1
    idle = ledger.balances(LedgerEntry.objects.all())["expense:idle:node-cpu-1"]
    assert idle[0] - idle[1] == sum(NodeInterval.objects.values_list("idle_nusd", flat=True))


@pytest.mark.django_db
def test_hours_before_the_node_existed_belong_to_the_demonstration(node, time_machine):
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 60, at=NOON - 5 * HOUR, origin="demonstration")
    intervals.close_intervals(node.organisation_id, NOON - timedelta(days=9), NOON)
    origins = dict(NodeInterval.objects.order_by("start").values_list("start", "origin"))
    assert len(origins) == 5
    assert list(origins.values()) == ["demonstration"] * 3 + ["live"] * 2
    assert set(LedgerEntry.objects.filter(origin="demonstration").values_list("debit", flat=True)) >= {
        "expense:idle:node-cpu-1"
    }


@pytest.mark.django_db
def test_the_running_hour_is_not_billed_yet(node, time_machine):
    time_machine.move_to(NOON)
    intervals.close_intervals(node.organisation_id, NOON - HOUR, NOON + HOUR)
    assert NodeInterval.objects.count() == 1
