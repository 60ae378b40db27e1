"""Reports: sums, rates with intervals, local days, and both alternatives beside what it really cost."""

from datetime import UTC, datetime, timedelta

import pytest

from costs import reports, rollups
from costs.metering import record_events
from costs.statistics import wilson
from switchyard.tenancy.querysets import NOBODY, Scope
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
EVERYBODY = Scope(1, None, None, frozenset({"admin"}))
LEGAL_ONLY = Scope(1, frozenset({2}), frozenset({"legal"}), frozenset({"viewer"}))
SPAN = {"start": NOON - timedelta(days=1), "end": NOON + timedelta(days=1)}


def ask(report, scope=EVERYBODY, **changes):
    return report(scope=scope, **SPAN | changes)


def by_key(report):
    return {row["key"]: row for row in report.rows}


@pytest.fixture
def company(db):
    record_events(
        [
            make_event(other_side_cost_nusd=900),
            make_event(other_side_cost_nusd=900),
            make_event(private_attempt(), other_side_cost_nusd=1_400, lob="legal", workload="terms-review"),
            make_event(private_attempt(cost_nusd=700), lob="legal", workload="contract-clauses"),
            make_event(organisation_id=2, lob="legal"),
        ]
    )
    rollups.refresh(NOON, NOON)
    judged = {"start": NOON, "organisation_id": 1, "application": "desk", "origin": "live"}
    rollups.record_judgements(
        [
            judged | {
                "lob": "customer-service", "workload": "support-intent", "deployment": "ext-mini", "model": "txt-edge",
                "side": "external", "judged": 2, "correct": 1,
            }
        ]
    )  # fmt: skip


def test_spend_by_lob_sees_the_organisation_and_what_the_reader_may(company):
    everything = ask(reports.spend)
    assert {k: r["cost_nusd"] for k, r in by_key(everything).items()} == {
        "customer-service": 2_800,
        "legal": 1_600,
    }
    assert everything.totals["cost_nusd"] == 4_400 and everything.totals["requests"] == 4
    assert list(by_key(ask(reports.spend, LEGAL_ONLY))) == ["legal"]
    assert ask(reports.spend, NOBODY).rows == []
    assert ask(reports.spend, lob="legal").totals["cost_nusd"] == 1_600


def test_two_groups_join_their_keys(company):
    assert list(by_key(ask(reports.spend, group="lob,side"))) == [
        "customer-service|external",
        "legal|private",
    ]


@pytest.mark.parametrize("group", ["colour", "lob,day,side", "lob,lob", ""])
def test_an_unknown_grouping_is_refused(group):
    with pytest.raises(ValueError, match="grouping"):
        ask(reports.spend, group=group)


def test_an_unknown_time_zone_is_refused():
    for tz in ("Mars/Olympus", "../../etc/passwd"):
        with pytest.raises(ValueError, match="time zone"):
            ask(reports.spend, group="day", tz=tz)


def test_days_are_the_readers_days():
    late = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    record_events([make_event(at=late), make_event(at=NOON)])
    rollups.refresh(late, NOON)
    assert list(by_key(ask(reports.spend, group="day"))) == ["2026-11-02", "2026-11-03"]
    assert list(by_key(ask(reports.spend, group="day", tz="Asia/Shanghai"))) == ["2026-11-03"]
    assert list(by_key(ask(reports.spend, group="hour"))) == ["2026-11-02T23:00", "2026-11-03T12:00"]


def test_accuracy_has_a_wilson_interval_and_leaves_out_what_nobody_judged(company):
    [row] = ask(reports.accuracy).rows
    assert (row["key"], row["correct"], row["judged"], row["rate"]) == ("customer-service", 1, 2, 0.5)
    assert (round(row["low"], 4), round(row["high"], 4)) == (0.0945, 0.9055)


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    for right, n in ((0, 1), (1, 1), (37, 50), (9_990, 10_000)):
        reference = binomtest(right, n).proportion_ci(method="wilson")
        assert wilson(right, n) == pytest.approx(tuple(reference), abs=1e-12)


def test_cost_per_correct_spreads_the_cost_over_right_answers(company):
    rows = by_key(ask(reports.cost_per_correct))
    assert rows["customer-service"]["nusd_per_correct"] == 2_800  # 1,400 an answer, half of them right
    assert rows["customer-service"]["low"] < 2_800 < rows["customer-service"]["high"]
    assert rows["legal"]["nusd_per_correct"] is None


def test_the_counterfactual_counts_bound_requests_at_home_in_both(company):
    report = ask(reports.counterfactual)
    rows = by_key(report)
    assert rows["support-intent"] | {"bound": ""} == {
        "last_policy_nusd": None, "last_policy_version": "", "last_policy_n": 0,
        "key": "support-intent", "lob": "customer-service", "actual_nusd": 2_800, "all_private_nusd": 1_800,
        "all_external_nusd": 2_800, "requests": 2, "bound_requests": 0, "bound": "", "retries_nusd": 0,
        "other_purposes_nusd": 0,
    }  # fmt: skip
    clauses = rows["contract-clauses"]
    assert clauses["all_private_nusd"] == clauses["all_external_nusd"] == clauses["actual_nusd"] == 700
    assert clauses["bound"] == "residency keeps 1 of 1 requests at home"
    assert report.totals == {
        "actual_nusd": 4_400, "all_private_nusd": 3_400, "all_external_nusd": 4_900, "requests": 4,
        "bound_requests": 1, "saving_nusd": 500, "saving_to_private_nusd": -1_000, "saving_to_external_nusd": 500,
        "retries_nusd": 0, "other_purposes_nusd": 0, "last_policy_nusd": None, "last_policy_unknown_rows": 3,
    }  # fmt: skip


def test_a_cascades_first_try_is_paid_but_part_of_neither_alternative():
    cascade = make_event(
        make_attempt(cost_nusd=100), private_attempt(cost_nusd=900), other_side_cost_nusd=100
    )
    record_events([cascade])
    rollups.refresh(NOON, NOON)
    assert ask(reports.counterfactual).totals | {"requests": 0} == {
        "actual_nusd": 1_000, "all_private_nusd": 900, "all_external_nusd": 100, "requests": 0,
        "bound_requests": 0, "saving_nusd": -100, "saving_to_private_nusd": -100, "saving_to_external_nusd": -900,
        "retries_nusd": 100, "other_purposes_nusd": 0, "last_policy_nusd": None, "last_policy_unknown_rows": 1,
    }  # fmt: skip


@pytest.fixture
def busy_with_itself():
    """One answer at home for 900 (out: 1,400) after a try for 40, and what the product spent on its own work beside it."""
    own_work = [
        make_event(make_attempt(cost_nusd=300), purpose="shadow", other_side_cost_nusd=90),
        make_event(make_attempt(status="error", cost_nusd=5), purpose="judge"),
        make_event(private_attempt(cost_nusd=2_000), purpose="evaluation", other_side_cost_nusd=9_000),
        make_event(private_attempt(cost_nusd=7_000), purpose="fine_tune", workload="trained-only"),
    ]
    answer = make_event(
        make_attempt(status="error", cost_nusd=40), private_attempt(), other_side_cost_nusd=1_400
    )
    record_events([answer, *own_work])
    rollups.refresh(NOON, NOON)


def test_the_counterfactual_compares_answers_and_keeps_the_products_own_work_apart(busy_with_itself):
    report = ask(reports.counterfactual)
    assert report.totals == {
        "actual_nusd": 940, "all_private_nusd": 900, "all_external_nusd": 1_400, "retries_nusd": 40,
        "other_purposes_nusd": 300 + 5 + 2_000 + 7_000, "requests": 1, "bound_requests": 0,
        "saving_to_private_nusd": -40, "saving_to_external_nusd": 460, "saving_nusd": 460, "last_policy_nusd": None,
        "last_policy_unknown_rows": 1,
    }  # fmt: skip
    assert {key: row["other_purposes_nusd"] for key, row in by_key(report).items()} == {
        "support-intent": 2_305, "trained-only": 7_000,
    }  # fmt: skip
    beside = report.totals["actual_nusd"] + report.totals["other_purposes_nusd"]
    assert beside == ask(reports.spend).totals["cost_nusd"]


def test_the_period_before_is_known_by_its_answers_alone():
    before = NOON - timedelta(days=2)
    events = [make_event(purpose="shadow", at=before) for _ in range(9)]
    record_events([*events, make_event(private_attempt(), at=before), make_event(private_attempt())])
    rollups.refresh(before, NOON)
    [row] = ask(reports.counterfactual).rows
    assert row["last_policy_nusd"] == row["actual_nusd"] == 900, (
        "no answer went out before, so none would now"
    )


def test_a_right_answer_does_not_pay_for_shadows_and_training(busy_with_itself):
    judged = {
        "start": NOON,
        "organisation_id": 1,
        "application": "desk",
        "origin": "live",
        "lob": "customer-service",
    }
    home = {
        "workload": "support-intent",
        "deployment": "private-sparse",
        "model": "txt-base",
        "side": "private",
    }
    rollups.record_judgements([judged | home | {"judged": 1, "correct": 1}])
    [row] = ask(reports.cost_per_correct).rows
    assert (row["cost_nusd"], row["answers"], row["nusd_per_correct"], row["judged_share"]) == (
        940,
        1,
        940,
        1,
    )


def test_the_share_counts_requests_of_each_side(company):
    assert ask(reports.share).rows == [
        {"key": "customer-service", "private": 0, "external": 2},
        {"key": "legal", "private": 2, "external": 0},
    ]


def test_the_trial_balance_is_even(company):
    report = ask(reports.trial_balance)
    assert report.totals == {"debit_nusd": 4_400, "credit_nusd": 4_400}
    assert by_key(report)["absorbed:node-cpu-1"] == {
        "key": "absorbed:node-cpu-1", "debit_nusd": 0, "credit_nusd": 1_600,
    }  # fmt: skip


def test_reports_say_how_fresh_they_are(company):
    assert ask(reports.spend).as_of == rollups.as_of()
