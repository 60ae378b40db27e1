"""Two who publish at once, rollouts on top of one another, a clock that was put back, shadows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from routing.contracts import Facts
from routing.models import DecisionRecord, Policy, ShadowTally
from routing.policy.facts import whole
from routing.rollout.tally import tally
from routing.selectors.policies import compiled, live, previous_of, trials
from routing.services import policies, shadows
from switchyard.audit.models import AuditEvent
from switchyard.core import clock
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from tests import factories as make
from tests.routing.rollout.companies import OUT, lob_of

pytestmark = pytest.mark.django_db


def draft(company: Any, document: str) -> Policy:
    return policies.create_draft(organisation=company, lob=lob_of(company), document=document, user=None)


def now_live(company: Any) -> Policy:
    found = live(company.pk, lob_of(company).pk)
    assert found is not None
    return found


def test_of_two_who_publish_at_once_the_second_is_told(company: Any) -> None:
    seen = now_live(company).pk
    first, second = draft(company, OUT), draft(company, OUT + "\n")
    policies.publish(policy=first, user=None, expected=seen)
    with pytest.raises(Conflict) as error:
        policies.publish(policy=second, user=None, expected=seen)
    assert (error.value.code, now_live(company)) == ("live_changed", first)
    assert "customer-service@2 is live now" in error.value.message
    policies.publish(policy=second, user=None, expected=first.pk)
    assert now_live(company) == second


def test_a_second_rollout_waits_for_the_first(company: Any) -> None:
    first, second = draft(company, OUT), draft(company, OUT + "\n")
    policies.publish(policy=first, user=None, percent=10)
    with pytest.raises(Conflict) as error:
        policies.publish(policy=second, user=None, percent=20)
    assert error.value.code == "rollout_running"
    policies.publish(policy=first, user=None, percent=60)  # the same one may grow
    policies.publish(policy=second, user=None)  # and all of the traffic may be taken


def test_what_never_had_all_of_the_traffic_is_nothing_to_go_back_to(company: Any) -> None:
    first, second = draft(company, OUT), draft(company, OUT + "\n")
    policies.publish(policy=first, user=None, percent=10)
    policies.publish(policy=second, user=None)
    back = policies.rollback(organisation=company, lob=lob_of(company), user=None)
    assert back.version == 1


def test_versions_are_gone_back_to_in_their_order_even_after_the_clock_was_put_back(
    company: Any,
    monkeypatch: Any,
) -> None:
    for i, document in enumerate((OUT, OUT + "\n", OUT + "\n\n")):
        moment = now() - timedelta(hours=i)
        monkeypatch.setattr(policies, "now", lambda moment=moment: moment)
        policies.publish(policy=draft(company, document), user=None)
    current = now_live(company)
    assert current.version == 4
    for version in (3, 2, 1):
        before = previous_of(now_live(company))
        assert before is not None and before.version == version
        policies.rollback(organisation=company, lob=lob_of(company), user=None)
    assert clock.now is now


def test_a_shadow_is_validated_one_a_scope_and_told_of(company: Any) -> None:
    alice = make.make_user("alice", company, "admin")
    first, second = draft(company, OUT), draft(company, OUT + "\n")
    assert shadows.start_shadow(policy=first, user=alice).state == "shadow"
    shadows.start_shadow(policy=second, user=alice)
    first.refresh_from_db()
    assert (first.state, second.state) == ("validated", "shadow")
    assert [t.policy for t in trials(company.pk)] == [second.pk]
    actions = (
        AuditEvent.objects.filter(target=f"policy:{first.pk}")
        .order_by("sequence")
        .values_list("action", flat=True)
    )
    assert list(actions) == [
        "policy.created",
        "policy.validated",
        "policy.shadow_started",
        "policy.shadow_stopped",
    ]
    assert shadows.stop_shadow(policy=second, user=alice).state == "validated"
    assert trials(company.pk) == ()
    with pytest.raises(Conflict):
        shadows.start_shadow(policy=now_live(company), user=alice)


def test_a_shadow_can_be_published_and_is_one_no_more(company: Any) -> None:
    policy = draft(company, OUT)
    shadows.start_shadow(policy=policy, user=None)
    policies.publish(policy=policy, user=None)
    assert (now_live(company), trials(company.pk)) == (policy, ())


def test_a_shadow_decides_in_the_place_of_its_scope_and_sends_nothing(company: Any) -> None:
    shadows.start_shadow(policy=draft(company, OUT), user=None)
    [trial] = trials(company.pk)
    facts = Facts(whole({"workload": {"name": "support-intent", "task": "classification", "tier": "edge"}}))
    from routing.selectors.world import snapshot_of

    known = list(snapshot_of(company).deployments.values())
    worst = dict.fromkeys((d.name for d in known), 1)
    first = [p.decide(facts, known, lob="customer-service", worst_case=worst).hops[0].deployment
             for p in (compiled(company.pk), trial.policies)]  # fmt: skip
    assert first == ["private-sparse", "ext-mini"]


def test_sampled_decisions_are_tallied_once_and_reported(company: Any) -> None:
    policy = draft(company, OUT)
    shadows.start_shadow(policy=policy, user=None)
    said = {"policy": policy.pk, "hop": "ext-mini", "side": "external", "worst_nusd": 30, "live": "private-sparse",
            "live_side": "private", "live_worst_nusd": 10, "crosses": 0}  # fmt: skip
    same = said | {"hop": "private-sparse", "side": "private", "worst_nusd": 10}
    for i, beside in enumerate(
        [[said], [said | {"crosses": 1}], [same], [{"policy": policy.pk, "error": "KeyError"}], None]
    ):
        DecisionRecord.objects.create(
            id=f"dec_{i}", request_id=f"req_{i}", organisation_id=company.pk, lob="customer-service", workload="support-intent",
            at=now() - timedelta(minutes=2), endpoint="classifications", sensitivity="internal", policy_version="org@1",
            policy_hash="", detail={"beside": beside} if beside else {},
        )  # fmt: skip
    assert (tally(company.pk), tally(company.pk)) == (3, 0)
    report = shadows.report(policy)
    assert (report["sampled"], report["agree"], report["crossings"]) == (3, 0.3333, 1)
    assert report["worst_change_usd"] == "0.00000004"
    [move] = report["moves"]
    assert (move["from"], move["to"], move["requests"], move["sample_ids"]) == (
        "private-sparse",
        "ext-mini",
        2,
        ["dec_0", "dec_1"],
    )
    assert ShadowTally.objects.count() == 2
