"""What was learned and thresholds on offer over REST: by role, and from the neighbour's side."""

from __future__ import annotations

from typing import Any

import pytest

from routing.learning.models import RoutingFit
from tests import factories
from tests.switchyard.api.company import Company


@pytest.fixture
def deployed(company: Company) -> Company:
    for name, side in (("ext-a", "external"), ("home-a", "private")):
        row = factories.make_deployment(company.organisation, name, side)
        for lob, work in ((company.service, "support-intent"), (company.legal, "contract-clauses")):
            workload = company.organisation.workloads.filter(name=work).first() or factories.make_workload(
                lob, work
            )
            factories.make_version(row, workload)
    return company


def _fit(company: Company, lob: Any, workload: str, **changes: Any) -> RoutingFit:
    values = {
        "kind": "scorer",
        "version": 1,
        "state": "live",
        "n": 400,
        "values": {"secret": 1},
        "report": {"low": 0.01},
    }
    return RoutingFit.objects.create(
        organisation_id=company.organisation.pk, lob=lob.slug, workload=workload, **(values | changes)
    )


def test_fits_are_seen_by_their_own_line_of_business_and_retired_by_who_may(deployed: Company):
    own = _fit(deployed, deployed.service, "support-intent")
    foreign = _fit(deployed, deployed.legal, "contract-clauses")
    rows = deployed.bob.get("routing-fits")["results"]
    assert [row["id"] for row in rows] == [own.pk] and "values" not in rows[0]
    assert len(deployed.alice.get("routing-fits")["results"]) == 2
    assert deployed.charlie.get("routing-fits", expect=403)["status"] == 403
    deployed.bob.get(f"routing-fits/{foreign.pk}", expect=404)
    deployed.bob.post(f"routing-fits/{foreign.pk}/retire", expect=404)
    viewer = deployed.person("vera", "viewer")
    viewer.post(f"routing-fits/{own.pk}/retire", expect=403)
    assert deployed.bob.post(f"routing-fits/{own.pk}/retire", expect=200)["state"] == "retired"
    assert deployed.bob.post(f"routing-fits/{own.pk}/retire", expect=409)["code"] == "conflict"


def test_learning_is_asked_for_by_workload_and_says_what_is_missing(deployed: Company):
    told = deployed.bob.post("routing-fits", {"workload": "support-intent"})
    assert told == {"fits": [], "reasons": {"scorer": "no judged answers yet"}}
    errors = deployed.bob.post("routing-fits", {"workload": "contract-clauses"}, expect=400)["errors"]
    assert errors[0]["path"] == "workload"
    deployed.bob.post("routing-fits", {"workload": "support-intent", "more": 1}, expect=400)
    deployed.person("vera", "viewer").post("routing-fits", {"workload": "support-intent"}, expect=403)


def test_a_threshold_is_offered_to_those_who_see_the_workload(deployed: Company):
    offer = deployed.bob.get(
        "cascade-thresholds/support-intent", small="ext-a", big="home-a", goal="accuracy", target="0.99"
    )
    assert offer["n"] == 1_487 and offer["verdict"] == "pass" and offer["chosen"]["accuracy_share"] >= 0.99
    assert offer["on_unseen_rows"]["above_random_points"]["low"] > 0
    assert deployed.bob.get("cascade-thresholds")["results"] == [{"workload": "support-intent"}]
    deployed.bob.get("cascade-thresholds/contract-clauses", expect=404, small="ext-a", big="home-a")
    deployed.alice.get("cascade-thresholds/contract-clauses", small="ext-a", big="home-a")
    deployed.charlie.get("cascade-thresholds/support-intent", expect=403, small="ext-a", big="home-a")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"small": "ext-a"}, 400),
        ({"small": "ext-a", "big": "home-a", "target": "much"}, 400),
        ({"small": "ext-a", "big": "home-a", "target": "nan"}, 400),
        ({"small": "ext-a", "big": "home-a", "goal": "speed"}, 400),
        ({"small": "ext-a", "big": "nobody"}, 404),
        ({"small": "ext-a", "big": "a\x00b"}, 400),
    ],
)
def test_bad_questions_are_refused_in_words(deployed: Company, query: dict[str, str], status: int):
    deployed.bob.get("cascade-thresholds/support-intent", expect=status, **query)
