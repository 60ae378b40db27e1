"""The same services on the command line."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from costs.models import ExchangeRate, Price, SpendHour
from switchyard.audit.models import AuditEvent
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


TERMS = ("--set", "input_usd_per_mtok=0.10", "--set", "output_usd_per_mtok=0.40")


def test_a_sheet_is_added_ended_and_taken_back(organisation):
    assert run("prices", "add", "ext-a", "--source", "vendor, 2026-11-01", *TERMS).split("\t")[1] == "ext-a"
    first, second = Price.objects.order_by("valid_from")
    assert (first.valid_to, second.input_nusd_per_munit) == (second.valid_from, 100_000_000)
    later = (now() + timedelta(days=30)).isoformat()
    tiers = '--set=tiers=[{"above_tokens_in": 200000, "input_usd_per_mtok": "0.20"}]'
    added = run("prices", "add", "ext-a", "--source", "vendor, 2026-12-01", "--from", later, *TERMS, tiers)
    assert "batch_pct" not in added and '"above_tokens_in": 200000' in added
    coming = Price.objects.latest("valid_from")
    assert "is taken back" in run("prices", "take-back", str(coming.pk))
    second.refresh_from_db()
    assert second.valid_to is None, "the one before it runs on"
    run("prices", "end", str(second.pk), "--to", later)
    second.refresh_from_db()
    assert second.valid_to.isoformat() == later
    assert len(run("prices", "list", "ext-a").splitlines()) == 2
    done = AuditEvent.objects.filter(action__startswith="price.").values_list("action", flat=True)
    assert sorted(done) == ["price.changed", "price.created", "price.created", "price.deleted"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "nobody", "--source", "s", *TERMS), "no deployment 'nobody'"),
        (("add", "ext-a", "--source", "s", "--set", "input_usd_per_mtok=-1", TERMS[2], TERMS[3]), "greater than or equal"),
        (("add", "ext-a", "--source", "s", "--set", "input_usd_per_mtok=1"), "output_usd_per_mtok"),
        (("add", "ext-a", "--source", "s", *TERMS, "--set", "colour=1"), "colour"),
        (("add", "ext-a", "--source", "s", *TERMS, "--set", "colour"), "no NAME=VALUE"),
        (("add", "ext-a", "--source", "s", *TERMS, "--set", "tiers=x"), "tiers as JSON"),
        (("add", "ext-a", "--source", "=1+1", *TERMS), "formula"),
        (("end", "77", "--to", "2030-01-01"), "no price 77"),
        (("end", "1", "--to", "2020-01-01"), "in the future"),
        (("take-back", "1"), "was in force"),
    ],
)  # fmt: skip
def test_a_sheet_that_cannot_be_is_refused_in_words(organisation, words, said):
    price = Price.objects.get()
    with pytest.raises(CommandError, match=said):
        run("prices", *(str(price.pk) if word == "1" else word for word in words))
    assert Price.objects.get().valid_to is None
