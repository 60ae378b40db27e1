"""Shadows, guards and thresholds on pages, by REST and on the command line."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from modelhub.ml.answer_sheets import Sheet
from modelhub.models import Evaluation
from routing.models import Policy, RolloutWatch, ShadowTally
from routing.services import policies as services
from switchyard.core.clock import now
from switchyard.tenancy.models import User
from tests import factories as make
from tests.routing.whatif import test_job as replay_test
from tests.switchyard.api.company import caller_of
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of
from tests.switchyard.dashboards.test_policy_pages import HOME, draft, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


def tally(policy: Policy, lob: str, workload: str) -> None:
    ShadowTally.objects.create(
        policy=policy, day=date.today(), lob=lob, workload=workload, live="private-sparse", shadow="ext-mini",
        live_side="private", shadow_side="external", requests=12, live_worst_nusd=100, shadow_worst_nusd=700,
    )  # fmt: skip


def state(policy: Policy) -> str:
    policy.refresh_from_db()
    return policy.state


def test_a_shadow_is_started_and_stopped_from_its_page(company: Company) -> None:
    client, new = client_of("ann", company, "policy_author"), draft(company)
    client.post(f"/policies/{new.pk}/shadow/")
    assert state(new) == "shadow" and "Stop the shadow" in client.get(f"/policies/{new.pk}/").content.decode()
    client.post(f"/policies/{new.pk}/unshadow/")
    assert state(new) == "validated"
    assert "no shadow" in told(client.post(f"/policies/{new.pk}/unshadow/", follow=True))
    assert client_of("vera", company, "viewer").post(f"/policies/{new.pk}/shadow/").status_code == 403
    bob = client_of("bob", company, "policy_author", "legal")
    assert bob.post(f"/policies/{new.pk}/shadow/").status_code == 404
    history = client.get("/policies/history/?scope=customer-service").content.decode()
    assert "shadow started" in history and "shadow stopped" in history


def test_shadows_by_rest_and_on_the_command_line(company: Company, capsys: Any) -> None:
    client_of("ann", company, "admin")
    ann, new = caller_of(User.objects.get(username="ann")), draft(company)
    assert ann.post(f"policies/{new.pk}/shadow", {"on": True}, expect=200)["state"] == "shadow"
    tally(new, "customer-service", "support-intent")
    (row,) = ann.get(f"policies/{new.pk}/shadow")["results"]
    assert (row["live"], row["shadow"], row["requests"], float(row["change_usd"])) == (
        "private-sparse",
        "ext-mini",
        12,
        6e-7,
    )
    assert ann.post(f"policies/{new.pk}/shadow", {"on": False}, expect=200)["state"] == "validated"
    ann.post(f"policies/{new.pk}/shadow", {"on": "perhaps"}, expect=400)
    call_command("policy_shadow", "start", "customer-service@2")
    call_command("policy_shadow", "show", "customer-service@2")
    assert "support-intent: private-sparse → ext-mini, 12 requests" in capsys.readouterr().out
    call_command("policy_shadow", "stop", "customer-service@2")
    with pytest.raises(CommandError):
        call_command("policy_shadow", "stop", "customer-service@2")


def test_the_organisations_shadow_tells_each_line_its_own(company: Company) -> None:
    live = company.policies["organisation"]
    tally(live, "customer-service", "support-intent")
    tally(live, "legal", "contract-clauses")
    bob = client_of("bob", company, "viewer", "customer-service")
    text = bob.get("/policies/history/").content.decode()
    assert "support-intent" in text and "contract-clauses" not in text
    rows = caller_of(User.objects.get(username="bob")).get(f"policies/{live.pk}/shadow")["results"]
    assert [r["workload"] for r in rows] == ["support-intent"]


def test_a_rollout_is_watched_where_everybody_sees_it(company: Company) -> None:
    client, new = client_of("paul", company, "policy_approver"), draft(company)
    paul = caller_of(User.objects.get(username="paul"))
    paul.get(f"policies/{new.pk}/rollout", expect=404)
    client.post(f"/policies/{new.pk}/publish/", {"percent": "10"})
    assert paul.get(f"policies/{new.pk}/rollout")["state"] == "watching"
    assert "watching" in client.get(f"/policies/{new.pk}/").content.decode()
    reason = "refused and failed requests: 4.1 % against 0.9 %, over 400 requests (evidence 312 to 1)."
    services.rollback(
        organisation=company.organisation, lob=company.lobs["customer-service"], user=None, reason=reason
    )
    figures = {"errors": {"n": 400, "new": 0.041, "old": 0.009, "evidence": 312.0}}
    RolloutWatch.objects.filter(policy=new).update(
        state="rolled_back", reason=reason, tests={"figures": figures}
    )
    history = client.get("/policies/history/?scope=customer-service").content.decode()
    assert "rolled back by itself" in history and history.count(reason) == 2
    assert "4.1 %" in history and "0.9 %" in history and "312" in history


def test_a_publisher_who_saw_another_version_live_is_refused_by_rest(company: Company) -> None:
    client_of("paul", company, "policy_approver")
    paul = caller_of(User.objects.get(username="paul"))
    first, second, seen = (
        draft(company),
        draft(company, HOME + "# 2\n"),
        company.policies["customer-service"].pk,
    )
    paul.post(f"policies/{first.pk}/publish", {"expected": seen}, expect=200)
    assert (
        paul.post(f"policies/{second.pk}/publish", {"expected": seen}, expect=409)["code"] == "live_changed"
    )
    assert paul.post(f"policies/{second.pk}/publish", {"expected": first.pk}, expect=200)["state"] == "live"


@pytest.mark.parametrize(
    "given",
    [
        {"small": "nobody"},
        {"target": "much"},
        {"target": "nan"},
        {"goal": "fame"},
        {"big": "ext-mini"},
        {"target": "1e400"},
    ],
)
def test_a_threshold_that_cannot_be_offered_is_said(company: Company, given: dict[str, str]) -> None:
    client = client_of("ann", company, "policy_author")
    values = {
        "workload": "support-intent",
        "small": "ext-mini",
        "big": "private-sparse",
        "goal": "accuracy",
        "target": "",
    }
    answer = client.post("/policies/threshold/", values | given)
    assert answer.status_code == 400 and answer.context["faults"]
    assert client.post("/policies/threshold/", values | {"workload": "nobody"}).status_code == 404
    assert (
        client_of("bob", company, "policy_author", "legal").post("/policies/threshold/", values).status_code
        == 404
    )
    assert client_of("vera", company, "viewer").post("/policies/threshold/", values).status_code == 403


def test_a_threshold_from_evaluated_rows_is_offered_to_insert(company: Company) -> None:
    draws = np.random.default_rng(7).random(400)
    for name, right, sure in (
        ("ext-mini", draws < 0.85, 1 - draws),
        ("private-sparse", draws < 0.95, 1 - draws / 2),
    ):
        rows = Evaluation.objects.filter(
            workload=company.workloads["customer-service"], deployment__name=name
        )
        rows.update(detail={"answers": Sheet(right, sure, "the same rows").pack()}, at=now())
    values = {
        "workload": "support-intent",
        "small": "ext-mini",
        "big": "private-sparse",
        "goal": "accuracy",
        "target": "95",
    }
    answer = client_of("ann", company, "policy_author").post("/policies/threshold/", values)
    assert answer.status_code == 200 and answer.context["told"]["n"] == 400
    assert "{cascade: [ext-mini, private-sparse], until: &quot;confidence &gt;= 0." in answer.content.decode()


@pytest.fixture
def replayed() -> Any:
    organisation = make.make_organisation()
    lob = make.make_lob(organisation, "customer-service")
    make.make_workload(lob, "support-intent")
    make.make_deployment(organisation, "private-sparse", "private")
    make.make_deployment(organisation, "ext-mini")
    make.make_policy(organisation)
    make.make_policy(organisation, replay_test.HOME, lob)
    return organisation


def test_a_real_replay_is_shown_on_its_page_by_rest_and_on_the_command_line(
    replayed: Any, capsys: Any
) -> None:
    """What the job writes is what the pages read."""
    for number in range(60):
        replay_test.recorded(replayed, number)
    lob = replay_test.lob_of(replayed)
    new = services.create_draft(organisation=replayed, lob=lob, document=replay_test.OUT, user=None)
    client = client_of("ann", Company(replayed, {lob.slug: lob}, {}, {}, {}, {}, {}), "admin")
    client.post(f"/policies/{new.pk}/what-if/start/", {"days": "14"})
    replay_test.answered(new.what_ifs.get())
    page = client.get(f"/policies/{new.pk}/what-if/")
    text = page.content.decode()
    assert page.context["report"]["requests"] == 60 and page.context["report"]["changed"] == 60
    assert text.count("data-figure=") >= 3 and "Not enough data to say for: support-intent." in text
    assert "/decisions/dec_0000" in text, "movers lead to decisions"
    ann = caller_of(User.objects.get(username="ann"))
    assert ann.get(f"policies/{new.pk}/what-if")["report"]["crossings"]["requests"] == 0
    call_command("policy_what_if", "customer-service@2", "--show")
    assert "requests          60" in capsys.readouterr().out
