"""The page of prices: what is in force, a file's difference and its application, history by another sheet."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from costs.models import Price, SpendHour
from costs.sheets.currencies import create_rate
from switchyard.core.clock import now
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db
BOOK = b"model,input_usd_per_mtok,output_usd_per_mtok\ntxt-edge,0.10,0.40\n"


@pytest.fixture
def company() -> Company:
    company = make_company(days=1)
    make.make_deployment(company.organisation, "legal-vendor", lobs=(company.lobs["legal"],))
    return company


def upload(client: Client, content: bytes = BOOK, name: str = "book.csv", **values: str):
    file = SimpleUploadedFile(name, content)
    return client.post("/prices/", {"file": file, "source": "llm-prices, 2026-08-05"} | values)


def test_the_page_shows_sheets_with_all_their_classes_and_the_rates(company: Company) -> None:
    Price.objects.filter(deployment="ext-mini").update(
        cache_write_nusd_per_munit=62_500_000, batch_ppm=500_000, currency="EUR",
        tiers=[{"above_tokens_in": 200_000, "input_nusd_per_munit": 100_000_000}],
    )  # fmt: skip
    create_rate(
        organisation_id=company.organisation.pk,
        currency="EUR",
        nusd_per_unit=1_086_200_000,
        source="ECB",
        actor=None,
    )
    text = client_of("alice", company, "admin").get("/prices/").content.decode()
    for words in ("0.0625", "50 %", "&gt; 200,000: 0.10", "EUR", "1.0862", "All sheets"):
        assert words in text, words


def test_a_neighbour_sees_the_shared_sheets_and_not_another_lines_own_vendor(company: Company) -> None:
    text = client_of("bob", company, "viewer", "customer-service").get("/prices/").content.decode()
    assert "ext-mini" in text and "legal-vendor" not in text and "Import prices" not in text
    client = client_of("ben", company, "finance", "customer-service")
    assert upload(client).status_code == 403


def test_a_viewer_imports_nothing(company: Company) -> None:
    assert upload(client_of("vera", company, "viewer")).status_code == 403


def test_an_upload_shows_the_difference_and_a_second_click_applies_it(company: Company) -> None:
    client = client_of("fred", company, "finance")
    text = upload(client).content.decode()
    assert "What the file would change" in text and "input_usd_per_mtok" in text and "100.0 %" in text
    assert Price.objects.count() == 2, "nothing is written yet"
    pending = re.search(r'<textarea name="text" hidden>(.*?)</textarea>', text, re.S)
    assert pending is not None
    posted = {"text": pending[1].replace("&quot;", '"'), "source": "llm-prices, 2026-08-05", "apply": "1"}
    assert client.post("/prices/", posted).status_code == 302
    new = Price.objects.get(deployment="ext-mini", valid_to__isnull=True)
    assert (new.input_nusd_per_munit, new.source) == (100_000_000, "llm-prices, 2026-08-05")


def test_refused_rows_are_shown_and_cannot_be_applied(company: Company) -> None:
    text = upload(client_of("fred", company, "finance"), BOOK.replace(b"0.10", b"ten")).content.decode()
    assert "no decimal number" in text and 'name="apply"' not in text


@pytest.mark.parametrize("content", [b"\xff\xfe", b"colour\n", b""])
def test_a_file_that_is_none_is_said_so(company: Company, content: bytes) -> None:
    client = client_of("fred", company, "finance")
    assert upload(client, content).status_code == 302
    assert '<ul class="messages"' in client.get("/prices/").content.decode() and Price.objects.count() == 2


def test_what_a_file_says_is_text_on_the_page(company: Company) -> None:
    content = BOOK + b"<script>alert(1)</script>,1\n"
    text = upload(client_of("fred", company, "finance"), content).content.decode()
    assert "<script>alert" not in text and "&lt;script&gt;" in text


def test_a_period_is_repriced_on_the_page_with_its_link_and_its_csv(company: Company) -> None:
    hour = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    SpendHour.objects.filter(deployment="ext-mini").delete()
    SpendHour.objects.create(
        organisation_id=company.organisation.pk, start=hour, lob="legal", deployment="ext-mini", model="m", side="external",
        tokens_in=1_000_000, cost_nusd=50_000_000, input_nusd=50_000_000,
    )  # fmt: skip
    client = client_of("alice", company, "admin")
    address = "/prices/?of=ext-mini&input_usd_per_mtok=0.10&output_usd_per_mtok=0.40"
    text = client.get(address).content.decode()
    assert "nothing in the books changes" in text and "100.0 %" in text
    lines = client.get(f"{address}&csv=repriced").content.decode().splitlines()
    assert lines[1] == "ext-mini,legal,0.05,0.10,0.05,1.0"
    wrong = client.get("/prices/?of=ext-mini&input_usd_per_mtok=-1&output_usd_per_mtok=0").content.decode()
    assert "input_usd_per_mtok" in wrong and 'role="alert"' in wrong
    bob = client_of("bob", company, "viewer", "customer-service")
    assert "ext-mini,legal" not in bob.get(f"{address}&csv=repriced").content.decode()
    assert (
        "no such sheet"
        in bob.get("/prices/?of=legal-vendor&input_usd_per_mtok=1&output_usd_per_mtok=1").content.decode()
    )
