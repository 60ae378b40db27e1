"""Four eyes: nobody approves their own, what was approved goes out, and an approval ends with its proof."""

from __future__ import annotations

from typing import Any

import pytest

from routing.approvals import services as approvals
from routing.models import Policy, PolicyApproval
from routing.services import policies
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import Conflict, InvalidRequest
from tests import factories as make

pytestmark = pytest.mark.django_db
HOME = 'rules:\n  - name: home\n    when: "true"\n    route: {prefer: [private-sparse]}\n'


@pytest.fixture
def company() -> Any:
    organisation = make.make_organisation(four_eyes=True)
    lob = make.make_lob(organisation)
    make.make_workload(lob)
    make.make_deployment(organisation, "private-sparse", "private")
    make.make_policy(organisation)
    return organisation


@pytest.fixture
def alice(company: Any) -> Any:
    return make.make_user("alice", company, "admin")


@pytest.fixture
def bob(company: Any) -> Any:
    return make.make_user("bob", company, "policy_approver")


def draft(company: Any, user: Any, document: str = HOME) -> Policy:
    return policies.create_draft(
        organisation=company, lob=company.lobs.get(), document=document, user=user, note="home"
    )


def asked(company: Any, alice: Any) -> PolicyApproval:
    return approvals.request_approval(
        policy=draft(company, alice), user=alice, evidence={"report": {}}, note="please"
    )


def test_an_author_publishes_what_somebody_else_approved(company: Any, alice: Any, bob: Any):
    request = asked(company, alice)
    approvals.approve(approval=request, user=bob, reason="read")
    live = policies.publish(policy=request.policy, user=alice)
    assert (live.state, live.approved_by) == ("live", bob)
    event = AuditEvent.objects.get(action="policy.approved")
    assert (event.actor, event.detail["approval"], event.detail["note"]) == ("bob", request.pk, "read")


def test_nobody_decides_their_own(company: Any, alice: Any, bob: Any):
    request = asked(company, alice)
    for decide in (approvals.approve, approvals.send_back):
        with pytest.raises(Conflict) as error:
            decide(approval=request, user=alice, reason="mine")
        assert error.value.code == "own_policy"
    other = approvals.request_approval(policy=draft(company, alice), user=bob, evidence={})
    with pytest.raises(Conflict):
        approvals.approve(approval=other, user=bob)  # who asks doesn't decide either


@pytest.mark.parametrize("change", ["deployment", "workload", "invariant", "live version"])
def test_an_approval_ends_when_what_was_proven_has_changed(company: Any, alice: Any, bob: Any, change: str):
    request, late = asked(company, alice), asked(company, alice)
    approvals.approve(approval=request, user=bob)
    assert approvals.standing(request.policy) is not None
    if change == "deployment":
        make.make_deployment(company, "ext-mini")
    elif change == "workload":
        company.workloads.update(sensitivity="restricted")
    elif change == "invariant":
        make.make_policy(company, make.ORGANISATION_POLICY.replace(">= confidential", ">= internal"))
    else:
        make.make_policy(company, HOME + "# again\n", company.lobs.get())
    assert approvals.standing(request.policy) is None
    with pytest.raises(Conflict) as error:
        policies.publish(policy=request.policy, user=alice)
    assert error.value.code == "approval_required"
    with pytest.raises(Conflict) as error:
        approvals.approve(approval=late, user=bob)
    assert error.value.code == "approval_stale"
    assert approvals.send_back(approval=late, user=bob, reason="ask again").state == "sent_back"


def test_it_goes_back_with_a_reason_and_is_asked_for_again(company: Any, alice: Any, bob: Any):
    request = asked(company, alice)
    with pytest.raises(InvalidRequest):
        approvals.send_back(approval=request, user=bob, reason="  ")
    assert approvals.send_back(approval=request, user=bob, reason="too wide").reason == "too wide"
    again = approvals.request_approval(policy=request.policy, user=alice, evidence={})
    assert again.state == "requested"


def test_each_is_asked_and_decided_once(company: Any, alice: Any, bob: Any):
    request = asked(company, alice)
    with pytest.raises(Conflict) as error:
        approvals.request_approval(policy=request.policy, user=alice, evidence={})
    assert error.value.code == "approval_pending"
    approvals.withdraw(approval=request, user=alice)
    for decide in (approvals.approve, approvals.withdraw):
        with pytest.raises(Conflict) as error:
            decide(approval=request, user=bob)
        assert error.value.code == "already_decided"
    policies.publish(policy=request.policy, user=bob)
    with pytest.raises(Conflict) as error:
        approvals.request_approval(policy=request.policy, user=alice, evidence={})
    assert error.value.code == "not_waiting"


def test_a_live_version_needs_no_second_approval_for_its_next_step(company: Any, alice: Any, bob: Any):
    request = asked(company, alice)
    approvals.approve(approval=request, user=bob)
    policies.publish(policy=request.policy, user=alice, percent=10)
    live = policies.publish(policy=request.policy, user=alice, percent=50)
    assert (live.percent, live.approved_by) == (50, bob)
