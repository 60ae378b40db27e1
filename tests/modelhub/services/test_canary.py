"""A version on trial: its share begins and ends at once, harm takes it back by itself, evidence makes it live."""

from __future__ import annotations

import itertools
import random

import pytest

from costs.models import Alert, Attempt, SpendHour
from modelhub.models import Canary, ModelVersion
from modelhub.services.canary import lacking, look, start_canary, stop_canary, watch_all
from modelhub.services.promotion import promote, reject
from routing.selectors.world import snapshot_of
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, InvalidRequest
from tests.factories import make_deployment, make_lob, make_user, make_version, make_workload
from tests.modelhub.services.verdicts import make_report

pytestmark = pytest.mark.django_db
NEW, OLD = "txt-base/support-sentiment@ft-new", "txt-base/support-sentiment"
numbers = itertools.count(1)


@pytest.fixture
def live():
    lob = make_lob()
    return make_version(make_deployment(lob.organisation, "private-sparse", "private"), make_workload(lob))


@pytest.fixture
def candidate(live):
    version = make_version(live.deployment, live.workload, "candidate", version="ft-new", upstream_model=NEW)
    make_report(version)
    return version


def answered(live, model, count, *, failed=0.0, ms=2.0, slow=0.0, seed=0, **names):
    """Attempts as the books hold them."""
    draw = random.Random(seed)
    values = {
        "organisation_id": live.workload.organisation_id, "lob": "customer-service", "workload": "support-sentiment",
        "deployment": "private-sparse", "side": "private", "price_version": "1", "cost_nusd": 1,
    }  # fmt: skip
    rows = [
        Attempt(
            request_id=f"req_{next(numbers)}", at=now(), model=model, status="error" if draw.random() < failed else "ok",
            duration_ms=ms * (5 if draw.random() < slow else 1), **values | names,
        )
        for _ in range(count)
    ]  # fmt: skip
    draw.shuffle(rows)
    return rows


def keep(*groups, seed=1):
    rows = [row for group in groups for row in group]
    random.Random(seed).shuffle(rows)
    Attempt.objects.bulk_create(rows)


def judged(live, model, n, right):
    hour = now().replace(minute=0, second=0, microsecond=0)
    SpendHour.objects.update_or_create(
        organisation_id=live.workload.organisation_id, start=hour, lob="customer-service", workload="support-sentiment",
        deployment="private-sparse", model=model, side="private", defaults={"judged": n, "correct": right},
    )  # fmt: skip


def trial(candidate, **values):
    return start_canary(version=candidate, user=None, **{"percent": 10} | values)


def test_a_canary_takes_its_share_at_once_and_its_callers_keep_it(live, candidate):
    alice = make_user("alice", live.workload.organisation, "admin")
    canary = start_canary(version=candidate, user=alice, percent=20)
    target = snapshot_of(live.workload.organisation).deployments["private-sparse"]
    share = target.canaries["support-sentiment"]
    assert (share.upstream_model, share.percent) == (NEW, 20)
    assert target.upstream_models["support-sentiment"] == OLD
    drawn = [share.takes(f"key:{n}") for n in range(5000)]
    assert 0.17 < sum(drawn) / 5000 < 0.23
    assert drawn == [share.takes(f"key:{n}") for n in range(5000)]
    event = AuditEvent.objects.get(action="model.canary_started")
    assert (event.actor, event.detail["percent"], event.detail["against"]) == ("alice", 20, "1")
    stop_canary(canary=canary, user=alice, reason="enough")
    assert snapshot_of(live.workload.organisation).deployments["private-sparse"].canaries == {}
    candidate.refresh_from_db()
    assert candidate.stage == "candidate"
    with pytest.raises(Conflict):
        stop_canary(canary=canary, user=alice)


def test_a_canary_needs_gates_a_live_version_and_a_sensible_share(live, candidate):
    make_report(candidate, latency="fail")
    with pytest.raises(Conflict, match="latency"):
        trial(candidate)
    with pytest.raises(InvalidRequest):
        trial(candidate, percent=51)
    first = make_version(
        make_deployment(live.workload.organisation, "home-b", "private"), live.workload, "candidate"
    )
    make_report(first)
    with pytest.raises(Conflict) as refused:
        trial(first)
    assert refused.value.code == "nothing_live"
    assert trial(candidate, reason="only a trial").reason == "only a trial"
    other = make_version(live.deployment, live.workload, "candidate", version="ft-3")
    make_report(other)
    with pytest.raises(Conflict) as refused:
        trial(other)
    assert refused.value.code == "canary_runs"
    other.refresh_from_db()
    assert other.stage == "candidate"


@pytest.mark.parametrize(
    ("harm", "cause"),
    [({"failed": 0.3}, "errors"), ({"slow": 0.5}, "latency")],
)
def test_harm_takes_it_back_by_itself_and_somebody_is_told(live, candidate, harm, cause):
    keep(answered(live, OLD, 200))
    canary = trial(candidate)
    keep(answered(live, NEW, 60, seed=2, **harm), answered(live, OLD, 540, seed=3))
    assert look(canary).state == "rolled_back"
    candidate.refresh_from_db()
    assert candidate.stage == "candidate"
    alert = Alert.objects.get(kind="canary_rolled_back")
    assert alert.cause == cause and "ft-new" in alert.message
    event = AuditEvent.objects.get(action="model.canary_rolled_back")
    assert event.actor == "system" and " to 1" in event.detail["reason"]
    assert snapshot_of(live.workload.organisation).deployments["private-sparse"].canaries == {}


def test_wrong_answers_by_feedback_take_it_back(live, candidate):
    judged(live, OLD, 500, 100)  # of the hour before it began: not its own time
    canary = trial(candidate)
    judged(live, OLD, 700, 285)
    judged(live, NEW, 80, 45)
    canary = look(canary)
    assert canary.state == "rolled_back" and "feedback" in canary.reason
    assert canary.watch["tests"]["accuracy"]["n_old"] <= 200


def test_enough_evidence_makes_it_live_and_by_hand_it_waits(live, candidate):
    canary = trial(candidate, least_answers=200)
    keep(answered(live, NEW, 60), answered(live, OLD, 540))
    assert look(canary).state == "running"
    assert any("of 200 answers" in word for word in lacking(Canary.objects.get()))
    keep(answered(live, NEW, 540), answered(live, OLD, 2000))
    assert watch_all() == {"promoted": 1}
    stages = dict(ModelVersion.objects.values_list("version", "stage"))
    assert stages == {"1": "retired", "ft-new": "live"}
    event = AuditEvent.objects.get(action="model.promoted")
    assert event.actor == "system" and "answers without harm" in event.detail["by_itself"]


def test_a_trial_by_hand_waits_for_a_hand(live, candidate):
    canary = trial(candidate, automatic=False, least_answers=50)
    keep(answered(live, NEW, 600), answered(live, OLD, 1400))
    assert look(canary).state == "running" and lacking(Canary.objects.get()) == []
    promote(version=candidate, user=None)
    assert Canary.objects.get().state == "promoted"


def test_judged_answers_are_waited_for_where_they_are_asked_for(live, candidate):
    canary = trial(candidate, least_answers=50, least_judged=30)
    keep(answered(live, NEW, 600), answered(live, OLD, 1400))
    assert look(canary).state == "running"
    judged(live, NEW, 40, 36)
    judged(live, OLD, 200, 180)
    assert look(canary).state == "promoted"


def test_a_rejected_canary_takes_no_more_traffic_and_another_promotion_ends_a_trial(live, candidate):
    trial(candidate)
    reject(version=candidate, user=None)
    assert Canary.objects.get().state == "stopped"
    assert ModelVersion.objects.get(pk=candidate.pk).stage == "retired"
    second = make_version(live.deployment, live.workload, "candidate", version="ft-2")
    third = make_version(live.deployment, live.workload, "candidate", version="ft-3")
    make_report(second), make_report(third)
    trial(second)
    promote(version=third, user=None)
    second.refresh_from_db()
    assert second.stage == "candidate" and not Canary.objects.filter(state="running").exists()


def test_two_that_answer_alike_are_seldom_taken_back(live):
    """All three tests together, looked at ninety times: at most 5 % by design, so 60 trials lose at most 8 (99.5 %)."""
    from modelhub.ml.sequential import WorseTest
    from modelhub.services.canary import ALPHA, TESTS

    back = 0
    for seed in range(60):
        draw, tests = random.Random(seed), [WorseTest() for _ in TESTS]
        rates = (0.01, 0.05, 0.2)
        for _look in range(90):
            for test, rate in zip(tests, rates, strict=True):
                test.see([(draw.random() < 0.1, draw.random() < rate) for _ in range(20)])
        back += any(test.refutes(ALPHA / len(TESTS)) for test in tests)
    assert back <= 8


def test_another_lines_trials_are_out_of_sight(live, candidate):
    from switchyard.tenancy.querysets import scope_of

    trial(candidate)
    legal = make_lob(live.workload.organisation, "legal")
    bob = make_user("bob", live.workload.organisation, "model_engineer", (legal,))
    charlie = make_user("charlie")
    assert not Canary.objects.for_tenant(scope_of(bob)).exists()
    assert not Canary.objects.for_tenant(scope_of(charlie)).exists()
