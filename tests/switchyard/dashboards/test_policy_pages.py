"""Pages of policies: what each role sees and may do, what comes back when it is wrong, and from the neighbour's side."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from routing.models import Policy
from routing.services import policies as services
from tests.switchyard.dashboards.company import LOB_POLICY, Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db
HOME = 'rules:\n  - name: home\n    when: "true"\n    route: {prefer: [private-sparse]}\n'


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


def draft(company: Company, document: str = HOME, lob: str = "customer-service", user: Any = None) -> Policy:
    return services.create_draft(
        organisation=company.organisation, lob=company.lobs[lob], document=document, user=user, note="home"
    )


def test_every_page_of_a_version_is_shown(company: Company) -> None:
    client, new = client_of("alice", company, "admin"), draft(company)
    pages = [
        "/policies/", "/policies/new/?scope=customer-service", f"/policies/new/?scope=customer-service&from={new.pk}",
        "/policies/new/", "/policies/try/", "/policies/try/?kind=facts", "/policies/try/?kind=request", "/policies/history/",
        "/policies/history/?scope=customer-service", "/policies/history/?csv=1", "/policies/approvals/",
        f"/policies/{new.pk}/", f"/policies/{new.pk}/difference/", f"/policies/{new.pk}/what-if/",
    ]  # fmt: skip
    assert {page: client.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)
