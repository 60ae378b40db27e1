"""Upstreams on pages and by REST: how they do now, what they support, the catalogue; nothing of a neighbour's."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client

from costs.breakers import breaker_of, read_breakers
from costs.models import Attempt, Price
from modelhub.models import Deployment
from routing.models import DecisionRecord
from routing.selectors.health import upstream_health
from switchyard.core.clock import now
from switchyard.jobs.models import Job
from switchyard.tenancy.querysets import scope_of
from tests import factories as make
from tests.fakes.valkey import ValkeyServer
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def company(valkey: ValkeyServer, settings: Any) -> Company:
    """Beside the shared two there is a deployment of legal's alone; customer service and legal both called ext-mini."""
    settings.REDIS_URL = valkey.url
    made = make_company(days=1)
    Attempt.objects.all().delete()
    make.make_deployment(made.organisation, "legal-llm", "private", lobs=(made.lobs["legal"],))
    for number, (lob, deployment, status) in enumerate([
        ("customer-service", "ext-mini", "ok"), ("customer-service", "ext-mini", "error"), ("customer-service", "ext-mini", "ok"),
        ("customer-service", "private-sparse", "ok"), ("legal", "legal-llm", "error"), ("legal", "private-sparse", "ok"),
    ]):  # fmt: skip
        called(made, lob, deployment, status, number)
    return made


def called(company: Company, lob: str, deployment: str, status: str, number: int, ago_s: float = 30) -> None:
    at, request_id = now() - timedelta(seconds=ago_s + number), f"req_{lob}_call_{number}"
    Attempt.objects.create(
        request_id=request_id, organisation_id=company.organisation.pk, at=at, lob=lob, deployment=deployment,
        side="external", model="m", status=status, price_version="p", cost_nusd=0,
    )  # fmt: skip
    attempt = {
        "deployment": deployment,
        "status": status,
        "error": "status" if status == "error" else "",
        "http_status": 503,
    }
    DecisionRecord.objects.create(
        id=f"dec_{lob}_call_{number}", request_id=request_id, organisation_id=company.organisation.pk, at=at, lob=lob,
        endpoint="chat/completions", sensitivity="internal", policy_version="1", policy_hash="0", detail={"attempts": [attempt]},
    )  # fmt: skip


def breaker(valkey: ValkeyServer, company: Company, name: str, **fields: Any) -> None:
    valkey.client().hset(f"sy:cb:{company.organisation.pk}:{name}", mapping=fields)


def rest(client: Client, **query: str) -> dict[str, Any]:
    answer = client.get("/api/v1/upstream-health/", query)
    assert answer.status_code == 200, answer.content
    return {row["deployment"]: row for row in answer.json()["results"]}


# ------------------------------------------------------------------------------------------------------------ health
def test_a_breaker_is_closed_open_half_open_or_resting() -> None:
    ms = 1_800_000_000_000.0
    stamp = ms // 5000
    assert breaker_of({}, ms).state == "closed"
    opened = breaker_of({b"st": b"1", b"ou": str(ms + 9000).encode(), b"pr": b"req_x"}, ms)
    assert (opened.state, opened.opens_for_s) == ("open", 9.0)
    assert breaker_of({b"st": b"1", b"ou": str(ms - 1).encode()}, ms).state == "half_open"
    assert breaker_of({b"st": b"2", b"ou": b"1"}, ms).state == "half_open"
    counted = {
        b"cf": b"2",
        b"s0": str(stamp).encode(),
        b"n0": b"7",
        b"f0": b"2",
        b"s1": str(stamp - 7).encode(),
        b"n1": b"99",
    }
    told = breaker_of(counted | {b"ru": str(ms + 4000).encode()}, ms)
    assert (told.calls, told.failures, told.failures_in_a_row, told.rests_for_s) == (7, 2, 2, 4.0)


def test_the_breaker_that_admission_opened_is_read_as_open(valkey: ValkeyServer) -> None:
    """What is read here is what admission.lua writes: five failures in a row through the real script."""
    import asyncio

    from costs.admission import RedisAdmission

    async def fail() -> None:
        admission = RedisAdmission(valkey.url)
        await admission.start()
        await admission.tell(7, [("ext-mini", False)] * 5 + [("other", False, 4000), ("other", True)])
        await admission.close()

    asyncio.run(fail())
    told = read_breakers(valkey.client(), 7, ["ext-mini", "other", "nobody"])
    assert told is not None
    assert told["ext-mini"].state == "open" and 8 < told["ext-mini"].opens_for_s <= 10
    assert told["other"].state == "closed" and (told["other"].calls, told["other"].failures) == (2, 1)
    assert 3 < told["other"].rests_for_s <= 4 and told["nobody"].state == "closed"


def test_the_page_and_rest_tell_breaker_rest_look_failure_and_share(
    company: Company, valkey: ValkeyServer
) -> None:
    breaker(
        valkey,
        company,
        "ext-mini",
        st=1,
        ou=int(time.time() * 1000) + 60_000,
        ru=int(time.time() * 1000) + 30_000,
    )
    look = {"at": time.time(), "state": "dead", "why": "it answered 503", "ms": 3.1, "in_a_row": 2}
    valkey.client().set(f"sy:health:{company.organisation.pk}:ext-mini", orjson.dumps(look))
    alice = client_of("alice", company, "admin")
    told = rest(alice)
    one = told["ext-mini"]
    assert one["breaker"]["state"] == "open" and 50 < one["breaker"]["opens_for_s"] <= 60
    assert 20 < one["breaker"]["retry_after_s"] <= 30 and one["breaker"]["calls"] == 0
    assert (one["look"]["state"], one["look"]["why"]) == ("dead", "it answered 503")
    assert (one["calls"], one["failures"], one["share"], one["failure"]) == (3, 1, 0.5, "status 503")
    assert told["private-sparse"]["breaker"]["state"] == "closed" and told["private-sparse"]["look"] is None
    text = alice.get("/upstreams/").content.decode()
    for word in ("ext-mini", "open", "dead", "status 503", "50.0 %"):
        assert word in text, word
    assert alice.get("/upstreams/?csv=health").content.decode().count("\n") == 4


def test_a_neighbour_sees_neither_foreign_deployments_nor_foreign_calls(company: Company) -> None:
    bob = client_of("bob", company, "admin", "customer-service")
    told = rest(bob)
    assert set(told) == {"ext-mini", "private-sparse"}
    assert (told["ext-mini"]["share"], told["private-sparse"]["share"]) == (0.75, 0.25)
    assert told["ext-mini"]["breaker"]["calls"] is None, "everybody's calls are not his to see"
    assert "legal-llm" not in bob.get("/upstreams/").content.decode()
    lena = client_of("lena", company, "viewer", "legal")
    hers = rest(lena)
    assert (hers["legal-llm"]["share"], hers["ext-mini"]["calls"], hers["ext-mini"]["failed_at"]) == (
        0.5,
        0,
        None,
    )
    assert hers["legal-llm"]["failure"] == "status 503"
    assert bob.get("/upstreams/?lob=legal").status_code == 404
    assert bob.get("/api/v1/upstream-health/?lob=legal").status_code == 404
    assert Client().get("/api/v1/upstream-health/").status_code in (401, 403)


def test_one_line_of_business_at_a_time_is_narrowed_to_what_it_may_use(company: Company) -> None:
    alice = client_of("alice", company, "admin")
    told = rest(alice, lob="customer-service")
    assert set(told) == {"ext-mini", "private-sparse"} and told["ext-mini"]["share"] == 0.75
    assert told["ext-mini"]["breaker"]["calls"] is None


def test_an_organisation_of_another_name_is_another_breaker(company: Company, valkey: ValkeyServer) -> None:
    """A neighbour's broken deployment of the same name says nothing of ours."""
    other = make.make_organisation()
    valkey.client().hset(f"sy:cb:{other.pk}:ext-mini", mapping={"st": 2})
    assert rest(client_of("alice", company, "admin"))["ext-mini"]["breaker"]["state"] == "closed"


def test_without_valkey_the_page_says_unknown_and_answers(company: Company, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    alice = client_of("alice", company, "admin")
    assert rest(alice)["ext-mini"]["breaker"]["state"] == "unknown"
    assert "unknown" in alice.get("/upstreams/").content.decode()


def test_old_calls_and_other_peoples_history_count_for_nothing(company: Company) -> None:
    called(company, "customer-service", "private-sparse", "error", 90, ago_s=400)
    alice = make.make_user("alice", company.organisation, "admin")
    found = {row.deployment.name: row for row in upstream_health(scope_of(alice))}
    assert found["private-sparse"].calls == 2 and found["private-sparse"].failures == 0
    assert found["private-sparse"].failed_at is not None, "five minutes of calls, fifteen of failures"


# ------------------------------------------------------------------------------------------------- what they support
def test_what_was_found_is_shown_with_what_does_not_fit(company: Company) -> None:
    found = {"chat": {"support": "yes", "why": ""}, "tools": {"support": "ignored", "why": ""}}
    told = {
        "at": "2026-11-26T10:00:00+00:00",
        "model": "m",
        "found": found,
        "warnings": ["It ignores max_tokens."],
        "used": {},
    }
    Deployment.objects.filter(name="ext-mini").update(capabilities=told)
    text = client_of("vera", company, "viewer").get("/upstreams/").content.decode()
    for word in ("ignored", "It ignores max_tokens.", "2026-11-26 10:00"):
        assert word in text, word
    assert "/upstreams/probe/" not in text, "a viewer asks no server"


@pytest.mark.parametrize("how", ["page", "rest"])
def test_asking_a_server_is_a_job_for_those_who_reach_all_who_use_it(
    company: Company, how: str, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr("switchyard.jobs.services.wake", lambda job: None)
    addresses = {"page": "/upstreams/probe/{}/", "rest": "/api/v1/deployments/{}/probe/"}
    good = 302 if how == "page" else 202

    def ask(client: Client, name: str) -> int:
        return client.post(addresses[how].format(name)).status_code

    olga = client_of("olga", company, "operator")
    assert (ask(olga, "ext-mini"), ask(olga, "ext-mini")) == (good, good)
    job = Job.objects.get(kind="probe")
    assert (job.lob, job.params) == (None, {"deployment": "ext-mini"}), "twice is one job"
    lena = client_of("lena", company, "operator", "legal")
    assert ask(lena, "legal-llm") == good and ask(lena, "ext-mini") == 403
    assert Job.objects.get(params={"deployment": "legal-llm"}).lob == company.lobs["legal"]
    bob = client_of("bob", company, "operator", "customer-service")
    assert ask(bob, "legal-llm") == 404 and ask(bob, "ext-mini") == 403
    assert ask(client_of("vera", company, "viewer"), "ext-mini") == 403
    assert Job.objects.filter(kind="probe").count() == 2


def test_the_job_keeps_what_it_found_even_where_nobody_answers(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelhub.services.probing import start_probe
    from modelhub.tasks import run_job

    monkeypatch.setattr("switchyard.jobs.services.wake", lambda job: None)
    job = start_probe(row=Deployment.objects.get(name="ext-mini"), user=None)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded" and "doesn't answer" in job.result["warnings"][0]
    assert Deployment.objects.get(name="ext-mini").capabilities["found"] == {}


# --------------------------------------------------------------------------------------------------------- catalogue
def test_the_catalogue_shows_prices_with_source_and_date(company: Company) -> None:
    vera = client_of("vera", company, "viewer", "legal")
    assert "DeepSeek" in vera.get("/upstreams/catalogue/").content.decode()
    page = vera.get("/upstreams/catalogue/openai/").content.decode()
    assert "gpt-4o-2024-11-20" in page and "2026-07-24" in page and "$2.50" in page and "c-model" not in page
    assert vera.get("/upstreams/catalogue/nobody/").status_code == 404
    assert vera.post("/upstreams/catalogue/openai/", {"model": "gpt-4o-2024-11-20"}).status_code == 403


def test_a_vendor_is_shown_with_its_sheet_and_then_made(company: Company) -> None:
    olga = client_of("olga", company, "operator")
    address, wish = (
        "/upstreams/catalogue/azure-openai/",
        {"model": "gpt-4o-2024-11-20", "place-resource": "acme"},
    )
    shown = olga.post(address, wish).content.decode()
    assert (
        "https://acme.openai.azure.com/openai/v1" in shown
        and "$1.25" in shown
        and "as of 2026-07-24" in shown
    )
    assert not Deployment.objects.filter(model="gpt-4o-2024-11-20").exists()
    confirmed = {
        "model": "gpt-4o-2024-11-20", "name": "azure-4o", "base_url": "https://acme.openai.azure.com/openai/v1",
        "api_key": "very-secret", "apply": "1",
    }  # fmt: skip
    assert olga.post(address, confirmed, follow=True).status_code == 200
    row = Deployment.objects.get(name="azure-4o")
    assert (
        row.headers == {"api-key": "very-secret"}
        and "as of 2026-07-24" in Price.objects.get(deployment="azure-4o").source
    )
    assert "azure-4o" in olga.get("/upstreams/").content.decode()


def test_what_is_refused_is_told_and_no_key_is_kept_anywhere(company: Company) -> None:
    olga = client_of("olga", company, "operator")
    answer = olga.post("/upstreams/catalogue/azure-openai/", {
        "model": "gpt-4o-2024-11-20", "base_url": "http://169.254.169.254/v1", "api_key": "very-secret", "apply": "1",
    }, follow=True)  # fmt: skip
    assert "very-secret" not in answer.content.decode() and "very-secret" not in str(dict(olga.session))
    assert not Deployment.objects.filter(model="gpt-4o-2024-11-20").exists()
    again = olga.post("/upstreams/catalogue/azure-openai/", {"model": "gpt-4o-2024-11-20"}, follow=True)
    assert "say what resource is" in again.content.decode()


def test_who_is_limited_to_a_line_of_business_adds_nothing(company: Company) -> None:
    bob = client_of("bob", company, "operator", "customer-service")
    assert "c-model" not in bob.get("/upstreams/catalogue/openai/").content.decode()
    wish = {"model": "gpt-4o-2024-11-20", "api_key": "k", "apply": "1"}
    assert bob.post("/upstreams/catalogue/openai/", wish).status_code == 403
