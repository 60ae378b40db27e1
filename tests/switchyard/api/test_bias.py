"""REST of bias: monitors without small cells, the signed pack, and nothing of it for a neighbour."""

from __future__ import annotations

import pytest

from modelhub.models import BiasAudit
from modelhub.services import evidence
from routing.models import BiasMonitor
from tests import factories
from tests.switchyard.api.company import Company


@pytest.fixture
def audits(company: Company) -> dict[str, BiasAudit]:
    found = {}
    for lob, name in ((company.service, "triage"), (company.legal, "clauses")):
        workload = factories.make_workload(lob, name)
        report = {"n": 10, "limit": 0.05, "groups": [], "models": {"student": {"version": "c-2"}}}
        found[lob.slug] = BiasAudit.objects.create(
            workload=workload, teacher="home", student="ext", verdict="not_enough_data", report=report
        )
        for n, axis in ((40, "gender"), (7, "age")):
            BiasMonitor.objects.create(
                organisation_id=company.organisation.pk, lob=lob.slug, workload=name, deployment="ext", signal="flip",
                axis=axis, n=n, rate=0.3, e_value=2.0,
            )  # fmt: skip
    return found


def test_monitors_are_listed_without_cells_under_twenty(
    company: Company, audits: dict[str, BiasAudit]
) -> None:
    rows = {row["axis"]: row for row in company.alice.get("bias-monitors", lob=company.legal.slug)["results"]}
    assert (rows["gender"]["n"], rows["gender"]["rate"]) == (40, 0.3)
    assert (rows["age"]["n"], rows["age"]["rate"]) == (None, None)
    assert {row["lob"] for row in company.bob.get("bias-monitors")["results"]} == {company.service.slug}


def test_the_pack_is_signed_and_a_neighbour_finds_none(
    company: Company, audits: dict[str, BiasAudit]
) -> None:
    own, foreign = audits[company.service.slug], audits[company.legal.slug]
    pack = company.bob.get(f"bias-evidence/{own.pk}")
    assert evidence.holds(pack) and pack["workload"] == "triage" and len(pack["monitors"]) == 2
    company.bob.get(f"bias-evidence/{foreign.pk}", expect=404)
    company.alice.get("bias-evidence/999999", expect=404)
    html = company.bob.client.get(f"/api/v1/bias-evidence/{own.pk}?as=html")
    assert html.status_code == 200 and "Bias evidence" in html.content.decode()
