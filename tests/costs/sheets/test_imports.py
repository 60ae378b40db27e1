"""A price file is shown as a difference first, and applied whole or not at all."""

from datetime import UTC, datetime, timedelta

import pytest

from costs.models import Attempt, Price
from costs.sheets.dated import create_price
from costs.sheets.imports import as_csv, diff_prices, import_prices
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from tests import factories
from tests.costs.sheets.test_books import LITELLM

pytestmark = pytest.mark.django_db
BOOK = """vendor,model,name,input_usd_per_mtok,output_usd_per_mtok,cached_input_usd_per_mtok,from_date,to_date
openai,gpt-5-mini,GPT-5 Mini,0.25,2.0,0.025,,
openai,gpt-5-nano,GPT-5 Nano,0.05,0.4,,,
google,gemini-2.5-flash,Gemini 2.5 Flash,0.3,2.5,0.03,,
openai,nobody-uses-it,X,1,1,,,
"""


@pytest.fixture
def organisation():
    organisation = factories.make_organisation()
    for name, model in (
        ("mini-eu", "gpt-5-mini"),
        ("mini-us", "gpt-5-mini"),
        ("nano", "gpt-5-nano"),
        ("claude", "sonnet"),
    ):
        factories.make_deployment(organisation, name, model=model, bare=True)
    factories.make_deployment(organisation, "home", side="private", model="gpt-5-mini")
    return organisation


def asked(organisation, text=BOOK, kind="csv", **more):
    return {
        "organisation_id": organisation.pk, "text": text, "kind": kind, "source": "llm-prices, 2026-08-05", **more,
    }  # fmt: skip


def test_the_difference_says_what_is_new_what_moved_by_how_much_and_what_stays(organisation):
    factories.make_price(
        organisation, "mini-eu", input_nusd_per_munit=200_000_000, output_nusd_per_munit=2_000_000_000
    )
    factories.make_price(organisation, "nano")
    diff = diff_prices(**asked(organisation))
    assert [(line.deployment, line.kind) for line in diff.lines] == [
        ("mini-eu", "changed"), ("mini-us", "added"), ("nano", "same"),
    ]  # fmt: skip
    moved = {change.name: (change.old, change.new, str(change.percent)) for change in diff.lines[0].changes}
    assert moved == {
        "input_usd_per_mtok": (200_000_000, 250_000_000, "25.00"),
        "cached_input_usd_per_mtok": (None, 25_000_000, "None"),
    }
    assert (diff.others, diff.unnamed, diff.applied) == (2, ["claude"], False)
    assert Price.objects.count() == 2, "a difference writes nothing"


def test_applying_closes_what_was_in_force_and_writes_one_audit_event(organisation):
    old = factories.make_price(organisation, "mini-eu", input_nusd_per_munit=200_000_000)
    begins = now() + timedelta(days=1)
    diff = import_prices(actor=None, **asked(organisation, begins=begins))
    assert diff.applied and len(diff.pending) == 3
    old.refresh_from_db()
    new = Price.objects.get(deployment="mini-eu", valid_to__isnull=True)
    assert old.valid_to == new.valid_from == begins and new.source == "llm-prices, 2026-08-05"
    event = AuditEvent.objects.get(action="prices.imported")
    assert event.detail["changed"] == ["mini-eu"] and event.detail["added"] == ["mini-us", "nano"]
    assert len(event.detail["sha256"]) == 64


def test_importing_the_same_file_again_changes_nothing(organisation):
    import_prices(actor=None, **asked(organisation))
    count = Price.objects.count()
    again = import_prices(actor=None, **asked(organisation))
    assert {line.kind for line in again.lines} == {"same"} and Price.objects.count() == count


def test_one_refused_row_means_that_nothing_is_written(organisation):
    bad = BOOK.replace("0.05,0.4", "0.05,-0.4")
    assert [r.line for r in diff_prices(**asked(organisation, bad)).refused] == [3]
    with pytest.raises(ValidationFailed, match="Nothing was imported: 1 rows") as refused:
        import_prices(actor=None, **asked(organisation, bad))
    assert refused.value.errors[0]["line"] == 3 and "negative" in refused.value.errors[0]["message"]
    assert not Price.objects.exists() and not AuditEvent.objects.filter(action="prices.imported").exists()


def test_a_map_says_which_deployment_a_model_prices(organisation):
    diff = diff_prices(
        **asked(organisation, named={"google/gemini-2.5-flash": ["claude"], "gpt-5-mini": "mini-us"})
    )
    assert {line.deployment: line.model for line in diff.lines} == {
        "claude": "gemini-2.5-flash", "mini-us": "gpt-5-mini", "nano": "gpt-5-nano",
    }  # fmt: skip
    for named in ({"gpt-5-mini": "home"}, {"gpt-5-mini": "nobody"}, {"gpt-5-mini": 7}):
        with pytest.raises(ValidationFailed):
            diff_prices(**asked(organisation, named=named))


def test_two_rows_for_one_deployment_are_refused_rather_than_chosen_between(organisation):
    diff = diff_prices(**asked(organisation, named={"gpt-5-mini": "nano", "gpt-5-nano": "nano"}))
    assert "line 2 prices nano too" in diff.refused[0].reason


def test_what_the_file_has_no_column_for_stays_and_an_empty_cell_takes_it_away(organisation):
    factories.make_price(
        organisation, "nano", cached_input_nusd_per_munit=5_000_000, minimum_nusd=1_000, batch_ppm=500_000,
        input_nusd_per_munit=60_000_000,
    )  # fmt: skip
    import_prices(actor=None, **asked(organisation))
    new = Price.objects.get(deployment="nano", valid_to__isnull=True)
    assert (new.minimum_nusd, new.batch_ppm, new.cached_input_nusd_per_munit) == (1_000, 500_000, None)


def test_a_gap_and_an_absurd_price_are_refused_with_their_line(organisation):
    create_price(
        organisation_id=organisation.pk, deployment="nano", valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        valid_to=datetime(2026, 2, 1, tzinfo=UTC), source="s", actor=None,
    )  # fmt: skip
    text = BOOK.replace("0.25,2.0", "0.25,200000")
    refused = diff_prices(**asked(organisation, text, begins=datetime(2026, 8, 5, tzinfo=UTC))).refused
    assert [r.line for r in refused] == [2, 2, 3]
    assert (
        "no vendor asks that" in refused[0].reason
        and "begin this one at 2026-02-01T00:00:00Z" in refused[2].reason
    )


def test_per_token_files_price_the_vendors_model_with_its_tiers(organisation):
    import_prices(
        actor=None, **asked(organisation, LITELLM, "litellm", named={"claude-sonnet-4-5": "claude"})
    )
    row = Price.objects.get()
    assert (row.deployment, row.batch_ppm, row.cache_write_nusd_per_munit) == (
        "claude",
        500_000,
        3_750_000_000,
    )
    assert row.tiers[0]["above_tokens_in"] == 200_000


def test_the_rows_of_a_difference_come_back_as_a_file_that_says_the_same(organisation):
    named = {"claude-sonnet-4-5": "claude"}
    first = diff_prices(**asked(organisation, LITELLM, "litellm", named=named))
    again = diff_prices(**asked(organisation, as_csv(first.pending)))
    assert again.refused == [] and [(x.deployment, x.terms) for x in again.lines] == [
        (x.deployment, x.terms) for x in first.lines
    ]


def test_a_file_dated_back_over_metered_calls_is_refused_whole(organisation):
    old = factories.make_price(organisation, "mini-eu", input_nusd_per_munit=200_000_000)
    Attempt.objects.create(
        request_id="req_1", organisation_id=organisation.pk, at=now() - timedelta(days=1), lob="legal",
        deployment="mini-eu", side="external", model="m", price_version=old.version, cost_nusd=5,
    )  # fmt: skip
    late = asked(organisation, begins=now() - timedelta(days=2))
    assert "enter the new sheet from now on" in diff_prices(**late).refused[0].reason
    with pytest.raises(ValidationFailed, match="Nothing was imported"):
        import_prices(actor=None, **late)
    old.refresh_from_db()
    assert old.valid_to is None and Price.objects.count() == 1
    assert import_prices(actor=None, **asked(organisation)).applied
