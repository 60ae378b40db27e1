"""The product's own pages through the front to a pages process: what a browser and a program rely on stays as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from django.core.asgi import get_asgi_application

from switchyard.tenancy.services import create_token
from tests import factories as make
from tests.fakes.pages import Pair

PASSWORD = "correct horse battery"  # of the factories


@pytest.fixture
def pair(transactional_db: None, tmp_path: Any) -> Iterator[Pair]:
    found = Pair(get_asgi_application(), tmp_path)
    yield found
    found.stop()


@pytest.fixture
def alice(pair: Pair) -> Any:
    organisation = make.make_organisation(slug="acme")
    make.make_lob(organisation, "legal")
    return make.make_user("alice", organisation, "admin", is_staff=True, is_superuser=True)


@pytest.fixture
def browser(pair: Pair) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=pair.url, timeout=30) as found:
        yield found


def post(browser: httpx.Client, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
    """A form, with the token of its page."""
    token = browser.cookies["csrftoken"]
    return browser.post(
        path,
        data=fields | {"csrfmiddlewaretoken": token},
        headers={"origin": str(browser.base_url).rstrip("/")} | headers,
    )


def log_in(browser: httpx.Client, password: str = PASSWORD, **headers: str) -> httpx.Response:
    browser.get("/login/")
    return post(browser, "/login/", {"username": "alice", "password": password}, **headers)


def test_in_through_the_form_an_object_saved_in_the_admin_and_out_again(pair, alice, browser):
    from switchyard.tenancy.models import LineOfBusiness

    answer = log_in(browser)
    assert answer.status_code == 302 and answer.headers["location"] == "/"
    cookies = answer.headers.get_list("set-cookie")
    assert {cookie.split("=")[0] for cookie in cookies} == {"csrftoken", "sessionid"}
    assert "Overview" in browser.get("/").text
    lob = LineOfBusiness.objects.get(slug="legal")
    form = f"/admin/tenancy/lineofbusiness/{lob.pk}/change/"
    page = browser.get(form)
    assert page.status_code == 200
    fields = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page.text))
    fields |= {
        name: value for value, name in re.findall(r'<input[^>]*value="([^"]*)"[^>]*name="([^"]+)"', page.text)
    }
    for name, chosen in re.findall(
        r'<select name="([^"]+)".*?<option value="([^"]*)" selected', page.text, re.DOTALL
    ):
        fields[name] = chosen
    for name in ("_addanother", "_continue", "csrfmiddlewaretoken"):
        fields.pop(name, None)
    answer = post(browser, form, fields | {"name": "Law"})
    assert answer.status_code == 302, re.findall(r"errorlist.*", answer.text)
    lob.refresh_from_db()
    assert lob.name == "Law"
    assert post(browser, "/logout/", {}).status_code == 302
    assert browser.get("/").headers["location"].startswith("/login/")


def test_a_form_of_another_site_and_another_host_are_refused(pair, alice, browser):
    assert log_in(browser, origin="http://evil.example").status_code == 403
    assert browser.get("/login/", headers={"host": "evil.example"}).status_code == 400


def test_lock_out_counts_by_the_connections_address_whatever_a_caller_claims(pair, alice, browser, settings):
    from axes.models import AccessAttempt

    settings.AXES_ENABLED = True
    settings.AXES_FAILURE_LIMIT = 3
    statuses = [log_in(browser, "wrong", **{"x-forwarded-for": f"9.9.9.{n}"}).status_code for n in range(4)]
    assert statuses == [200, 200, 429, 429]
    assert set(AccessAttempt.objects.values_list("ip_address", flat=True)) == {"127.0.0.1"}
    assert log_in(browser).status_code == 429, "the right password doesn't help from there"


def test_the_rest_api_answers_as_it_does_in_one_process(pair, alice, browser):
    bearer = {"authorization": f"Bearer {create_token(user=alice, name='test')[1]}"}
    found = browser.get("/api/v1/lobs", headers=bearer)
    assert [row["slug"] for row in found.json()["results"]] == ["legal"]
    made = browser.post("/api/v1/lobs", json={"slug": "sales", "name": "Sales"}, headers=bearer)
    assert made.status_code == 201
    refused = browser.post("/api/v1/lobs", json={"slug": "sales", "name": "Sales"}, headers=bearer)
    assert refused.status_code == 400 and refused.headers["content-type"] == "application/problem+json"
    assert browser.get("/api/v1/lobs/none", headers=bearer).status_code == 404
    first = browser.get("/api/v1/lobs?limit=1", headers=bearer).json()
    assert first["next"] is None or first["next"].startswith(pair.url), "addresses are those the reader used"


def test_files_and_exports_stream(pair, alice, browser):
    log_in(browser)
    export = browser.get("/api/v1/exports/focus")
    assert export.status_code == 200 and export.headers["content-type"].startswith("text/csv")
    assert "BilledCost" in export.text.splitlines()[0]
    style = browser.get("/static/dashboards/pages.css")
    assert style.status_code == 200 and len(style.content) == int(style.headers["content-length"])
    again = browser.get(
        "/static/dashboards/pages.css", headers={"if-modified-since": style.headers["last-modified"]}
    )
    assert again.status_code == 304 and again.content == b""
    head = browser.head("/spend/")
    assert head.status_code == 200 and head.content == b""
