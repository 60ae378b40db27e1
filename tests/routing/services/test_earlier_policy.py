"""A period decided again by what was live before it: same side at its cost, other side at its price, unknown said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from costs.reports.catalogue import CATALOGUE
from routing.models import DecisionRecord
from routing.policy.facts import whole
from routing.services import earlier_policy
from routing.services.policies import create_draft, publish, rollback
from switchyard.audit.models import AuditEvent
from switchyard.tenancy.querysets import Scope
from tests import factories as make

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 1, tzinfo=UTC)
OUT = 'rules:\n  - name: out\n    when: "true"\n    route: {prefer: [ext-mini], fallback: [private-sparse]}\n'
HOME = OUT.replace("prefer: [ext-mini], fallback: [private-sparse]", "prefer: [private-sparse]")
WORST = {"private-sparse": 800, "ext-mini": 1_100}


@pytest.fixture
def lob() -> Any:
    organisation = make.make_organisation()
    lob = make.make_lob(organisation, "customer-service")
    make.make_workload(lob, "support-intent")
    make.make_deployment(organisation, "private-sparse", "private")
    make.make_deployment(organisation, "ext-mini")
    make.make_policy(organisation)
    dated(START - timedelta(days=60))
    return lob


def dated(at: datetime) -> None:
    """Everything published since the last call happened at `at`."""
    AuditEvent.objects.filter(at__gt=datetime.now(UTC) - timedelta(hours=1)).update(at=at)


def decided(lob: Any, number: int, side: str = "private", **changes: Any) -> DecisionRecord:
    facts = {"workload": {"name": "support-intent", "task": "classification", "tier": "edge", "sensitivity": "internal"},
             "lob": {"slug": "customer-service"}, "data": {"sensitivity": "internal"}}  # fmt: skip
    facts["data"] |= {"sensitivity": changes.pop("sensitivity", "internal")}
    candidates = [
        {"deployment": d, "side": "", "eligible": True, "reasons": [], "cost_nusd": c}
        for d, c in WORST.items()
    ]
    values = {
        "id": f"dec_{number}", "request_id": f"req_{number}", "organisation_id": lob.organisation.pk, "lob": lob.slug,
        "at": START + timedelta(hours=number), "workload": "support-intent", "endpoint": "classifications",
        "sensitivity": "internal", "side": side, "policy_version": "now", "policy_hash": "", "answers": 1,
        "cost_nusd": 700, "other_side_cost_nusd": 1_000,
        "detail": {"facts": whole(facts), "candidates": candidates},
    }  # fmt: skip
    return DecisionRecord.objects.create(**values | changes)


def replay(own: Any, sample: int = 5_000, **changes: Any) -> Any:
    scope = Scope(own.organisation.pk, None, None, frozenset({"finance"}))
    asked = {"scope": scope, "start": START, "end": START + timedelta(days=30), "lob": None} | changes
    return earlier_policy.replay(sample=sample, **asked)


def live(lob: Any, document: str, at: datetime) -> Any:
    policy = publish(
        policy=create_draft(organisation=lob.organisation, lob=lob, document=document, user=None), user=None
    )
    dated(at)
    return policy


def test_requests_go_where_the_earlier_policy_sent_them_at_the_price_of_there(lob: Any) -> None:
    live(lob, OUT, START - timedelta(days=20))
    live(lob, HOME, START + timedelta(days=1))  # of this month: not the one that is asked
    decided(lob, 1)
    decided(lob, 2, side="external", cost_nusd=950, other_side_cost_nusd=600)
    decided(lob, 3, other_side_cost_nusd=None)
    found = replay(lob)["support-intent", "customer-service"]
    # Moved out at 1,000; already out at 950; sent out at a price that nobody knows, so at what it cost.
    assert (found.n, found.of, found.moved, found.unknown) == (3, 3, 1, 1)
    assert found.cost_nusd == 1_000 + 950 + 700
    assert found.version == "org@1+customer-service@1"


def test_invariants_of_then_keep_what_may_not_leave_at_home(lob: Any) -> None:
    live(lob, OUT, START - timedelta(days=20))
    decided(lob, 1, sensitivity="restricted")
    found = replay(lob)["support-intent", "customer-service"]
    assert (found.moved, found.unknown, found.cost_nusd) == (0, 0, 700)


def test_what_was_refused_then_is_counted_apart_at_its_cost(lob: Any) -> None:
    decided(lob, 1)  # the organisation's own document denies by default
    found = replay(lob)["support-intent", "customer-service"]
    assert (found.n, found.unknown, found.cost_nusd) == (1, 1, 700)


def test_a_version_that_was_rolled_back_to_is_the_one_that_was_live(lob: Any) -> None:
    live(lob, HOME, START - timedelta(days=30))
    live(lob, OUT, START - timedelta(days=20))
    rollback(organisation=lob.organisation, lob=lob, user=None)
    dated(START - timedelta(days=10))
    decided(lob, 1)
    assert replay(lob)["support-intent", "customer-service"].version == "org@1+customer-service@1"
    assert replay(lob)["support-intent", "customer-service"].moved == 0


def test_without_a_policy_then_nothing_is_known(lob: Any) -> None:
    decided(lob, 1)
    AuditEvent.objects.update(at=START + timedelta(days=2))
    found = replay(lob)["support-intent", "customer-service"]
    assert (found.n, found.of, found.note) == (0, 1, earlier_policy.NO_POLICY)


def test_a_sample_is_drawn_once_and_for_all_and_scaled_up(lob: Any) -> None:
    live(lob, HOME, START - timedelta(days=20))
    for number in range(30):
        decided(lob, number, cost_nusd=100)
    first, second = replay(lob, sample=10), replay(lob, sample=10)
    found = first["support-intent", "customer-service"]
    assert first == second and (found.n, found.of, found.cost_nusd) == (10, 30, 3_000)


def test_a_neighbours_decisions_are_not_decided_again(lob: Any) -> None:
    decided(lob, 1)
    nobody = Scope(lob.organisation.pk, frozenset({-1}), frozenset({"legal"}), frozenset({"viewer"}))
    assert replay(lob, scope=nobody) == {}
    assert replay(lob, lob="legal") == {}


def test_the_report_finds_the_replay_by_itself() -> None:
    """Routing registers it when the apps are loaded; costs imports nothing of routing."""
    from importlib import import_module

    assert import_module("costs.reports.counterfactual")._replay is earlier_policy.replay
    assert CATALOGUE["counterfactual"].parameters["replay"]("1") is True
