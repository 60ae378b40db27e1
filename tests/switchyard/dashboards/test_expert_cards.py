"""What the shipped model's card says of its experts, on the page: weak ones, their slices, and the loop that was closed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.models import ExpertActivation
from modelhub.models.activation import WIRE
from switchyard.core.clock import now
from switchyard.dashboards.views import experts
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

STATED = {
    "cards": [],
    "similar": [],
    "weakest": [
        {
            "layer": 2, "expert": 5, "load": 0.04, "accuracy": 0.7, "low": 0.6, "high": 0.8, "rows": 60,
            "slices": [
                {"head": "contract-clauses", "label": "Exclusivity", "accuracy": 0.41, "rows": 17},
                {"head": "support-intent", "label": "card lost", "accuracy": 0.5, "rows": 10},
            ],
        }
    ],
    "loop": {
        "config": {"extra": 720},
        "findings": [{"left_out": 4}, {"left_out": 3}],
        "changes": {
            arm: {
                place: {"median": median, "low": median - 1, "high": median + 1, "by_seed": [1, 2, 3]}
                for place, median in (("slices", gain), ("elsewhere", -0.1), ("overall", 0.2))
            }
            for arm, gain in (("weak_rows", 3.5), ("random_rows", 1.0))
        },
    },
}  # fmt: skip


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> Company:
    made = make_company(days=1)
    ExpertActivation.objects.create(
        organisation_id=made.organisation.pk, model="txt-base", source="serving", lob="customer-service",
        head="support-intent", label="card lost", day=(now() - timedelta(hours=1)).date(), layers=3, experts=6,
        requests=1, tokens=4, packed=np.ones((3, 6), WIRE).tobytes(),
    )  # fmt: skip
    monkeypatch.setattr(experts, "_stated", lambda model: STATED)
    return made


@pytest.mark.django_db
def test_the_loop_is_shown_beside_its_control(company: Company):
    page = client_of("alice", company, "admin").get("/experts/")
    rows = page.context["panel"]["data-loop"].rows
    assert [row[2] for row in rows] == [3.5, -0.1, 0.2, 1.0, -0.1, 0.2] and rows[0][3:] == [2.5, 4.5, 3]
    assert (
        "720" in page.context["panel"]["data-loop"].note
        and "7 that look" in page.context["panel"]["data-loop"].note
    )


@pytest.mark.django_db
def test_weak_slices_are_told_to_those_whose_labels_they_are(company: Company):
    own = (
        client_of("bob", company, "viewer", "customer-service")
        .get("/experts/?csv=weak-experts")
        .content.decode()
    )
    assert "card lost" in own and "Exclusivity" not in own and "contract-clauses" not in own
    both = client_of("alice", company, "admin").get("/experts/?csv=weak-experts").content.decode()
    assert "Exclusivity" in both


def test_the_shipped_model_carries_its_cards():
    stated: dict[str, Any] = artifacts.load_manifest(artifacts.SHIPPED / "txt-base")["experts"]
    assert len(stated["cards"]) == 6 * 36 and len(stated["weakest"]) == 3
    loads = {layer: sum(c["load"] for c in stated["cards"] if c["layer"] == layer) for layer in range(6)}
    assert all(abs(total - 1) < 0.001 for total in loads.values())
    assert all(served["lift"] >= 1.25 for card in stated["cards"] for served in card["labels"])
