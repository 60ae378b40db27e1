"""A form of money that was refused keeps what was typed: once, for whoever typed it, without secrets."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db
PLAN = {
    "workload": "contract-clauses", "model_life_months": "7", "data_usd": "a lot", "people_usd_per_month": "900.5",
    "latency_target_ms": "310", "event_name": "deal-signed", "event_value_usd": "1.25", "source": "assumption: a guess",
}  # fmt: skip


def values(text: str, form: str) -> dict[str, str]:
    """Field → what stands in it, of the form that posts to this address."""
    found = re.search(rf'<form[^>]*action="{re.escape(form)}".*?</form>', text, re.S)
    assert found is not None, form
    inputs = dict(re.findall(r'<input[^>]*? name="([^"]+)"[^>]*? value="([^"]*)"', found[0]))
    for name, choices in re.findall(r'<select[^>]*? name="([^"]+)"[^>]*>(.*?)</select>', found[0], re.S):
        chosen = re.search(r"<option(?: value=\"([^\"]*)\")? selected>([^<]*)", choices)
        inputs[name] = (chosen[1] or chosen[2]) if chosen else ""
    return inputs | dict(re.findall(r'<textarea[^>]*? name="([^"]+)"[^>]*>([^<]*)</textarea>', found[0]))


def test_refused_forms_stand_as_they_were_typed() -> None:
    fiona = client_of("fiona", make_company(days=1), "finance")
    target = {
        "kind": "email",
        "address": "nobody",
        "lob": "legal",
        "kinds": "books anomaly",
        "secret": "s" * 20,
    }
    bill = {
        "of": "deployment:ext-mini",
        "first": "2026-02-30",
        "until": "2026-03-01",
        "currency": "EUR",
        "correct": "1",
    }
    book = {"source": "a file, 2026-11-01", "map": "their-model=ext-mini"}
    for page, address, typed, file in (
        ("/lifetime/", "/lifetime/plan/", PLAN, {}),
        ("/lifetime/", "/lifetime/label-price/", {"lob": "legal", "label_usd": "free"}, {}),
        ("/alerts/", "/alerts/targets/", target, {}),
        ("/reconciliation/", "/reconciliation/check/", bill, {}),
        ("/prices/", "/prices/", book, {"file": SimpleUploadedFile("p.csv", b"colour\n")}),
    ):
        answer = fiona.post(address, typed | file, follow=True)
        assert answer.redirect_chain and '<ul class="messages"' in answer.content.decode(), address
        shown = values(answer.content.decode(), address)
        secret = {"secret"} & typed.keys()
        assert {name: shown.get(name) for name in typed.keys() - secret} == {
            name: value for name, value in typed.items() if name not in secret
        }
        assert "ssssssssssssssssssss" not in answer.content.decode()
        again = fiona.get(page).content.decode()
        assert "a lot" not in again and "nobody" not in again and "their-model" not in again, (
            "it is shown once"
        )


def test_a_neighbour_does_not_meet_what_somebody_else_typed() -> None:
    company: Company = make_company(days=1)
    client_of("fiona", company, "finance").post("/lifetime/plan/", PLAN)
    assert "a guess" not in client_of("frank", company, "finance").get("/lifetime/").content.decode()


def test_a_file_of_figures_takes_nothing_away() -> None:
    fiona = client_of("fiona", make_company(days=1), "finance")
    fiona.post("/lifetime/plan/", PLAN)
    fiona.get("/lifetime/?csv=label-prices")
    assert "a guess" in fiona.get("/lifetime/").content.decode()
