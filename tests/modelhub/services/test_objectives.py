"""When a deployment burns a workload's error budget its traffic moves, somebody is told why, and it comes back by a trial."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from costs.models import Alert, SpendHour
from modelhub.models import AccuracyBurn
from modelhub.selectors.quality import latest_quality
from modelhub.services import objectives
from modelhub.services.objectives import budget_left, look_at, set_objective, watch_objectives
from routing.contracts import Facts
from routing.policy.facts import empty_facts
from routing.selectors.world import snapshot_of
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from tests.factories import make_deployment, make_lob, make_policy, make_version, make_workload

pytestmark = pytest.mark.django_db
POLICY = """\
invariants:
  - name: restricted data stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules:
  - name: outside first
    when: workload.name == "support-sentiment"
    route: {prefer: [ext-mini], fallback: [private-sparse]}
default: deny
"""


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Any:
    lob = make_lob()
    workload = make_workload(lob)
    for name, side in (("ext-mini", "external"), ("private-sparse", "private")):
        make_version(make_deployment(lob.organisation, name, side), workload)
    make_policy(lob.organisation, POLICY)
    return workload


def feedback(
    workload: Any, deployment: str, n: int, right: int, hours_ago: float = 0, model: str = "m-1"
) -> None:
    start = (now() - timedelta(hours=hours_ago)).replace(minute=0, second=0, microsecond=0)
    SpendHour.objects.update_or_create(
        organisation_id=workload.organisation_id, start=start, lob=workload.lob.slug, workload=workload.name,
        deployment=deployment, model=model, side="external", defaults={"judged": n, "correct": right},
    )  # fmt: skip


def first_choice(workload: Any, sticky: str = "someone", world: Any = None) -> list[str]:
    world = world or snapshot_of(workload.organisation)
    facts = empty_facts()
    facts["workload"] |= {
        "name": workload.name,
        "task": "classification",
        "tier": "edge",
        "sensitivity": "internal",
    }
    facts["data"]["sensitivity"] = "internal"
    decision = world.policies.decide(
        Facts(facts), list(world.deployments.values()), lob=workload.lob.slug, worst_case={}, sticky=sticky
    )
    return [hop.deployment for hop in decision.hops]


def later(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    moment = now() + timedelta(hours=hours)
    for module in (objectives, __import__("tests.modelhub.services.test_objectives", fromlist=["now"])):
        monkeypatch.setattr(module, "now", lambda: moment)


def test_a_burning_budget_moves_the_traffic_and_says_why(shop: Any):
    objective = set_objective(workload=shop, target=0.9, user=None)
    feedback(shop, "ext-mini", 200, 184)
    look_at(objective)
    assert (
        first_choice(shop) == ["ext-mini", "private-sparse"]
        and not Alert.objects.filter(kind="accuracy_burn").exists()
    )
    feedback(shop, "ext-mini", 200, 120, model="m-2")
    assert watch_objectives() == 1
    assert first_choice(shop) == ["private-sparse", "ext-mini"]  # nobody is refused for it
    alert = Alert.objects.get(kind="accuracy_burn")
    assert alert.cause == "m-2: 80 of 200 judged answers wrong" and "96 of 400" in alert.message
    assert latest_quality(shop.organisation_id)["ext-mini", "support-sentiment"] == (0.76, 400)
    assert AuditEvent.objects.filter(action="objective.burning").exists()
    assert watch_objectives() == 1 and Alert.objects.filter(kind="accuracy_burn").count() == 1


def test_few_rows_never_burn_and_a_slow_leak_does(shop: Any):
    objective = set_objective(workload=shop, target=0.9, user=None)
    feedback(shop, "ext-mini", 5, 1)
    look_at(objective)
    assert not AccuracyBurn.objects.exists()
    for hour in range(3, 20):
        feedback(shop, "ext-mini", 200, 170, hours_ago=hour)
    look_at(objective)
    assert "last day" in Alert.objects.get(kind="accuracy_burn").message


def test_it_comes_back_on_trial_and_goes_again_for_longer_where_it_is_no_better(
    shop: Any, monkeypatch: pytest.MonkeyPatch
):
    objective = set_objective(workload=shop, target=0.9, user=None)
    feedback(shop, "ext-mini", 200, 100)
    look_at(objective)
    later(monkeypatch, 0.5)
    look_at(objective)
    assert AccuracyBurn.objects.get().state == "burning"
    later(monkeypatch, 1)
    look_at(objective)
    burn = AccuracyBurn.objects.get()
    assert (burn.state, burn.share) == ("probing", 10)
    world = snapshot_of(shop.organisation)
    tried = [first_choice(shop, f"user-{n}", world)[0] for n in range(400)]
    assert 15 <= tried.count("ext-mini") <= 70  # a tenth of the callers
    later(monkeypatch, 1.2)
    feedback(shop, "ext-mini", 60, 30)
    look_at(objective)
    burn.refresh_from_db()
    assert (burn.state, burn.returns) == ("burning", 1)
    later(monkeypatch, 1.5)
    look_at(objective)
    burn.refresh_from_db()
    assert burn.state == "burning"  # twice as long this time
    later(monkeypatch, 1)
    look_at(objective)
    later(monkeypatch, 1.2)
    feedback(shop, "ext-mini", 60, 57)
    look_at(objective)
    burn.refresh_from_db()
    assert burn.state == "recovered" and burn.ended_at is not None
    assert first_choice(shop) == ["ext-mini", "private-sparse"]
    look_at(objective)
    assert AccuracyBurn.objects.count() == 1  # what was judged before it recovered doesn't burn it again


def test_another_live_version_is_tried_at_once(shop: Any, monkeypatch: pytest.MonkeyPatch):
    objective = set_objective(workload=shop, target=0.9, user=None)
    feedback(shop, "ext-mini", 200, 100)
    look_at(objective)
    live = shop.versions.get(deployment__name="ext-mini")
    live.promoted_at = now() + timedelta(seconds=1)
    live.save()
    later(monkeypatch, 0.1)
    look_at(objective)
    assert AccuracyBurn.objects.get().state == "probing"


def test_what_is_left_of_the_budget(shop: Any):
    objective = set_objective(workload=shop, target=0.9, user=None)
    assert budget_left(objective) == (None, 0)
    feedback(shop, "ext-mini", 100, 95)
    left, n = budget_left(objective)
    assert (round(left, 6), n) == (0.5, 100)
    for wrong in (0.0, 1.0, 7):
        with pytest.raises(InvalidRequest):
            set_objective(workload=shop, target=wrong, user=None)
