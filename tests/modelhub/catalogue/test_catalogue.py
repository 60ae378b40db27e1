"""Ready-made entries: facts with source and date, a deployment shown and then made, prices compared."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from costs.models import Price
from costs.selectors import price_sheets
from modelhub.catalogue.adding import add, plan, refresh_prices
from modelhub.catalogue.entries import vendor_named, vendors
from modelhub.models import Deployment
from switchyard.core.errors import Conflict, InvalidRequest, NotFound
from switchyard.core.money import usd_to_nusd
from tests import factories
from tests.switchyard.api.company import Company, make_company

AZURE = {"vendor": "azure-openai", "model": "gpt-4o-2024-11-20", "places": {"resource": "acme"}}


@pytest.fixture
def company(db: None) -> Company:
    return make_company()


def test_every_entry_has_an_address_and_every_price_a_source_and_a_date() -> None:
    slugs = [vendor.slug for vendor in vendors()]
    assert {"openai", "azure-openai", "deepseek", "vllm", "sglang", "tgi", "ollama"} <= set(slugs)
    assert len(set(slugs)) == len(slugs)
    for vendor in vendors():
        assert vendor.base_url.startswith(("https://", "http://{host}")) and vendor.docs.startswith(
            "https://"
        )
        assert not vendor.models or vendor.kind == "vendor", vendor.slug
        for row in vendor.models:
            assert row.source and row.as_of.startswith("2026-") and row.priced, (vendor.slug, row.model)
            assert all(usd_to_nusd(amount) >= 0 for amount in row.prices.values())


def test_batch_prices_are_a_share_only_where_both_directions_agree() -> None:
    assert vendor_named("openai").model("gpt-4o-2024-11-20").batch_pct == "50"
    assert vendor_named("openai").model("gpt-4").batch_pct == ""


def test_what_would_be_made_is_shown_before_it_is(company: Company) -> None:
    shown = company.alice.post("catalogue/add", AZURE, expect=200)
    assert shown["applied"] is False and shown["id"] is None and not Deployment.objects.exists()
    told = shown["deployment"]
    assert told["base_url"] == "https://acme.openai.azure.com/openai/v1" and told["side"] == "external"
    assert told["prices"]["input_usd_per_mtok"] == "2.5" and "2026-07-24" in told["source"]


def test_a_deployment_from_the_catalogue_has_its_key_where_the_vendor_wants_it_and_a_sheet(
    company: Company,
) -> None:
    made = company.alice.post("catalogue/add", AZURE | {"api_key": "secret", "apply": True}, expect=200)
    row = Deployment.objects.get(pk=made["id"])
    assert row.headers == {"api-key": "secret"} and row.api_key == ""
    shown = company.alice.get(f"deployments/{row.name}")
    assert shown["header_names"] == ["api-key"] and "secret" not in str(shown)
    assert shown["prices"]["input_usd_per_mtok"] == "2.50" and shown["prices"]["batch_pct"] == "50"
    sheet = price_sheets(company.organisation.pk)[row.name]
    assert sheet.cached_input_nusd_per_munit == usd_to_nusd("1.25")
    company.alice.post("catalogue/add", AZURE | {"api_key": "secret", "apply": True}, expect=409)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"vendor": "nobody"}, 404), ({"model": "nothing"}, 404), ({"places": {}}, 400), ({"api_key": ""}, 400),
        ({"base_url": "http://169.254.169.254/v1"}, 400), ({"headers": {"host": "x"}}, 400), ({"node": "none"}, 400),
        ({"unknown": 1}, 400),
    ],
)  # fmt: skip
def test_bad_wishes_make_nothing(company: Company, change: dict[str, Any], status: int) -> None:
    company.alice.post("catalogue/add", AZURE | {"api_key": "k", "apply": True} | change, expect=status)
    assert not Deployment.objects.exists() and not Price.objects.exists()


def test_everybody_reads_and_who_is_limited_adds_nothing(company: Company) -> None:
    assert company.bob.get("catalogue")["results"][0]["models"]
    assert company.bob.get("catalogue/deepseek")["auth"] == "bearer"
    company.bob.post("catalogue/add", AZURE, expect=403)
    company.bob.post("catalogue/prices", {"apply": True}, expect=403)
    company.person("vera", "viewer").post("catalogue/add", AZURE, expect=403)
    company.charlie.get("catalogue", expect=403)


def test_prices_of_what_there_is_are_compared_and_then_written(company: Company) -> None:
    factories.make_deployment(company.organisation, "ds", model="deepseek-v4-flash")
    factories.make_deployment(company.organisation, "own", model="nobody-knows")
    diff = company.alice.post("catalogue/prices", {}, expect=200)
    (row,) = diff["rows"]
    assert row["deployment"] == "ds" and row["kind"] == "changed" and diff["unnamed"] == ["own"]
    done = refresh_prices(organisation_id=company.organisation.pk, actor="test", apply=True)
    assert done.applied and [line.deployment for line in done.pending] == ["ds"]
    again = refresh_prices(organisation_id=company.organisation.pk, actor="test", apply=True)
    assert again.pending == []


def test_a_vendor_whose_prices_nobody_wrote_down_gets_no_sheet_and_so_no_traffic(company: Company) -> None:
    body = {"vendor": "moonshot", "model": "kimi-k2", "api_key": "k", "apply": True}
    made = company.alice.post("catalogue/add", body, expect=200)
    assert made["deployment"]["prices"] == {} and made["deployment"]["source"] == ""
    assert company.alice.get("deployments/moonshot-kimi-k2")["prices"] is None


def test_a_server_of_ones_own_is_private_and_wants_a_node(company: Company) -> None:
    node = factories.make_node(company.organisation)
    wanted = plan(vendor="ollama", model="llama", places={"host": "127.0.0.1"})
    row = add(organisation_id=company.organisation.pk, wanted=wanted, actor="test", node=node.name)
    assert (row.side, row.node, row.api_key, row.headers) == ("private", node, "", {})
    with pytest.raises(Conflict):
        add(organisation_id=company.organisation.pk, wanted=wanted, actor="test")
    with pytest.raises(NotFound):
        plan(vendor="openai", model="llama")
    with pytest.raises(InvalidRequest):
        plan(vendor="vllm", model="llama")


def test_the_command_shows_and_adds(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    call_command("vendors", stdout=out)
    call_command("vendors", "deepseek", stdout=out)
    assert "ollama\tserver" in out.getvalue() and "deepseek-v4-pro" in out.getvalue()
    monkeypatch.setenv("DS_KEY", "k")
    words = ("vendors", "deepseek", "deepseek-v4-pro", "--name", "ds")
    call_command(*words, stdout=out)
    assert not Deployment.objects.exists()
    call_command(*words, "--key-env", "DS_KEY", "--apply", stdout=out)
    assert Deployment.objects.get().api_key == "k"
    call_command("vendors", "--prices", stdout=out)
    assert "same\tds" in out.getvalue() and "0 sheets change" in out.getvalue()
    with pytest.raises(CommandError):
        call_command(*words, "--key-env", "NO_SUCH", "--apply", stdout=out)
