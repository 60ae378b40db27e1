"""GET /api/v1/proofs from every side: a risk officer, one line of business, a neighbour, nonsense."""

import itertools
from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from switchyard.core.clock import now
from switchyard.tenancy.models import LineOfBusiness
from tests import factories as make
from tests.costs.events import make_attempt
from tests.routing.proofs.test_proofs import company, event, write  # noqa: F401

pytestmark = pytest.mark.django_db
NUMBERS = itertools.count()


def client(organisation, *lobs, role="risk"):
    user = make.make_user(
        f"{role}-{organisation.slug}-{len(lobs)}-{next(NUMBERS)}", organisation, role=role, lobs=lobs
    )
    found = APIClient()
    found.force_authenticate(user)
    return found


def period():
    return {"class": "restricted", "from": (now() - timedelta(hours=3)).isoformat(),
            "to": (now() - timedelta(minutes=10)).isoformat()}  # fmt: skip


def test_the_proof_is_told_signed_and_by_line_of_business(company):  # noqa: F811
    write([event(company), event(company, make_attempt(), lob="legal")])
    told = client(company).get("/api/v1/proofs", period()).json()
    assert told["body"]["holds"] is False
    assert told["signature"]["algorithm"] == "Ed25519"
    service = LineOfBusiness.objects.get(organisation=company, slug="customer-service")
    own = client(company, service).get("/api/v1/proofs/", period())
    assert (own.json()["body"]["holds"], own.json()["body"]["question"]["lobs"]) == (
        True,
        ["customer-service"],
    )
    assert client(company, service).get("/api/v1/proofs", period() | {"lob": "legal"}).status_code == 404


def test_a_neighbour_sees_nothing_of_it(company):  # noqa: F811
    write([event(company, make_attempt())])
    other = make.make_organisation(slug="other", name="Other")
    told = client(other).get("/api/v1/proofs", period()).json()
    assert (told["body"]["counts"]["requests"], told["body"]["contradictions"]) == (0, [])
    assert APIClient().get("/api/v1/proofs", period()).status_code in (401, 403)


@pytest.mark.parametrize(
    "change", [{"class": "secret"}, {"from": "soon"}, {"to": "2026-13-01"}, {"to": "2020-01-01"}]
)
def test_nonsense_is_refused_with_its_parameter(company, change):  # noqa: F811
    answer = client(company).get("/api/v1/proofs", period() | change)
    assert answer.status_code == 400
    assert "expected" in str(answer.json()) or "later" in str(answer.json())
