"""Published versions are watched over real records: harmless ones stay, worse ones go back by themselves, people win races."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from costs.models import Alert
from modelhub.models import AccuracyObjective
from routing.models import DecisionRecord, Feedback, RolloutWatch
from routing.rollout.watch import look, told, watch_all
from routing.selectors.policies import live
from routing.services import policies
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from tests import factories as make
from tests.routing.rollout.companies import HOME, OUT, lob_of

pytestmark = pytest.mark.django_db


def published(company: Any, percent: int, document: str = OUT) -> Any:
    draft = policies.create_draft(organisation=company, lob=lob_of(company), document=document, user=None)
    policy = policies.publish(policy=draft, user=None, percent=percent)
    RolloutWatch.objects.filter(policy=policy).update(began_at=now() - timedelta(hours=6))
    return policy


def traffic(
    company: Any, count: int, *, version: str = "customer-service@1", at: timedelta = timedelta(days=3), seed: int = 1,
    failing: float = 0.01, cost: int = 1_000, ms: float = 50.0, wrong: float | None = None, every: int = 1,
) -> None:  # fmt: skip
    """`count` requests from `at` ago on, a second apart; `every`: only that part of the seconds."""
    source, rows, feedback = random.Random(seed), [], []
    for i in range(count):
        broken, moment = source.random() < failing, now() - at + timedelta(seconds=i * every)
        number = f"{int(moment.timestamp() * 1e6):016d}{seed:03d}{i:05d}"
        rows.append(
            DecisionRecord(
                id=f"dec_{number}", request_id=f"req_{number}", organisation_id=company.pk, lob="customer-service", at=moment,
                workload="support-intent", endpoint="classifications", sensitivity="internal", side="private",
                deployment="" if broken else "private-sparse", policy_version=f"org@1+{version}", policy_hash="",
                status=502 if broken else 200, error_code="upstream_error" if broken else "", answers=0 if broken else 1,
                cost_nusd=0 if broken else int(cost * source.uniform(0.5, 1.5)), latency_ms=ms * source.uniform(0.5, 1.5),
            )
        )  # fmt: skip
        if wrong is not None and not broken:
            feedback.append(
                Feedback(
                    decision_id=f"dec_{number}", organisation_id=company.pk, lob="customer-service", workload="support-intent",
                    deployment="private-sparse", side="private", at=moment, correct=source.random() >= wrong,
                )
            )  # fmt: skip
    DecisionRecord.objects.bulk_create(rows)
    random.Random(seed).shuffle(feedback)
    Feedback.objects.bulk_create(feedback)


def both(company: Any, policy: Any, **worse: Any) -> None:
    """The old version's fortnight, then both side by side for some hours."""
    traffic(company, 600)
    label = f"customer-service@{policy.version}"
    usual = {"wrong": 0.1} if "wrong" in worse else {}
    traffic(company, 700, at=timedelta(hours=5), seed=2, **usual)
    traffic(company, 700, at=timedelta(hours=5), seed=3, version=label, **worse)
    RolloutWatch.objects.filter(policy=policy).update(feedback_cursor=0)


def the_look(policy: Any) -> RolloutWatch:
    watch = look(RolloutWatch.objects.get(policy=policy, state="watching").pk)
    policy.refresh_from_db()
    return watch


def test_a_version_as_good_as_the_old_one_stays(company: Any) -> None:
    policy = published(company, 50)
    both(company, policy, wrong=0.1)
    watch = the_look(policy)
    assert (watch.state, policy.state, policy.percent) == ("watching", "live", 50)
    metrics = {row["metric"]: row for row in told(policy)["metrics"]}
    assert metrics["errors"]["n"] == 700 and metrics["accuracy"]["n"] > 600
    assert metrics["cost"]["new"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("worse", "metric"),
    [({"failing": 0.2}, "errors"), ({"ms": 120.0}, "latency"), ({"wrong": 0.5}, "accuracy"), ({"cost": 3_000}, "cost")],
)  # fmt: skip
@pytest.mark.parametrize("percent", [50, 100])
def test_a_worse_version_goes_back_by_itself_with_an_alert(
    company: Any, percent: int, worse: dict[str, Any], metric: str
) -> None:
    policy = published(company, percent)
    both(company, policy, **worse)
    if percent == 100 and metric == "accuracy":
        traffic(company, 300, at=timedelta(days=2), seed=5, wrong=0.1)
    watch = the_look(policy)
    assert (watch.state, policy.state) == ("rolled_back", "superseded")
    assert live(company.pk, lob_of(company).pk).version == 1
    [alert] = Alert.objects.filter(kind="policy_rolled_back")
    assert (alert.lob, alert.cause, alert.subject) == ("customer-service", metric, "customer-service@2")
    fired = AuditEvent.objects.get(action="policy.guard_fired")
    assert (fired.detail["metric"], fired.detail["percent"]) == (metric, percent)
    back = AuditEvent.objects.get(action="policy.rolled_back")
    assert back.detail["automatic"] is True and back.detail["from_version"] == 2
    assert watch_all() == {
        "watching": 1
    }  # the one that is live again isn't watched anew; looking again changes nothing


def test_it_is_held_against_the_accuracy_objective_where_there_is_one(company: Any) -> None:
    """Both are wrong one time in four: nothing is worse than the rest, but the objective allows one in ten."""
    AccuracyObjective.objects.create(workload=lob_of(company).workloads.get(), target=0.9)
    policy = published(company, 50)
    traffic(company, 400, at=timedelta(hours=5), seed=2, wrong=0.25)
    traffic(company, 600, at=timedelta(hours=5), seed=3, version="customer-service@2", wrong=0.25)
    RolloutWatch.objects.filter(policy=policy).update(feedback_cursor=0)
    assert the_look(policy).state == "rolled_back"
    assert Alert.objects.get().cause == "objective"


def test_without_a_version_to_go_back_to_people_are_told(company: Any) -> None:
    company.policies.filter(lob__isnull=False).delete()
    policy = published(company, 100)
    label = f"customer-service@{policy.version}"
    traffic(company, 300, at=timedelta(hours=5), seed=3, version=label, wrong=0.6)
    AccuracyObjective.objects.create(workload=lob_of(company).workloads.get(), target=0.9)
    RolloutWatch.objects.filter(policy=policy).update(feedback_cursor=0)
    assert (the_look(policy).state, policy.state) == ("ended", "live")
    assert Alert.objects.get().kind == "policy_worse"


def test_a_rollback_by_hand_while_a_rollout_runs_ends_its_watch(company: Any) -> None:
    policy = published(company, 20)
    policies.rollback(organisation=company, lob=lob_of(company), user=None)
    assert RolloutWatch.objects.get(policy=policy).state == "ended"
    assert live(company.pk, lob_of(company).pk).version == 1


def test_a_guard_that_is_late_does_not_undo_what_somebody_published_meanwhile(
    company: Any, monkeypatch: Any
) -> None:
    policy = published(company, 100)
    both(company, policy, failing=0.3)
    watch = RolloutWatch.objects.get(policy=policy, state="watching")
    from routing.rollout import watch as module

    fixed = policies.create_draft(organisation=company, lob=lob_of(company), document=HOME + "\n", user=None)
    taking = module._take_back

    def late(*args: Any) -> RolloutWatch:
        policies.publish(policy=fixed, user=None)
        return taking(*args)

    monkeypatch.setattr(module, "_take_back", late)
    assert look(watch.pk).reason == "another version is live"
    assert live(company.pk, lob_of(company).pk) == fixed
    assert not Alert.objects.exists()


def test_records_are_read_once(company: Any) -> None:
    policy = published(company, 50)
    both(company, policy)
    first, second = the_look(policy), the_look(policy)
    assert first.tests["figures"] == second.tests["figures"]
    assert second.tests["seen"]["errors"][0] == 700


def test_a_neighbours_traffic_moves_no_guard(company: Any) -> None:
    policy, neighbour = published(company, 50), make.make_organisation()
    both(company, policy)
    traffic(neighbour, 500, at=timedelta(hours=5), seed=9, version="customer-service@2", failing=0.9)
    assert the_look(policy).state == "watching"
