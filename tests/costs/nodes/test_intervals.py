"""A node's hours: bill = used + idle exactly, booked once, booked anew when late work arrives, idle carried by its rule."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from costs import ledger, rollups, tasks
from costs.models import Alert, FiscalPeriod, LedgerEntry, Node, NodeInterval, SpendDay, SpendHour
from costs.nodes import intervals, versions
from costs.nodes.allocation import IdleRule, allocate, spread
from costs.nodes.changes import change_carrying, change_cost
from costs.nodes.terms import Terms, bill_of
from costs.nodes.timeline import Dated, Timeline
from costs.pricing import HOUR_NS
from costs.rollups import HOUR
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import largest_remainder
from tests.costs.events import NOON
from tests.costs.nodes.company import START, assert_everything_ties, balance, busy, close, make_node, work
from tests.factories import make_organisation

nanoseconds = st.integers(0, 2 * HOUR_NS)
names = st.sampled_from(["legal", "healthcare", "engineering", "supply-chain", "customer-service"])
rules = st.builds(
    IdleRule,
    st.sampled_from(["nobody", "pool", "lob_share"]),
    st.sampled_from(["", "gpus"]),
    st.dictionaries(names, st.integers(0, 9), max_size=4),
)


@given(st.integers(0, 10**13), st.lists(st.integers(0, 10**13), min_size=1, max_size=30))
def test_largest_remainder_sums_exactly_and_is_fair_to_one_unit(total, weights):
    if sum(weights) == 0:
        return
    shares = largest_remainder(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert total * weight // sum(weights) <= share <= total * weight // sum(weights) + 1


@given(st.integers(0, 10**13), st.dictionaries(names, nanoseconds, max_size=5), rules)
def test_a_bill_is_used_and_idle_to_the_nano_dollar_whoever_carries_it(bill, used_ns, rule):
    parts = allocate(bill, used_ns, HOUR_NS, rule)
    assert parts.used_nusd + parts.idle_nusd == bill
    assert sum(parts.carried.values()) + parts.uncarried_nusd == parts.idle_nusd
    assert min([parts.idle_nusd, parts.uncarried_nusd, *parts.shares.values(), *parts.carried.values()]) >= 0
    if sum(used_ns.values()) >= HOUR_NS:
        assert parts.idle_nusd == 0
    if rule.rule != "lob_share":
        assert not parts.carried
    elif sum(used_ns.values()) or sum(rule.weights.values()):
        assert parts.uncarried_nusd == 0


cents = st.decimals(0, 500, places=3)
moments = st.integers(-7200, 7200)  # seconds around the hour


@given(
    st.lists(st.tuples(moments, cents), min_size=1, max_size=5),
    st.lists(st.dictionaries(names, nanoseconds, max_size=5), min_size=4, max_size=4),
    rules,
)
def test_the_hours_of_a_node_sum_to_its_bill_over_any_versions_uses_and_rules(changes, used, rule):
    """The oracle integrates the rate second by second, independent of how hours are cut."""
    dated = [
        Dated(Terms(f"v{i}", usd_per_hour=rate), START + timedelta(seconds=at), None, i)
        for i, (at, rate) in enumerate(changes)
    ]
    line = Timeline(dated)
    total = exact = 0
    for hour, used_ns in enumerate(used):
        start = START + (hour - 2) * HOUR
        bill = bill_of(list(line.spans(start, start + HOUR))).nusd
        parts = allocate(bill, used_ns, HOUR_NS, rule)
        total += sum(parts.shares.values()) + sum(parts.carried.values()) + parts.uncarried_nusd
        edges = sorted({0, 3600, *(int((d.valid_from - start).total_seconds()) for d in dated)})
        edges = [e for e in edges if 0 <= e <= 3600]
        seconds = sum(
            line.at(start + timedelta(seconds=a)).usd_per_hour * (b - a)
            for a, b in zip(edges, edges[1:], strict=False)
        )
        exact += round(seconds * 10**9 / 3600)
    assert total == exact


@given(st.integers(0, 10**12), st.lists(nanoseconds, max_size=9))
def test_a_loaded_cost_spreads_over_its_rows_exactly(total, weights):
    assert sum(spread(total, weights)) == (total if sum(weights) else 0)


def test_an_unused_hour_is_all_idle():
    assert allocate(77, {}, HOUR_NS).idle_nusd == 77


@pytest.fixture
def node(db, time_machine):
    time_machine.move_to(NOON - 2 * HOUR)
    return make_node()


@pytest.mark.django_db
def test_every_hour_since_the_node_was_set_up_is_billed(node, time_machine):
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal")
    work(node, 450)
    assert close(node) == 5
    assert (busy().bill_nusd, busy().used_nusd, busy().idle_nusd) == (50_000_000, 18_750_000, 31_250_000)
    assert busy().shares == {"legal": 12_500_000, "customer-service": 6_250_000}
    assert ledger.balances(LedgerEntry.objects.all())["payable:node:node-cpu-1"] == (0, 5 * 50_000_000)
    assert_everything_ties(node)


@pytest.mark.django_db
def test_every_row_gets_its_loaded_cost_and_the_days_follow(node, time_machine):
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal", cost_nusd=12_400_000)
    work(node, 300, workload="triage", cost_nusd=4_000_000)
    work(node, 150, cost_nusd=2_000_000)
    close(node)
    rows = {r.workload + r.lob: r for r in SpendHour.objects.all()}
    assert rows["support-intentlegal"].variance_nusd == 12_500_000 - 12_400_000
    assert rows["triagecustomer-service"].variance_nusd == 4_166_667 - 4_000_000
    assert rows["support-intentcustomer-service"].variance_nusd == 2_083_333 - 2_000_000
    hours = SpendHour.objects.aggregate(n=Sum("variance_nusd"))["n"]
    assert SpendDay.objects.aggregate(n=Sum("variance_nusd"))["n"] == hours == 350_000
    rollups.refresh(NOON, NOON)
    assert SpendHour.objects.aggregate(n=Sum("variance_nusd"))["n"] == hours


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
    kept = list(
        NodeInterval.objects.filter(start=START).order_by("revision").values_list("used_nusd", "current")
    )
    assert kept == [(12_500_000, False), (25_000_000, False), (37_500_000, True)]
    idle = NodeInterval.objects.filter(current=True).aggregate(n=Sum("idle_nusd"))["n"]
    assert balance("expense:idle:node-cpu-1") == idle
    assert_everything_ties(node)


@pytest.mark.django_db
def test_hours_closed_before_versions_were_kept_are_reversed_whatever_their_revision(node, time_machine):
    """As an earlier release left them: revision 0 on the row, another in the ledger, no cost version."""
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900)
    NodeInterval.objects.create(
        organisation_id=node.organisation_id, node=node.name, start=START, bill_nusd=60_000_000, used_nusd=20_000_000,
        idle_nusd=40_000_000, accelerator_ns=1, shares={"customer-service": 20_000_000},
    )  # fmt: skip
    for kind, debit, amount in (
        ("used", "absorbed:node-cpu-1", 20_000_000),
        ("idle", "expense:idle:node-cpu-1", 40_000_000),
    ):
        ledger.append(
            event_id=f"node:{node.pk}:{START:%Y%m%dT%H}:{kind}:3", organisation_id=node.organisation_id, debit=debit,
            credit="payable:node:node-cpu-1", amount_nusd=amount, at=START,
        )  # fmt: skip
    assert close(node) == 5
    assert busy().revision == 4
    assert_everything_ties(node)


@pytest.mark.django_db
def test_hours_before_the_node_existed_belong_to_the_demonstration(node, time_machine):
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 60, at=NOON - 5 * HOUR, origin="demonstration")
    intervals.close_intervals(node.organisation_id, NOON - timedelta(days=9), NOON)
    origins = dict(NodeInterval.objects.order_by("start").values_list("start", "origin"))
    assert len(origins) == 5
    assert list(origins.values()) == ["demonstration"] * 3 + ["live"] * 2
    demonstration = LedgerEntry.objects.filter(origin="demonstration").values_list("debit", flat=True)
    assert set(demonstration) >= {"expense:idle:node-cpu-1"}


@pytest.mark.django_db
def test_the_running_hour_is_not_billed_yet(node, time_machine):
    time_machine.move_to(NOON)
    intervals.close_intervals(node.organisation_id, NOON - HOUR, NOON + HOUR)
    assert NodeInterval.objects.count() == 1


@pytest.mark.django_db
def test_a_rate_that_changes_inside_an_hour_is_split_by_seconds(node, time_machine):
    time_machine.move_to(NOON, tick=False)  # a quarter past
    change_cost(node=node, values={"usd_per_hour": Decimal("0.09")}, actor=None)
    time_machine.move_to(NOON + 3 * HOUR)
    close(node)
    assert busy().bill_nusd == 12_500_000 + 67_500_000  # 15 min at $0.05, 45 min at $0.09
    first, second = node.costs.order_by("pk")
    assert busy().cost_version == f"{first.version}+{second.version}"
    assert_everything_ties(node)


# --- who carries idle time -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_idle_time_of_a_pool_is_charged_to_the_pool(time_machine):
    node = make_node(pool="gpus", idle_rule="pool")
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal")
    close(node)
    assert balance("expense:pool:gpus") == 37_500_000 + 4 * 50_000_000
    assert balance("expense:idle:node-cpu-1") == 0
    assert_everything_ties(node)


@pytest.mark.django_db
def test_idle_time_is_carried_by_use_and_by_fixed_weights_where_nothing_was_used(time_machine):
    node = make_node(idle_rule="lob_share", idle_shares={"legal": 1, "customer-service": 4})
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal")
    work(node, 300)
    close(node)
    assert busy().idle_shares == {"legal": 25_000_000, "customer-service": 8_333_333}
    assert balance("loaded:lob:legal") == 25_000_000 + 4 * 10_000_000
    assert balance("loaded:lob:customer-service") == 8_333_333 + 4 * 40_000_000
    row = SpendHour.objects.get(lob="legal")
    assert row.cost_nusd + row.variance_nusd == 12_500_000 + 25_000_000
    assert_everything_ties(node)


@pytest.mark.django_db
def test_nobody_carries_the_unused_hours_of_a_rule_without_weights(time_machine):
    node = make_node(idle_rule="lob_share")
    time_machine.move_to(NOON + 3 * HOUR)
    close(node)
    assert balance("expense:idle:node-cpu-1") == 5 * 50_000_000


@pytest.mark.django_db
def test_idle_time_never_counts_against_a_budget(time_machine):
    node = make_node(idle_rule="lob_share", idle_shares={"legal": 1})
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal", cost_nusd=12_500_000)
    close(node)
    assert ledger.expense_nusd(LedgerEntry.objects.filter(lob="legal")) == 12_500_000
    assert not LedgerEntry.objects.filter(
        event_id__startswith="node:", debit__startswith="expense:lob:"
    ).exists()


@pytest.mark.django_db
def test_a_new_rule_holds_from_the_running_hour_and_closed_hours_keep_theirs(node, time_machine):
    time_machine.move_to(NOON + HOUR)
    close(node, hours=1)
    change_carrying(node=node, pool="gpus", idle_rule="pool", actor=None)
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 360, at=NOON)  # late work of an hour that nobody carried
    close(node)
    assert balance("expense:idle:node-cpu-1") == 45_000_000 + 2 * 50_000_000
    assert balance("expense:pool:gpus") == 2 * 50_000_000
    with pytest.raises(ValidationFailed, match="no line of business 'sales'"):
        change_carrying(node=node, idle_rule="lob_share", idle_shares={"sales": 1}, actor=None)


@pytest.mark.django_db
def test_an_hour_of_a_closed_month_is_booked_late_and_says_so(node, time_machine):
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900)
    close(node)
    time_machine.move_to(NOON.replace(month=12) + HOUR)
    month = START.replace(day=1, hour=0)
    FiscalPeriod.objects.create(
        organisation_id=node.organisation_id, start=month, end=month.replace(month=12), state="closed"
    )
    change_cost(
        node=node, values={"usd_per_hour": "0.06"}, valid_from=START, reason="the bill says so", actor=None
    )
    late = LedgerEntry.objects.filter(memo__startswith="late for 2026-11")
    assert late.count() == 2 * (2 + 1 + 1) and set(late.values_list("at__month", flat=True)) == {12}
    assert balance("payable:node:node-cpu-1") == -(3 * 60_000_000 + 2 * 50_000_000)


@pytest.mark.django_db
def test_a_node_is_billed_from_the_moment_it_has_a_cost(time_machine):
    time_machine.move_to(NOON, tick=False)
    node = Node.objects.create(
        organisation=make_organisation(), name="node-cpu-1", created_at=NOON - 2 * HOUR
    )
    assert close(node) == 0
    change_cost(node=node, values={"usd_per_hour": "0.08"}, actor=None)
    time_machine.move_to(NOON + 2 * HOUR)
    assert close(node) == 2
    assert busy().bill_nusd == 60_000_000, "three quarters of the hour it was given a cost in"
    assert_everything_ties(node)


@pytest.mark.django_db
def test_a_node_that_cannot_be_billed_does_not_stop_the_others(node, time_machine, caplog):
    make_node(name="node-bad", organisation=node.organisation)
    make_node(name="node-last", organisation=node.organisation)
    Node.objects.get(name="node-bad").costs.update(tariff=["not a band"])
    Node.objects.filter(pk=node.pk).update(usd_per_hour=Decimal("0.05"))
    time_machine.move_to(NOON + 3 * HOUR)
    assert tasks.close_intervals() == 10
    assert set(NodeInterval.objects.values_list("node", flat=True)) == {"node-cpu-1", "node-last"}
    assert tasks.close_intervals() == 0
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject, alert.organisation_id) == (
        "node_unbilled",
        "node-bad",
        node.organisation_id,
    )
    assert "Node node-bad" in caplog.text
    time_machine.move_to(NOON + 27 * HOUR)
    tasks.close_intervals()
    assert Alert.objects.filter(kind="node_unbilled").count() == 2, "one a day"
    Node.objects.get(name="node-bad").costs.update(tariff=[])
    assert tasks.close_intervals() == 29
    assert ledger.trial_balance(node.organisation_id) == 0


@pytest.mark.django_db
def test_a_bill_that_no_column_holds_leaves_nothing_of_its_node_behind(node, time_machine):
    other = make_node(name="node-last", organisation=node.organisation)
    node.costs.update(usd_per_hour=None, capex_usd=Decimal("24000"), life_months=48, watts=2_000_000_000,
                      tariff=[{"from": 0, "to": 24, "usd_per_kwh": "1e12"}])  # fmt: skip
    time_machine.move_to(NOON + 3 * HOUR)
    assert close(other) == 5
    assert set(NodeInterval.objects.values_list("node", flat=True)) == {"node-last"}
    assert not LedgerEntry.objects.filter(credit__contains="node-cpu-1").exists()
    assert Alert.objects.get().subject == "node-cpu-1"


@pytest.mark.django_db
def test_a_version_comes_into_force_once_the_node_before_it_is_mended(node, time_machine):
    versions.bring_into_force()
    other = make_node(name="node-last", organisation=node.organisation)
    for one in (node, other):
        change_cost(node=one, values={"usd_per_hour": "0.08"}, valid_from=NOON, actor=None)
    node.costs.filter(valid_from=NOON).update(tariff=["not a band"])
    time_machine.move_to(NOON + HOUR)
    assert versions.bring_into_force() == 1
    node.costs.filter(valid_from=NOON).update(tariff=[])
    time_machine.move_to(NOON + 30 * HOUR)
    versions.bring_into_force()
    node.refresh_from_db()
    assert node.usd_per_hour == Decimal("0.08"), "the mark waited for it"
