"""How a server is started, on a page: no key in it, nothing of a deployment that isn't the reader's."""

from __future__ import annotations

import pytest

from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    made = make_company(days=1)
    chat = make.make_deployment(made.organisation, "legal-llm", "private")
    chat.tasks, chat.model, chat.api_key = ["chat"], "legal-70b", "sk-secret"
    chat.save()
    chat.lobs.set([made.lobs["legal"]])
    return made


def test_the_command_compose_and_helm_are_shown_without_the_key(company: Company):
    reader = client_of("lena", company, "viewer", "legal")
    assert "/models/launch/legal-llm/" in reader.get("/models/").content.decode()
    page = reader.get("/models/launch/legal-llm/?engine=sglang&devices=4")
    text = page.content.decode()
    assert "sglang" in page.context["spec"].command and page.context["spec"].devices == 4
    assert "sk-secret" not in text and "SWITCHYARD_UPSTREAM_KEY" in text and "llmServers" in text


def test_devices_that_cannot_be_are_told(company: Company):
    page = client_of("lena", company, "viewer", "legal").get("/models/launch/legal-llm/?devices=many")
    assert page.status_code == 200 and page.context["spec"] is None and "1 to 1,024" in page.content.decode()


def test_the_neighbour_finds_neither_link_nor_page(company: Company):
    neighbour = client_of("carl", company, "viewer", "customer-service")
    assert "legal-llm" not in neighbour.get("/models/").content.decode()
    assert neighbour.get("/models/launch/legal-llm/").status_code == 404


def test_what_no_language_server_serves_has_no_such_page(company: Company):
    admin = client_of("alice", company, "admin")
    assert admin.get("/models/launch/ext-mini/").status_code == 404
    assert admin.get("/models/launch/nobody/").status_code == 404
