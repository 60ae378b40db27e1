"""The same services on the command line."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from costs.models import ExchangeRate, Price, SpendHour
from switchyard.core.clock import now
from tests import factories
from tests.costs.sheets.test_books import LITELLM

pytestmark = pytest.mark.django_db


def run(*words, **options):
    out = StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def organisation():
    organisation = factories.make_organisation()
    factories.make_deployment(organisation, "ext-a", model="vendor-mini")
    return organisation


def test_a_file_is_shown_then_applied(organisation, tmp_path):
    book = tmp_path / "book.csv"
    book.write_text("model,input_usd_per_mtok,output_usd_per_mtok\nvendor-mini,0.10,0.40\nother,1,1\n")
    shown = run("import_prices", str(book), "--source", "book, 2026-08-05")
    assert "input_usd_per_mtok\t0.05 → 0.10\t100.00 %" in shown and "Nothing was written" in shown
    assert Price.objects.count() == 1
    assert "Applied." in run("import_prices", str(book), "--source", "book, 2026-08-05", "--apply")
    assert Price.objects.get(valid_to__isnull=True).input_nusd_per_munit == 100_000_000


def test_a_per_token_map_is_known_by_its_ending_and_mapped_by_hand(organisation, tmp_path):
    book = tmp_path / "prices.json"
    book.write_text(LITELLM)
    words = ["import_prices", str(book), "--source", "litellm", "--map", "claude-sonnet-4-5=ext-a"]
    assert "tiers" in run(*words, "--apply")
    assert Price.objects.get(valid_to__isnull=True).batch_ppm == 500_000
    with pytest.raises(CommandError, match="no MODEL=DEPLOYMENT"):
        run("import_prices", str(book), "--source", "s", "--map", "x")


def test_faults_of_a_file_are_said_with_their_line(organisation, tmp_path):
    book = tmp_path / "book.csv"
    book.write_text("model,input_usd_per_mtok,output_usd_per_mtok\nvendor-mini,-1,0.40\n")
    with pytest.raises(CommandError, match="line 2: vendor-mini: input_usd_per_mtok is negative"):
        run("import_prices", str(book), "--source", "s", "--apply")
    with pytest.raises(CommandError, match="can't be read"):
        run("import_prices", str(tmp_path / "none.csv"), "--source", "s")


def test_rates_are_entered_and_listed(organisation):
    run("exchange_rates", "EUR", "1.0862", "--source", "ECB", "--from", "2026-08-05")
    assert ExchangeRate.objects.get().nusd_per_unit == 1_086_200_000
    assert run("exchange_rates") == "EUR\t2026-08-05T00:00:00+00:00\t1.0862\tECB\n"
    for words in (["EUR", "many"], ["EURO", "1"], ["EUR", "-1"], ["EUR", "NaN"]):
        with pytest.raises(CommandError):
            run("exchange_rates", *words, "--source", "s")


def test_history_is_repriced_as_json_and_csv(organisation):
    hour = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    SpendHour.objects.create(
        organisation_id=organisation.pk, start=hour, lob="legal", deployment="ext-a", model="m", side="external",
        tokens_in=1_000_000, cost_nusd=50_000_000, input_nusd=50_000_000,
    )  # fmt: skip
    draft = ["--set", "input_usd_per_mtok=0.10", "--set", "output_usd_per_mtok=0.40"]
    assert json.loads(run("reprice", "ext-a", *draft))["totals"]["difference_usd"] == "0.05"
    assert "ext-a|legal" in run("reprice", "ext-a", *draft, "--csv")
    assert (
        json.loads(run("reprice", "--price", str(Price.objects.get().pk)))["totals"]["difference_usd"]
        == "0.00"
    )
    for words in (
        ["ext-a"],
        ["--price", "999"],
        ["ext-a", "--set", "tiers=["],
        ["ext-a", *draft, "--from", "x"],
    ):
        with pytest.raises(CommandError):
            run("reprice", *words)
