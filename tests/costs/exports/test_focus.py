"""FOCUS rows: every column valid, quantity × price = cost on every row, and the sums those of the spend report."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs.books.corrections import correct_attempt
from costs.contracts import Usage
from costs.exports.focus import Export, focus_csv
from costs.exports.focus_columns import columns_of, validate_csv, validate_row
from costs.metering import record_events
from costs.models import Attempt, Price, SpendHour
from costs.pricing import external_charge
from costs.reports import spend
from costs.rollups import refresh
from costs.sheets.in_force import sheet_of
from switchyard.core.money import nusd_to_usd
from switchyard.tenancy.querysets import Scope
from tests import factories
from tests.costs.events import make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
START, END = datetime(2026, 11, 3, tzinfo=UTC), datetime(2026, 11, 6, tzinfo=UTC)


@pytest.fixture
def organisation() -> Any:
    organisation = factories.make_organisation()
    for slug in ("customer-service", "legal"):
        factories.make_application(factories.make_lob(organisation, slug), f"{slug}-app")
    factories.make_price(
        organisation, "ext-mini", input_nusd_per_munit=37_500_001, cached_input_nusd_per_munit=9_999_999,
        output_nusd_per_munit=150_000_007, batch_ppm=500_000,
    )  # fmt: skip
    return organisation


def call(price: Price, **usage: Any) -> dict[str, Any]:
    """An external attempt as the gateway meters it: priced by the real pricing, with its legs."""
    used = Usage(**{"tokens_in": 20, "tokens_out": 2} | usage)
    charge = external_charge(used, sheet_of(price))
    return make_attempt(
        tokens_in=used.tokens_in, tokens_out=used.tokens_out, cached_tokens_in=used.cached_tokens_in, batch=used.batch,
        cost_nusd=charge.cost_nusd, legs=dict(charge.legs), price_version=price.version,
    )  # fmt: skip


def seed(organisation: Any) -> None:
    price = Price.objects.get()
    events = []
    for i in range(24):
        attempts = [
            call(price, tokens_in=13 + 7 * i, tokens_out=1 + i % 3, cached_tokens_in=i % 4, batch=i % 5 == 0)
        ]
        if i % 3 == 0:
            attempts = [
                private_attempt(cost_nusd=901 + i, accelerator_ns=1_234_567 + i, legs={"compute": 901 + i})
            ]
        lob = ("customer-service", "legal")[i % 2]
        at = START + timedelta(hours=2 * i)
        events.append(
            make_event(*attempts, at=at, lob=lob, application=f"{lob}-app", organisation_id=organisation.pk)
        )
    record_events(events)
    refresh(START, END)


def exported(organisation: Any, lobs: tuple[str, ...] | None = None, **more: Any) -> list[dict[str, str]]:
    slugs = None if lobs is None else frozenset(lobs)
    ids = (
        None
        if lobs is None
        else frozenset(organisation.lobs.filter(slug__in=lobs).values_list("pk", flat=True))
    )
    export = Export(
        **{"scope": Scope(organisation.pk, ids, slugs, frozenset()), "start": START, "end": END} | more
    )
    text = "".join(focus_csv(export))
    assert validate_csv(io.StringIO(text), export.version)[1] == []
    return list(csv.DictReader(io.StringIO(text)))


def total(rows: list[dict[str, str]], column: str = "BilledCost") -> Fraction:
    return sum((Fraction(Decimal(row[column])) for row in rows), Fraction(0))


def spent(organisation: Any, **more: Any) -> Fraction:
    scope = Scope(organisation.pk, None, None, frozenset())
    report = spend(**{"scope": scope, "start": START, "end": END} | more)
    return Fraction(nusd_to_usd(report.totals["cost_nusd"]))


def test_sums_are_those_of_the_spend_report_whole_and_by_line_of_business(organisation: Any):
    seed(organisation)
    rows = exported(organisation)
    assert total(rows) == spent(organisation)
    for lob in ("customer-service", "legal"):
        assert total([r for r in rows if r["SubAccountId"] == lob]) == spent(organisation, lob=lob)
        assert total(exported(organisation, lob=lob)) == spent(organisation, lob=lob)


def test_quantity_times_unit_price_is_the_cost_on_every_row(organisation: Any):
    seed(organisation)
    rows = exported(organisation)
    for row in rows:
        product = Fraction(Decimal(row["PricingQuantity"])) * Fraction(Decimal(row["ContractedUnitPrice"]))
        assert product == Fraction(Decimal(row["ContractedCost"])) == Fraction(Decimal(row["BilledCost"])), (
            row
        )
    assert {r["ChargeCategory"] for r in rows} == {"Usage", "Adjustment"}
    rounding = [r for r in rows if r["ChargeCategory"] == "Adjustment"]
    assert all(abs(Decimal(r["BilledCost"])) < Decimal("0.000001") for r in rounding)


def test_prices_are_the_sheets_own_and_batch_work_shows_its_discount(organisation: Any):
    seed(organisation)
    outputs = [r for r in exported(organisation) if r["SkuMeter"] == "output tokens"]
    prices = {(r["ListUnitPrice"], r["ContractedUnitPrice"]) for r in outputs}
    assert prices == {("0.150000007", "0.150000007"), ("0.150000007", "0.0750000035")}
    assert {r["PricingUnit"] for r in outputs} == {"1000000 Tokens"} and {
        r["SkuPriceId"] for r in outputs
    } == {f"{Price.objects.get().version}/txt-edge/output tokens"}


def test_a_row_says_who_what_and_when_with_exclusive_ends(organisation: Any):
    seed(organisation)
    row = next(
        r for r in exported(organisation) if r["x_Route"] == "external" and r["SkuMeter"] == "input tokens"
    )
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == (
        "2026-11-03T00:00:00Z",
        "2026-11-04T00:00:00Z",
    )
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == (
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    )
    assert (row["ServiceCategory"], row["SkuId"], row["ProviderName"]) == (
        "AI and Machine Learning",
        "txt-edge/input tokens",
        "ext-mini",
    )
    assert (
        json.loads(row["Tags"])["workload"] == "support-intent"
        and row["ResourceId"] == f"{row['SubAccountId']}-app"
    )


def test_the_names_of_1_4_replace_those_that_it_dropped(organisation: Any):
    seed(organisation)
    (row, *_) = exported(organisation, version="1.4")
    assert "ProviderName" not in row and row["ServiceProviderName"] and "InvoiceDetailId" in row
    assert total(exported(organisation, version="1.4")) == spent(organisation)
    with pytest.raises(ValueError, match="expected 1.2 or 1.4"):
        exported(organisation, version="2.0")


def test_a_correction_is_an_adjustment_and_of_a_month_that_was_over_a_correction(organisation: Any):
    seed(organisation)
    first, second = Attempt.objects.filter(side="external", cost_nusd__gt=9).order_by("at")[:2]
    with time_machine.travel(datetime(2026, 11, 20, tzinfo=UTC), tick=False):
        correct_attempt(
            attempt=first, cost_nusd=first.cost_nusd - 5, tokens_in=1, tokens_out=1, reason="bill"
        )
    with time_machine.travel(datetime(2026, 12, 2, tzinfo=UTC), tick=False):
        correct_attempt(
            attempt=second, cost_nusd=second.cost_nusd + 700, tokens_in=99, tokens_out=1, reason="bill"
        )
    rows = exported(organisation)
    corrected = {
        (r["ChargeClass"], r["BillingPeriodStart"][:7], r["BilledCost"])
        for r in rows if r["ChargeDescription"].startswith("correction")
    }  # fmt: skip
    assert corrected == {("", "2026-11", "-0.000000005"), ("Correction", "2026-12", "0.0000007")}
    assert total(rows) == spent(organisation)


def test_loaded_costs_and_right_answers_stand_once(organisation: Any):
    seed(organisation)
    rows = SpendHour.objects.filter(side="private")
    rows.update(variance_nusd=40, judged=3, correct=2)
    found = exported(organisation)
    assert total(found, "EffectiveCost") - total(found) == Fraction(40 * rows.count(), 10**9)
    assert sum(int(r["x_CorrectAnswers"] or 0) for r in found) == 2 * rows.count()


def test_a_neighbours_rows_are_not_in_ones_own_export(organisation: Any):
    seed(organisation)
    rows = exported(organisation, ("customer-service",))
    assert {r["SubAccountId"] for r in rows} == {"customer-service"} and "legal" not in json.dumps(rows)
    assert exported(factories.make_organisation()) == []


def test_text_that_a_spreadsheet_would_run_is_kept_as_text(organisation: Any):
    event = make_event(
        make_attempt(model='=HYPERLINK("http://evil")', legs={"input": 1_400}),
        at=START,
        organisation_id=organisation.pk,
    )
    record_events([event])
    rows = exported(organisation)
    assert {r["SkuId"].partition("/")[0] for r in rows if r["SkuId"]} == {"'=HYPERLINK(\"http:"}


def test_the_validator_finds_what_is_wrong_in_any_column(organisation: Any):
    seed(organisation)
    good = next(r for r in exported(organisation) if r["ChargeCategory"] == "Usage")
    assert validate_row(good, "1.2") == []
    wrong = {
        "BilledCost": "abc", "BillingCurrency": "dollars", "ChargeCategory": "Use", "ChargePeriodStart": "2026-11-03",
        "ServiceCategory": "AI", "Tags": "[1]", "x_Route": "cloud", "InvoiceIssuerName": "", "ContractedUnitPrice": "7",
        "PricingUnit": "", "SkuPriceId": "", "ChargePeriodEnd": "2026-11-01T00:00:00Z", "ListUnitPrice": "-1",
        "ConsumedQuantity": "", "BillingPeriodEnd": "2026-11-02T00:00:00Z", "ChargeClass": "Mistake",
        "ResourceType": "", "SubAccountType": "",
    }  # fmt: skip
    for column, value in wrong.items():
        assert validate_row(good | {column: value}, "1.2"), column
    for column in columns_of("1.2"):
        if not column.nullable:
            assert validate_row(good | {column.name: ""}, "1.2"), column.name
    assert validate_csv(["BilledCost,Other\n", "1,2\n"], "1.2")[1][0].startswith("The header isn't")


def test_the_validator_finds_a_price_of_two_skus_a_taxed_quantity_and_a_metered_purchase(organisation: Any):
    seed(organisation)
    good = next(r for r in exported(organisation) if r["ChargeCategory"] == "Usage")
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(good), lineterminator="\n")
    writer.writeheader()
    writer.writerows([good, good | {"SkuId": "another"}])
    lines.seek(0)
    assert validate_csv(lines, "1.2") == (2, [
        f"Row 2: SkuPriceId {good['SkuPriceId']!r} stands with SkuId 'another', before it with {good['SkuId']!r}."
    ])  # fmt: skip
    taxed = validate_row(good | {"ChargeCategory": "Tax"}, "1.2")
    assert "PricingQuantity stands on a row of tax." in taxed
    assert "ChargeFrequency is Usage-Based on a purchase." in validate_row(
        good | {"ChargeCategory": "Purchase"}, "1.2"
    )


usages = st.lists(
    st.builds(
        dict, tokens_in=st.integers(0, 400), tokens_out=st.integers(0, 90), cached_tokens_in=st.integers(0, 50),
        batch=st.booleans(),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(usages, st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 3_000))
def test_any_sheet_and_any_usage_gives_valid_rows_that_sum_to_the_spend(
    organisation: Any, used: list[dict[str, Any]], price_in: int, price_out: int, minimum: int
):
    Attempt.objects.all().delete()
    Price.objects.update(
        input_nusd_per_munit=price_in, output_nusd_per_munit=price_out, minimum_nusd=minimum,
        tiers=[{"above_tokens_in": 200, "input_nusd_per_munit": price_in // 2}],
    )  # fmt: skip
    price = Price.objects.get()
    record_events(
        [make_event(call(price, **usage), at=START, organisation_id=organisation.pk) for usage in used]
    )
    refresh(START, START)
    assert total(exported(organisation)) == spent(organisation)
