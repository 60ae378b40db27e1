"""The way from a line of business down to one request, time zones in the address, savings and forecasts on their pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from costs import outlook, rollups
from costs.metering import record_events
from costs.models import Anomaly, Attempt, Forecast
from routing.models import DecisionRecord
from switchyard.core.clock import now
from tests import factories as make
from tests.costs.events import make_attempt, make_event, private_attempt
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db
DAY = "period=custom&from=2026-11-03&to=2026-11-03"
AT = datetime(2026, 11, 3, 12, 15, tzinfo=UTC)


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


@pytest.fixture
def busy() -> tuple[Client, Client, Any]:
    """An organisation with real attempts of two lines of business on one day; its administrator and legal's viewer."""
    organisation = make.make_organisation()
    service, legal = make.make_lob(organisation, "customer-service"), make.make_lob(organisation, "legal")
    record(
        organisation,
        *(make_event(make_attempt(cost_nusd=1_000 + i), at=AT + timedelta(seconds=i)) for i in range(70)),
        make_event(
            private_attempt(), at=AT.replace(hour=19), lob="legal", workload="terms", application="law"
        ),
    )
    clients = []
    for name, lobs in (("alice", ()), ("lena", (legal,))):
        client = Client()
        client.force_login(make.make_user(name, organisation, "viewer" if lobs else "admin", lobs))
        clients.append(client)
    return clients[0], clients[1], service


def record(organisation: Any, *events: dict[str, Any]) -> None:
    record_events([event | {"organisation_id": organisation.pk} for event in events])
    times = [datetime.fromtimestamp(event["at_ns"] / 1e9, UTC) for event in events]
    rollups.refresh(min(times), max(times))


def links(text: str, path: str) -> list[str]:
    return [url.replace("&amp;", "&") for url in re.findall(rf'href="({re.escape(path)}\?[^"]*)"', text)]


def test_a_reader_goes_from_a_line_of_business_down_to_the_requests_of_a_deployment(busy: Any) -> None:
    client, _, _ = busy
    address = f"/spend/?{DAY}&group=lob"
    for step in ("lob=customer-service", "application=desk", "workload=support-intent"):
        text = client.get(address).content.decode()
        address = next(
            url for url in links(text, "/spend/") if step in url and "group=" in url and DAY[:13] in url
        )
    text = client.get(address).content.decode()
    last = next(url for url in links(text, "/spend/requests/") if "deployment=ext-mini" in url)
    answer = client.get(last)
    assert len(answer.context["rows"]) == 50 and answer.context["total_nusd"] == sum(
        1_000 + i for i in range(70)
    )
    rest = client.get(f"{last}&before={answer.context['next']}".replace("+", "%2B"))
    seen = [row.pk for page in (answer, rest) for row in page.context["rows"]]
    assert len(seen) == len(set(seen)) == 70 and rest.context["next"] == ""


def test_one_request_leads_to_its_decision_and_only_to_ones_own(company: Company) -> None:
    at = now() - timedelta(hours=1)
    record(
        company.organisation,
        make_event(request_id="req_customer-service_0003", at=at),
        make_event(request_id="req_legal_0003", at=at, lob="legal", workload="contract-clauses"),
    )
    text = client_of("alice", company, "admin").get("/spend/requests/").content.decode()
    assert "/decisions/dec_customer-service_0003/" in text and "/decisions/dec_legal_0003/" in text
    answer = client_of("bob", company, "viewer", "customer-service").get("/spend/requests/")
    assert {row.lob for row in answer.context["rows"]} == {"customer-service"}
    assert "legal" not in answer.content.decode()
    assert DecisionRecord.objects.filter(request_id="req_legal_0003").exists()


def test_a_neighbours_requests_are_neither_listed_nor_exported(busy: Any) -> None:
    _, lena, _ = busy
    for query in ("", "&workload=support-intent", "&deployment=ext-mini", "&application=desk"):
        answer = lena.get(f"/spend/requests/?{DAY}{query}")
        assert {row.lob for row in answer.context["rows"]} <= {"legal"}
        assert (
            "customer-service"
            not in lena.get(f"/spend/requests/?{DAY}{query}&csv=spend-requests").content.decode()
        )
    assert lena.get(f"/spend/requests/?{DAY}&lob=customer-service").status_code == 404


def test_an_hour_and_a_day_of_the_readers_zone_are_looked_at(busy: Any) -> None:
    client, _, _ = busy
    hour = client.get(f"/spend/requests/?{DAY}&at=2026-11-03T12:00")
    assert len(hour.context["rows"]) == 50 and hour.context["total_nusd"] == sum(1_000 + i for i in range(70))
    local = client.get(f"/spend/requests/?{DAY}&tz=Asia/Kolkata&at=2026-11-04")
    assert [row.lob for row in local.context["rows"]] == ["legal"] and local.context["total_nusd"] == 900
    assert client.get(f"/spend/requests/?{DAY}&at=2026-11-04").context["rows"] == []


@pytest.mark.parametrize(
    "query",
    [
        "at=yesterday",
        "at=2026-13-01",
        "at=2026-11-03T12:00Z",
        "before=x~y",
        "before=2026-11-03~",
        "before=2026-11-03T12:00~7",
    ],
)
def test_an_address_that_names_no_time_does_not_exist(busy: Any, query: str) -> None:
    assert busy[0].get(f"/spend/requests/?{query}").status_code == 404


def pages_of(client: Client, address: str) -> list[list[Attempt]]:
    """The rows of one page after the other, as a reader turns them."""
    found, mark = [], ""
    while True:
        answer = client.get(f"{address}&before={mark}".replace("+", "%2B") if mark else address)
        found.append(list(answer.context["rows"]))
        mark = answer.context["next"]
        if not mark:
            return found
        assert len(found) < 20, "the pages don't end"


def test_a_rare_applications_requests_are_found_in_the_hours_that_have_some_a_days_worth_a_page(
    company: Company,
) -> None:
    """60 requests of two applications in as many hours: a page looks through 24 hours, and the next one goes on from there."""
    first = datetime(2026, 11, 1, tzinfo=UTC)
    record(company.organisation, *(
        make_event(request_id=f"req_rare_{i}_{name}", at=first + timedelta(hours=i, minutes=7), application=name)
        for i in range(60) for name in ("desk", "kiosk")
    ))  # fmt: skip
    address = "/spend/requests/?period=custom&from=2026-11-01&to=2026-11-04&application=kiosk"
    found = pages_of(client_of("alice", company, "admin"), address)
    assert [len(rows) for rows in found] == [24, 24, 12]
    ids = [row.request_id for rows in found for row in rows]
    assert ids == [f"req_rare_{i}_kiosk" for i in reversed(range(60))]
    by_workload = pages_of(
        client_of("al", company, "admin"), address.replace("application=kiosk", "workload=support-intent")
    )
    assert [len(rows) for rows in by_workload] == [50, 50, 20]


def test_the_sum_of_a_local_day_that_cuts_hours_is_that_of_its_rows(busy: Any) -> None:
    client, _, service = busy
    record(service.organisation, *(
        make_event(make_attempt(cost_nusd=100 + i), request_id=f"req_half_{i}", at=datetime(2026, 11, 4, 18, 10 + i, tzinfo=UTC))
        for i in range(0, 40, 7)
    ))  # fmt: skip
    for day in ("2026-11-04", "2026-11-05"):
        answer = client.get(f"/spend/requests/?{DAY}&tz=Asia/Kolkata&at={day}")
        rows = [
            row
            for page in pages_of(client, f"/spend/requests/?{DAY}&tz=Asia/Kolkata&at={day}")
            for row in page
        ]
        assert answer.context["total_nusd"] == sum(row.cost_nusd for row in rows) > 0


def test_superseded_attempts_are_not_listed(busy: Any) -> None:
    Attempt.objects.filter(lob="legal").update(superseded=True)
    assert busy[0].get(f"/spend/requests/?{DAY}&lob=legal").context["rows"] == []


def test_the_time_zone_is_kept_in_every_link_and_moves_the_days(busy: Any) -> None:
    client, _, _ = busy
    answer = client.get(f"/spend/?{DAY}&tz=Asia/Kolkata&group=lob")
    period = answer.context["ask"].period
    assert (period.start, period.end) == (
        datetime(2026, 11, 2, 18, 30, tzinfo=UTC), datetime(2026, 11, 3, 18, 30, tzinfo=UTC),
    )  # fmt: skip
    assert (period.first_day.day, period.last_day.day) == (3, 3)
    text = answer.content.decode()
    assert all(
        "tz=Asia%2FKolkata" in url for url in links(text, "/savings/") + links(text, "/spend/requests/")
    )
    rows = client.get(
        "/spend/?period=custom&from=2026-11-01&to=2026-11-06&tz=Asia/Kolkata&csv=spend-over-time"
    )
    days = {line.split(",")[0] for line in rows.content.decode().splitlines()[1:]}
    assert days == {"2026-11-03", "2026-11-04"}
    month = client.get("/spend/?period=month&tz=Asia/Kolkata").context["ask"].period
    assert (month.start.hour, month.start.minute) == (18, 30)


def test_a_zone_that_is_none_is_said_and_utc_shown(busy: Any) -> None:
    for zone in ("Mars/Olympus", "../../etc/passwd", "%00"):
        answer = busy[0].get(f"/spend/?tz={zone}")
        assert answer.context["ask"].period.tz == "UTC" and "showing UTC" in answer.content.decode()


def test_token_classes_and_the_period_before_are_on_the_page(busy: Any) -> None:
    client, _, _ = busy
    lines = client.get(f"/spend/?{DAY}&group=token_class&csv=spend-by").content.decode().splitlines()
    assert lines[0] == "Token class,Side,Cost (USD),Labels (USD),Period before (USD),Change,Units"
    assert any(line.startswith("compute,private,0.0000009,0.00,0.00") for line in lines)
    totals = client.get("/spend/?period=custom&from=2026-11-04&to=2026-11-04").context["totals"]
    assert (totals["cost_nusd"], totals["change"]) == (0, -1.0)


def test_cost_per_correct_is_shown_by_deployment_and_model(company: Company) -> None:
    client = client_of("alice", company, "admin")
    for name, first in (("deployment", "ext-mini"), ("model", "txt-base"), ("lob", "legal")):
        lines = client.get(f"/spend/?right={name}&csv=cost-per-correct").content.decode().splitlines()
        assert any(line.startswith(f"{first},") for line in lines), name
        assert lines[0].endswith("Share judged")


def test_savings_add_up_on_the_page(company: Company) -> None:
    client = client_of("alice", company, "admin")
    totals = client.get("/savings/").context["totals"]
    parts = ("private", "compression", "routing", "cache", "batch", "retries", "other_purposes")
    assert totals["list_nusd"] - sum(totals[f"{p}_nusd"] or 0 for p in parts) == totals["actual_nusd"]
    figure = client.get("/savings/").context["panel"]["savings"].figure["data"][0]
    assert figure["base"][-1] == 0 and len(figure["x"]) == 9
    bob = client_of("bob", company, "viewer", "customer-service")
    assert bob.get("/savings/").context["totals"]["actual_nusd"] < totals["actual_nusd"]


def test_a_cache_that_cost_more_than_it_gave_back_is_shown_below_zero() -> None:
    organisation = make.make_organisation()
    make.make_lob(organisation, "customer-service")
    attempts = (
        make_attempt(cost_nusd=5_000, saved={"cache": -2_000}),
        make_attempt(cost_nusd=1_000, saved={"cache": 500}),
    )
    record(
        organisation,
        *(make_event(attempt, at=AT + timedelta(seconds=i)) for i, attempt in enumerate(attempts)),
    )
    client = Client()
    client.force_login(make.make_user("alice", organisation, "admin"))
    page = client.get(f"/savings/?{DAY}")
    totals = page.context["totals"]
    assert totals["cache_nusd"] == -1_500 and totals["list_nusd"] + 1_500 == totals["actual_nusd"] == 6_000
    assert totals["saving_nusd"] == -1_500
    figure = page.context["panel"]["savings"].figure["data"][0]
    step = figure["x"].index("Cache")
    assert (
        figure["customdata"][step] == "cost more"
        and figure["base"][step] + figure["y"][step] > figure["base"][0] + figure["y"][0]
    )
    assert "-0.0000015" in client.get(f"/savings/?{DAY}&csv=savings").content.decode()


def test_the_forecast_page_says_honestly_when_days_are_too_few(company: Company) -> None:
    client = client_of("alice", company, "admin")
    text = client.get("/forecast/").content.decode()
    assert "not enough days" in text and "fourteen whole days" in text


def test_forecasts_and_anomalies_of_a_neighbour_are_not_shown(company: Company) -> None:
    day = now().date()
    for lob in ("legal", "customer-service", ""):
        Forecast.objects.create(
            organisation_id=company.organisation.pk, lob=lob, month=day.replace(day=1), spent_nusd=1, estimate_nusd=777_000,
            low_nusd=1, high_nusd=9, method="long mean", points=[],
        )  # fmt: skip
        if lob:
            Anomaly.objects.create(
                organisation_id=company.organisation.pk, lob=lob, workload=f"{lob}-work", day=day, spent_nusd=5,
                expected_nusd=1, low_nusd=1, high_nusd=2, score=9, cause=f"requests of {lob}", parts={"requests": 4},
            )  # fmt: skip
    text = client_of("bob", company, "viewer", "customer-service").get("/forecast/").content.decode()
    assert "requests of customer-service" in text
    assert "legal-work" not in text and "requests of legal" not in text and ">organisation<" not in text
    whole = client_of("alice", company, "admin").get("/forecast/").content.decode()
    assert "requests of legal" in whole and "organisation" in whole
    assert client_of("ann", company, "admin").get("/").context["month"].lob == ""
    assert client_of("vera", company, "viewer", "customer-service").get("/").context["month"] is None


def test_last_months_policies_are_asked_again_on_demand(company: Company) -> None:
    panel = client_of("alice", company, "admin").get("/savings/?replay=1").context["panel"]["last-policy"]
    assert {row[5] for row in panel.rows} == {"no policy was live when the month before ended"}
    bob = client_of("bob", company, "viewer", "customer-service").get("/savings/?replay=1")
    assert [row[0] for row in bob.context["panel"]["last-policy"].rows] == ["support-intent"]


def test_what_is_foreseen_from_the_roll_ups_is_what_the_page_shows() -> None:
    organisation = make.make_organisation()
    make.make_lob(organisation, "legal")
    record(
        organisation,
        *(make_event(at=now() - timedelta(days=n), lob="legal") for n in range(1, 22)),
    )
    outlook.forecast_month(organisation.pk)
    client = Client()
    client.force_login(make.make_user("alice", organisation, "admin"))
    rows = client.get("/forecast/").context["panel"]["forecast"].rows
    estimate = Forecast.objects.get(lob="legal").estimate_nusd
    assert [row[3] for row in rows] == [estimate, estimate]
    assert client.get("/forecast/").context["panel"]["forecast-by-day"].figure is not None
