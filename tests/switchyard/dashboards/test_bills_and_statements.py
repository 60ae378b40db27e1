"""Pages of bills and statements: finance of the whole organisation checks bills, everybody reads their own statements."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from costs.exports.focus_columns import validate_csv
from costs.metering import record_events
from costs.models import BillCheck, Price
from costs.rollups import refresh
from switchyard.core.clock import now
from tests.costs.events import make_attempt, make_event
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import LEGAL_WORDS, client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    company = make_company(days=1)
    told = make_attempt(
        cost_nusd=1_400, legs={"input": 1_000, "output": 400}, price_version=Price.objects.first().version
    )
    for lob, workload in (("customer-service", "support-intent"), ("legal", "contract-clauses")):
        event = make_event(
            dict(told), at=now(), lob=lob, workload=workload, request_id=f"req_{lob}", organisation_id=company.organisation.pk,
            application=f"{lob}-app",
        )  # fmt: skip
        record_events([event])
    refresh(now(), now())
    return company


def upload(client: Client, text: str, **fields: Any) -> Any:
    day = f"{now():%Y-%m-%d}"
    data = {
        "of": "deployment:ext-mini",
        "first": day,
        "until": day,
        "bill": SimpleUploadedFile("bill.csv", text.encode()),
    }
    return client.post("/reconciliation/check/", data | fields, follow=True)


def test_an_uploaded_bill_shows_its_gaps_and_where_they_come_from(company: Company) -> None:
    client = client_of("erin", company, "finance")
    text = f"request_id,at,model,tokens_in,tokens_out,cost,currency\nreq_legal,{now().isoformat()},txt-edge,20,1,0.0000019,USD\n"
    answer = upload(client, text)
    page = answer.content.decode()
    assert "Held against the books." in page and "other price" in page and "claim against the vendor" in page
    assert "booked, not billed" in page and "req_customer-service" in page
    rows = list(csv.reader(io.StringIO(client.get("/reconciliation/?csv=findings").content.decode())))
    assert rows[0][:4] == ["Day", "Model or machine", "Line of business", "Cause"] and len(rows) == 3
    check = BillCheck.objects.get()
    assert (
        f"?check={check.pk}" in page and client.get(f"/reconciliation/?check={check.pk}").status_code == 200
    )
    assert client.get("/reconciliation/?check=999999").status_code == 404


def test_what_is_wrong_with_a_bill_is_said_on_the_page(company: Company) -> None:
    client = client_of("erin", company, "finance")
    assert "wrong" not in upload(client, "date,model,cost_usd\n2026-11-03,m,1\n").content.decode()
    assert (
        "The bill is in EUR"
        in upload(client, "date,model,cost,currency\n2026-11-03,m,1,EUR\n").content.decode()
    )
    assert "no machine" not in upload(client, "x", of="node:nobody").content.decode()
    assert "YYYY-MM-DD" in upload(client, "x", first="today").content.decode()


def test_bills_are_hidden_from_everybody_else(company: Company) -> None:
    bill = f"date,model,cost_usd\n{now():%Y-%m-%d},m,1\n"
    upload(client_of("erin", company, "finance"), bill)
    for name, role, lobs in (("bob", "finance", ("customer-service",)), ("vera", "viewer", ())):
        client = client_of(name, company, role, *lobs)
        page = client.get("/reconciliation/").content.decode()
        assert "concern the whole organisation" in page and "ext-mini" not in page, name
        assert "csv" not in page
    assert upload(client_of("carol", company, "viewer"), "x").status_code == 403
    upload(client_of("dan", company, "finance", "legal"), bill)
    assert BillCheck.objects.count() == 1


def test_a_statement_shows_its_lines_prints_and_comes_as_csv(company: Company) -> None:
    client = client_of("alice", company, "admin")
    month = f"{now():%Y-%m}"
    listed = client.get("/statements/")
    assert f"/statements/legal/{month}/" in listed.content.decode()
    charged = {lob.slug: nusd for lob, _month, nusd in listed.context["rows"]}
    assert charged == {"customer-service": 1_400, "legal": 1_400}, "the ledger's account of each"
    page = client.get(f"/statements/customer-service/{month}/").content.decode()
    assert "Chargeback" in page and "input tokens" in page and 'media="print"' in page
    assert "Showback" in client.get(f"/statements/customer-service/{month}/?basis=showback").content.decode()
    rows = list(
        csv.reader(io.StringIO(client.get(f"/statements/customer-service/{month}/?csv=1").content.decode()))
    )
    assert [row[0] for row in (rows[1], *rows[-2:])] == ["opening", "total", "closing"]
    assert sum(float(row[-2]) for row in rows[2:-2]) == pytest.approx(float(rows[-2][-2]), abs=1e-12)


def test_a_neighbours_statement_does_not_exist_and_nothing_of_it_is_shown(company: Company) -> None:
    client = client_of("bob", company, "viewer", "customer-service")
    month = f"{now():%Y-%m}"
    for path in ("/statements/legal/{}/", "/statements/nobody/{}/", "/statements/legal/{}/?csv=1"):
        assert client.get(path.format(month)).status_code == 404, path
    for path in (f"/statements/customer-service/{month[:4]}-13/", f"/statements/customer-service/{month}/?basis=cash",
                 "/statements/customer-service/2999-01/", "/statements/focus.csv?version=7"):  # fmt: skip
        assert client.get(path).status_code == 404, path
    for path in ("/statements/", f"/statements/customer-service/{month}/"):
        page = client.get(path).content.decode()
        assert not [word for word in (*LEGAL_WORDS, "/statements/legal/") if word in page], path


def test_the_periods_focus_rows_are_a_download_of_ones_own(company: Company) -> None:
    text = b"".join(
        client_of("bob", company, "viewer", "customer-service").get("/statements/focus.csv")
    ).decode()
    rows, faults = validate_csv(io.StringIO(text), "1.2")
    assert rows and faults == [] and "legal" not in text
    text = b"".join(client_of("alice", company, "admin").get("/statements/focus.csv?version=1.4")).decode()
    assert "contract-clauses" in text


def test_a_statement_stands_beside_the_month_before_by_application_and_each_panel_has_its_own_file(
    company: Company,
) -> None:
    month, earlier = f"{now():%Y-%m}", now().replace(day=1) - timedelta(days=3)
    told = make_attempt(cost_nusd=600, legs={"input": 600})
    record_events([
        make_event(told, at=earlier, request_id="req_before", organisation_id=company.organisation.pk, application="old-app")
    ])  # fmt: skip
    refresh(earlier, earlier)
    client = client_of("carol", company, "viewer", "customer-service")
    address = f"/statements/customer-service/{month}/"
    rows = list(csv.DictReader(io.StringIO(client.get(f"{address}?csv=applications").content.decode())))
    named = {row["Application"]: (row["This month (USD)"], row["The month before (USD)"]) for row in rows}
    assert named["old-app"] == ("0.00", "0.0000006") and named["customer-service-app"][1] == "0.00"
    sums = [Fraction(row["Difference (USD)"]) for row in rows]
    assert sum(sums[:-1]) == sums[-1] and rows[-1]["Application"] == "Sum"
    page = client.get(address).content.decode()
    assert "The month before" in page and "stands beside a whole one" in page
    whole = list(csv.reader(io.StringIO(client.get(f"{address}?csv=1").content.decode())))
    total = next(row for row in whole if row[0] == "total")
    assert Fraction(total[-2]) == Fraction(rows[-1]["This month (USD)"])
    work = client.get(f"{address}?csv=work").content.decode()
    assert work.startswith("What,") and "customer-service-app" in work
    assert client.get(f"{address}?csv=nothing").status_code == 404
    assert client.get("/statements/customer-service/0001-01/").status_code == 404
    assert client.get(f"/statements/legal/{month}/?csv=applications").status_code == 404
