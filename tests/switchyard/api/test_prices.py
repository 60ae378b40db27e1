"""Prices over REST: every class and tier, currencies, a file's difference, history by another sheet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from costs.models import Alert, Attempt, Price, SpendHour
from costs.selectors import price_sheets
from switchyard.core.clock import now
from switchyard.tenancy.models import ConfigVersion
from tests import factories
from tests.switchyard.api.company import Company

FULL: dict[str, Any] = {
    "currency": "USD", "input_usd_per_mtok": "3.00", "cached_input_usd_per_mtok": "0.30", "cache_write_usd_per_mtok": "3.75",
    "output_usd_per_mtok": "15.00", "reasoning_usd_per_mtok": None, "usd_per_mcall": "10.00", "usd_per_second": "0.000725",
    "training_usd_per_mtok": "25.00", "minimum_usd": "0.0001", "batch_pct": "50", "audio_input_usd_per_mtok": "40.00",
    "audio_output_usd_per_mtok": None, "usd_per_msearch": "25000.00",
    "tiers": [{"above_tokens_in": 200000, "input_usd_per_mtok": "6.00", "output_usd_per_mtok": "22.50"}],
}  # fmt: skip
BOOK = "model,input_usd_per_mtok,output_usd_per_mtok\nvendor-mini,0.25,2.0\n"


@pytest.fixture
def priced(company: Company) -> Company:
    factories.make_deployment(company.organisation, "ext-a", bare=True, model="vendor-mini")
    factories.make_deployment(company.organisation, "legals", model="vendor-mini", lobs=(company.legal,))
    return company


def test_a_whole_sheet_reads_as_it_was_written_in_prices_and_in_its_deployment(priced: Company):
    made = priced.alice.post("prices", FULL | {"deployment": "ext-a", "from": "2026-01-01", "source": "book"})
    assert {name: made[name] for name in FULL} == FULL
    shown = priced.alice.get("deployments/ext-a")["prices"]
    assert {name: shown[name] for name in FULL} == FULL and shown["source"] == "book"
    sheet = price_sheets(priced.organisation.pk)["ext-a"]
    assert (sheet.search_nusd_per_munit, sheet.audio_input_nusd_per_munit) == (25_000 * 10**9, 40 * 10**9)
    assert sheet.audio_output_nusd_per_munit is None
    assert (sheet.batch_ppm, sheet.second_nusd_per_munit, sheet.minimum_nusd) == (
        500_000,
        725_000_000_000,
        100_000,
    )
    assert (
        sheet.tiers[0].above_tokens_in == 200_000 and sheet.tiers[0].output_nusd_per_munit == 22_500_000_000
    )


def test_a_deployment_takes_the_same_sheet_as_prices_do(priced: Company):
    shown = priced.alice.patch("deployments/ext-a", {"prices": FULL})["prices"]
    assert {name: shown[name] for name in FULL} == FULL
    assert priced.alice.get("prices", deployment="ext-a")["results"][0]["cache_write_usd_per_mtok"] == "3.75"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"input_usd_per_mtok": "-0.01"}, "input_usd_per_mtok"), ({"output_usd_per_mtok": "100000.01"}, "output_usd_per_mtok"),
        ({"batch_pct": "101"}, "batch_pct"), ({"usd_per_second": "100.5"}, "usd_per_second"), ({"currency": "euro"}, "currency"),
        ({"tiers": [{"above_tokens_in": 0}]}, "tiers.0.above_tokens_in"), ({"tiers": [{"above_tokens_in": 5}]}, "tiers[0]"),
        ({"tiers": [{"above_tokens_in": 5, "colour": "red"}]}, "tiers.0.colour"), ({"tiers": "many"}, "tiers.non_field_errors"),
        ({"source": "=cmd()"}, "source"), ({"source": ""}, "source"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_price_is_refused_at_its_place(priced: Company, change: dict[str, Any], path: str):
    body = FULL | {"deployment": "ext-a", "from": "2026-01-01", "source": "book"} | change
    assert path in [e["path"] for e in priced.alice.post("prices", body, expect=400)["errors"]]
    if "source" not in change:
        errors = priced.alice.patch("deployments/ext-a", {"prices": FULL | change}, expect=400)["errors"]
        assert any(e["path"].endswith(path) for e in errors)


def test_a_price_that_was_forgotten_is_not_a_price_of_zero(priced: Company):
    body = {"deployment": "ext-a", "from": "2026-01-01", "source": "book"}
    assert priced.alice.post("prices", body | {"input_usd_per_mtok": "1"}, expect=400)["errors"][0][
        "path"
    ] == ("output_usd_per_mtok")
    priced.alice.post("prices", body, expect=400)
    made = priced.alice.post("prices", body | {"usd_per_second": "0.001"})
    assert made["input_usd_per_mtok"] == "0.00" and made["usd_per_second"] == "0.001"


def test_a_gap_is_refused_over_rest_with_what_to_do(priced: Company):
    sheet = FULL | {"deployment": "ext-a", "source": "book"}
    priced.alice.post("prices", sheet | {"from": "2026-01-01", "to": "2026-02-01"})
    error = priced.alice.post("prices", sheet | {"from": "2026-03-01"}, expect=400)["errors"][0]
    assert error["path"] == "from" and "begin this one at 2026-02-01T00:00:00Z" in error["message"]
    priced.alice.patch("deployments/ext-a", {"prices": FULL})  # begins where the last one ended
    assert [row["from"] for row in priced.alice.get("prices", deployment="ext-a")["results"]] == [
        "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z",
    ]  # fmt: skip


# --- currencies --------------------------------------------------------------------------------------------------------


def test_a_rate_makes_a_sheet_in_euro_a_price_and_tells_every_process(priced: Company):
    priced.alice.post(
        "prices", FULL | {"deployment": "ext-a", "from": "2026-01-01", "source": "b", "currency": "EUR"}
    )
    assert "ext-a" not in price_sheets(priced.organisation.pk)
    assert Alert.objects.get().kind == "missing_exchange_rate"
    before = ConfigVersion.objects.get(pk=1).version
    made = priced.alice.post("exchange-rates", {"currency": "EUR", "usd_per_unit": "1.0862", "source": "ECB"})
    assert (made["currency"], made["usd_per_unit"]) == ("EUR", "1.0862")
    assert ConfigVersion.objects.get(pk=1).version > before
    assert price_sheets(priced.organisation.pk)["ext-a"].input_nusd_per_munit == 3_258_600_000
    assert priced.alice.get("deployments/ext-a")["prices"]["input_usd_per_mtok"] == "3.00", (
        "as it was entered, in euro"
    )
    assert [r["id"] for r in priced.bob.get("exchange-rates", currency="EUR")["results"]] == [made["id"]]
    priced.alice.delete(f"exchange-rates/{made['id']}", expect=400)
    later = (now() + timedelta(days=1)).isoformat()
    coming = priced.alice.post(
        "exchange-rates", {"currency": "EUR", "usd_per_unit": "2", "source": "s", "from": later}
    )
    priced.alice.delete(f"exchange-rates/{coming['id']}")


@pytest.mark.parametrize(
    "body", [{"usd_per_unit": "0"}, {"usd_per_unit": "-1"}, {"currency": "USD"}, {"currency": "E"}, {"source": ""}, {"x": 1}]
)  # fmt: skip
def test_a_rate_that_cannot_be_is_refused(priced: Company, body: dict[str, Any]):
    asked = {"currency": "EUR", "usd_per_unit": "1.1", "source": "ECB"} | body
    assert priced.alice.post("exchange-rates", asked, expect=400)["errors"]


def test_rates_are_the_whole_organisations(priced: Company):
    priced.bob.post("exchange-rates", {"currency": "EUR", "usd_per_unit": "1.1", "source": "ECB"}, expect=403)
    other = priced.alice.post("exchange-rates", {"currency": "EUR", "usd_per_unit": "1.1", "source": "ECB"})
    priced.person("fred", "viewer").get(f"exchange-rates/{other['id']}")
    priced.charlie.get("exchange-rates", expect=403)


# --- import ------------------------------------------------------------------------------------------------------------


def test_a_file_is_a_difference_first_and_then_applied(priced: Company):
    asked = {"format": "csv", "text": BOOK, "source": "llm-prices, 2026-08-05"}
    shown = priced.alice.post("prices/import", asked, expect=200)
    assert shown["applied"] is False and shown["counts"] == {
        "added": 1, "changed": 1, "same": 0, "refused": 0, "other_models": 0, "other_dates": 0,
    }  # fmt: skip
    legals = next(row for row in shown["rows"] if row["deployment"] == "legals")
    assert legals["changes"][0] == {
        "name": "input_usd_per_mtok",
        "old": "0.05",
        "new": "0.25",
        "percent": "400.00",
    }
    assert Price.objects.count() == 1
    assert priced.alice.post("prices/import/", asked | {"apply": True}, expect=200)["applied"] is True
    assert priced.alice.get("deployments/ext-a")["prices"]["output_usd_per_mtok"] == "2.00"


def test_a_file_with_a_refused_row_is_not_applied_and_says_the_line(priced: Company):
    asked = {"format": "csv", "text": BOOK.replace("2.0", "two"), "source": "s"}
    assert priced.alice.post("prices/import", asked, expect=200)["refused"][0]["line"] == 2
    errors = priced.alice.post("prices/import", asked | {"apply": True}, expect=400)["errors"]
    assert errors[0]["line"] == 2 and "no decimal number" in errors[0]["message"]


@pytest.mark.parametrize(
    "change",
    [{"format": "xml"}, {"text": "colour\n"}, {"text": ""}, {"source": "=1"}, {"map": {"m": "nobody"}}, {"map": []}, {"x": 1}],
)  # fmt: skip
def test_what_is_no_import_is_refused(priced: Company, change: dict[str, Any]):
    asked = {"format": "csv", "text": BOOK, "source": "s"} | change
    assert priced.alice.post("prices/import", asked, expect=400)["errors"]


def test_prices_are_imported_by_finance_of_the_whole_organisation_only(priced: Company):
    asked = {"format": "csv", "text": BOOK, "source": "s"}
    priced.bob.post("prices/import", asked, expect=403)
    priced.person("vera", "viewer").post("prices/import", asked, expect=403)
    priced.person("fred", "finance").post("prices/import", asked, expect=200)


# --- history by another sheet ------------------------------------------------------------------------------------------


@pytest.fixture
def spent(priced: Company) -> Company:
    hour = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    for lob, deployment in (("legal", "legals"), ("legal", "ext-a"), ("customer-service", "ext-a")):
        SpendHour.objects.create(
            organisation_id=priced.organisation.pk, start=hour, lob=lob, deployment=deployment, model="m", side="external",
            requests=10, tokens_in=1_000_000, tokens_out=100_000, cost_nusd=90_000_000, input_nusd=50_000_000,
            output_nusd=40_000_000,
        )  # fmt: skip
    return priced


def test_history_by_a_draft_says_the_difference_by_deployment_lob_and_class(spent: Company):
    draft = {"input_usd_per_mtok": "0.10", "output_usd_per_mtok": "0.40"}
    found = spent.alice.post("prices/reprice", {"deployments": ["ext-a"], "prices": draft}, expect=200)
    assert found["method"] == "roll-ups" and found["totals"]["difference_usd"] == "0.10"
    assert [(r["key"], r["difference_usd"]) for r in found["by_lob"]] == [
        ("customer-service", "0.05"),
        ("legal", "0.05"),
    ]
    assert {r["key"]: (r["booked_usd"], r["repriced_usd"]) for r in found["by_class"]} == {
        "input": ("0.10", "0.20"), "output": ("0.08", "0.08"),
    }  # fmt: skip
    assert found["rows"][0]["difference_pct"] == "55.56"


def test_a_neighbour_reprices_their_own_calls_and_no_others(spent: Company):
    draft = {"input_usd_per_mtok": "0.10", "output_usd_per_mtok": "0.40"}
    own = spent.bob.post("prices/reprice", {"deployments": ["ext-a"], "prices": draft}, expect=200)
    assert [r["key"] for r in own["by_lob"]] == ["customer-service"]
    spent.bob.post("prices/reprice", {"deployments": ["legals"], "prices": draft}, expect=404)
    spent.bob.post("prices/reprice", {"price": Price.objects.get(deployment="legals").pk}, expect=404)
    spent.bob.post("prices/reprice", {"deployments": ["ext-a"], "prices": draft, "lob": "legal"}, expect=404)
    spent.charlie.post("prices/reprice", {"deployments": ["ext-a"], "prices": draft}, expect=403)


def test_a_neighbours_sheets_are_not_listed(spent: Company):
    spent.alice.post("prices", FULL | {"deployment": "ext-a", "from": "2026-01-01", "source": "b"})
    assert [r["deployment"] for r in spent.bob.get("prices")["results"]] == ["ext-a"]
    assert {r["deployment"] for r in spent.alice.get("prices")["results"]} == {"ext-a", "legals"}
    spent.bob.get(f"prices/{Price.objects.get(deployment='legals').pk}", expect=404)


@pytest.mark.parametrize(
    "body",
    [{}, {"price": 1, "prices": {}}, {"prices": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}}, {"price": "x"},
     {"deployments": ["ext-a"], "prices": {"input_usd_per_mtok": "1"}},
     {"deployments": ["ext-a"], "prices": FULL, "from": "2026-02-01", "to": "2026-01-01"}],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(spent: Company, body: dict[str, Any]):
    assert spent.alice.post("prices/reprice", body, expect=400)["errors"]
    spent.alice.post("prices/reprice", {"price": 999_999}, expect=404)


def test_deployments_that_never_were_are_named_and_a_removed_one_keeps_its_past(spent: Company):
    draft = {"input_usd_per_mtok": "0.10", "output_usd_per_mtok": "0.40"}
    asked = {"deployments": ["ext-a", "nope"], "prices": draft}
    error = spent.alice.post("prices/reprice", asked, expect=400)["errors"][0]
    assert error["path"] == "deployments" and "'nope'" in error["message"] and "ext-a" not in error["message"]
    spent.bob.post("prices/reprice", asked, expect=404)  # told apart, it would say what others have
    SpendHour.objects.filter(deployment="legals").update(deployment="removed")
    found = spent.alice.post("prices/reprice", {"deployments": ["removed"], "prices": draft}, expect=200)
    assert [row["deployment"] for row in found["rows"]] == ["removed"]


def test_neither_a_gap_after_nor_calls_before_are_opened_by_a_new_sheet(priced: Company):
    sheet = FULL | {"deployment": "ext-a", "source": "book"}
    first = priced.alice.post("prices", sheet | {"from": "2026-01-01"})
    ended = sheet | {"from": "2026-09-01", "to": "2026-09-02"}
    error = priced.alice.post("prices", ended, expect=400)["errors"][0]
    assert error["path"] == "to" and "needs a successor" in error["message"]
    assert priced.alice.get(f"prices/{first['id']}")["to"] is None
    Attempt.objects.create(
        request_id="req_1", organisation_id=priced.organisation.pk, at=now() - timedelta(days=1), lob="legal",
        deployment="ext-a", side="external", model="m", price_version=f"price:{first['id']}", cost_nusd=5,
    )  # fmt: skip
    back = (now() - timedelta(days=2)).isoformat()
    assert priced.alice.post("prices", sheet | {"from": back}, expect=400)["errors"][0]["path"] == "from"
    book = {
        "format": "csv", "source": "s", "from": back, "apply": True, "map": {"vendor-mini": "ext-a"},
        "text": BOOK,
    }  # fmt: skip
    assert "from now on" in priced.alice.post("prices/import", book, expect=400)["errors"][0]["message"]
    priced.alice.patch(f"prices/{first['id']}", {"to": (now() + timedelta(days=2)).isoformat()})  # on purpose
