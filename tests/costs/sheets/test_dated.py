"""Sheets follow one another without overlap and without gap, in any currency that has a rate."""

from datetime import UTC, datetime, timedelta

import pytest

from costs.contracts import PriceTier
from costs.models import Alert, Attempt, ExchangeRate, Price
from costs.sheets.currencies import create_rate
from costs.sheets.dated import create_price, end_price, opening, take_back
from costs.sheets.in_force import price_in_force, price_sheets
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, ValidationFailed
from tests import factories

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def organisation():
    return factories.make_organisation()


def add(organisation, day=0, until=None, **changes):
    return create_price(
        **{
            "organisation_id": organisation.pk, "deployment": "ext-a", "valid_from": START + timedelta(days=day),
            "valid_to": None if until is None else START + timedelta(days=until), "source": "book, 2026-01-01",
            "actor": None, "input_nusd_per_munit": 50_000_000, "output_nusd_per_munit": 400_000_000,
        }
        | changes
    )  # fmt: skip


def test_a_gap_is_refused_and_the_message_says_how_to_close_it(organisation):
    add(organisation, 0, until=10)
    with pytest.raises(ValidationFailed) as refused:
        add(organisation, 15)
    assert refused.value.message == (
        "Between 2026-01-11T00:00:00Z and 2026-01-16T00:00:00Z ext-a would have no price and get no traffic: "
        "begin this one at 2026-01-11T00:00:00Z."
    )
    add(organisation, 10, until=20)
    with pytest.raises(ValidationFailed, match="end this one at 2026-01-01T00:00:00Z"):
        add(organisation, -20, until=-5)
    add(organisation, -20, until=0)
    assert [row.valid_to for row in Price.objects.order_by("valid_from")[:2]] == [
        START,
        START + timedelta(days=10),
    ]


def test_a_deployment_always_has_the_sheet_of_the_day(organisation):
    first, second = add(organisation, 0), add(organisation, 10)
    assert (
        price_in_force(organisation.pk, "ext-a", START + timedelta(days=10, seconds=-1)).version
        == first.version
    )
    assert price_in_force(organisation.pk, "ext-a", START + timedelta(days=10)).version == second.version


def test_a_sheet_that_says_nothing_of_its_start_begins_where_the_last_one_ended(organisation):
    assert abs(opening(organisation.pk, "ext-a") - now()) < timedelta(seconds=5)
    add(organisation, 0, until=10)
    assert opening(organisation.pk, "ext-a") == START + timedelta(days=10)


@pytest.mark.parametrize(
    ("terms", "path"),
    [
        ({"input_nusd_per_munit": -1}, "input_usd_per_mtok"),
        ({"output_nusd_per_munit": 100_001 * 10**9}, "output_usd_per_mtok"),
        ({"cache_write_nusd_per_munit": 10**15}, "cache_write_usd_per_mtok"),
        ({"call_nusd_per_munit": 101 * 10**15}, "usd_per_mcall"), ({"second_nusd_per_munit": 101 * 10**15}, "usd_per_second"),
        ({"minimum_nusd": 101 * 10**9}, "minimum_usd"), ({"batch_ppm": 1_000_001}, "batch_pct"),
        ({"tiers": [{"above_tokens_in": 10, "input_nusd_per_munit": 1}, {"above_tokens_in": 10, "input_nusd_per_munit": 2}]},
         "tiers[1].above_tokens_in"),
        ({"tiers": [{"above_tokens_in": 10}]}, "tiers[0]"),
        ({"tiers": [{"above_tokens_in": 10, "input_nusd_per_munit": -1}]}, "tiers[0].input_usd_per_mtok"),
        ({"tiers": [{"above_tokens_in": 10, "price": 1}]}, "tiers[0]"),
        ({"source": "=HYPERLINK(1)"}, "source"), ({"source": " "}, "source"), ({"currency": "usd"}, "currency"),
    ],
)  # fmt: skip
def test_absurd_terms_are_refused_by_name(organisation, terms, path):
    with pytest.raises(ValidationFailed) as refused:
        add(organisation, **terms)
    assert path in [error["path"] for error in refused.value.errors] or refused.value.param == path
    assert not Price.objects.exists()


def test_an_output_that_costs_nothing_is_allowed(organisation):
    assert add(organisation, output_nusd_per_munit=0).output_nusd_per_munit == 0


def test_an_end_may_not_open_a_gap_and_history_stays(organisation):
    add(organisation, 0)
    second = add(organisation, 3650)
    third = add(organisation, 4000)
    second.refresh_from_db()
    with pytest.raises(ValidationFailed, match=f"delete {third.version} first"):
        end_price(price=second, end=START + timedelta(days=3700))
    first = Price.objects.order_by("valid_from").first()
    with pytest.raises(Conflict):
        take_back(price=first)


def test_taking_a_coming_sheet_back_lets_the_one_before_it_run_on(organisation):
    first, coming, last = add(organisation, 0), add(organisation, 3650), add(organisation, 4000)
    coming.refresh_from_db()
    take_back(price=coming)
    first.refresh_from_db()
    assert first.valid_to == last.valid_from
    take_back(price=last)
    first.refresh_from_db()
    assert first.valid_to is None


# --- other currencies -------------------------------------------------------------------------------------------------


def test_a_sheet_in_euro_is_metered_in_dollars_at_the_rate_of_the_day(organisation):
    create_rate(organisation_id=organisation.pk, currency="EUR", nusd_per_unit=1_085_000_000, source="ECB", actor=None,
                valid_from=START)  # fmt: skip
    row = add(organisation, currency="EUR", minimum_nusd=1_001,
              tiers=[{"above_tokens_in": 100, "output_nusd_per_munit": 800_000_000}])  # fmt: skip
    sheet = price_sheets(organisation.pk)["ext-a"]
    # 0.05 € × 1.085 = $0.05425; 0.40 € = $0.434; 0.80 € = $0.868; 1,001 nano-euro = 1,086.085 → 1,086.
    assert (sheet.input_nusd_per_munit, sheet.output_nusd_per_munit) == (54_250_000, 434_000_000)
    assert sheet.tiers == (PriceTier(100, output_nusd_per_munit=868_000_000),)
    assert sheet.minimum_nusd == 1_086
    assert sheet.version == f"price:{row.pk}@fx:{ExchangeRate.objects.get().pk}"


def test_a_new_rate_is_a_new_version_of_the_price(organisation):
    for day, rate in ((0, 1_000_000_000), (10, 2_000_000_000)):
        create_rate(organisation_id=organisation.pk, currency="EUR", nusd_per_unit=rate, source="ECB", actor=None,
                    valid_from=START + timedelta(days=day))  # fmt: skip
    add(organisation, currency="EUR")
    early = price_in_force(organisation.pk, "ext-a", START + timedelta(days=9))
    late = price_in_force(organisation.pk, "ext-a", START + timedelta(days=10))
    assert late.input_nusd_per_munit == 2 * early.input_nusd_per_munit and late.version != early.version


def test_without_a_rate_the_deployment_is_unpriced_and_somebody_is_told(organisation):
    add(organisation, currency="EUR")
    factories.make_price(organisation, "ext-usd")
    assert set(price_sheets(organisation.pk)) == {"ext-usd"}
    assert price_in_force(organisation.pk, "ext-a", now()) is None
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject) == (
        "missing_exchange_rate",
        "ext-a",
    ) and "no exchange rate of EUR" in alert.message


def test_a_coming_sheet_without_a_rate_says_when_traffic_would_end(organisation):
    add(organisation)
    day = now() + timedelta(days=40)
    create_price(
        organisation_id=organisation.pk, deployment="ext-a", valid_from=day, source="a book", actor=None, currency="EUR",
        input_nusd_per_munit=1, output_nusd_per_munit=2,
    )  # fmt: skip
    assert set(price_sheets(organisation.pk)) == {"ext-a"}, "the present one is in force"
    assert Alert.objects.get().message.startswith(f"From {day:%Y-%m-%d} on ext-a gets no traffic")


def test_what_is_absurd_is_judged_in_dollars(organisation):
    create_rate(organisation_id=organisation.pk, currency="JPY", nusd_per_unit=6_700_000, source="BoJ", actor=None,
                valid_from=START)  # fmt: skip
    add(organisation, currency="JPY", output_nusd_per_munit=150_000 * 10**9)  # $1,005 a million
    with pytest.raises(ValidationFailed, match="no vendor asks that"):
        add(organisation, 5, currency="JPY", output_nusd_per_munit=15_000_000 * 10**9)


# --- what closes an open sheet ----------------------------------------------------------------------------------------


def meter(organisation, version, at, request="req_1"):
    Attempt.objects.create(
        request_id=request, organisation_id=organisation.pk, at=at, lob="legal", deployment="ext-a", side="external",
        model="m", price_version=version, cost_nusd=5,
    )  # fmt: skip


def test_a_sheet_with_an_end_does_not_close_an_open_one(organisation):
    first = add(organisation, 0)
    with pytest.raises(ValidationFailed, match="a sheet with an end needs a successor") as refused:
        add(organisation, 10, until=11)
    assert refused.value.param == "to" and "no price and get no traffic" in refused.value.message
    first.refresh_from_db()
    assert first.valid_to is None and Price.objects.count() == 1
    add(organisation, 10)
    add(organisation, 11)  # the same two days, without a gap
    assert price_in_force(organisation.pk, "ext-a", now()) is not None


@pytest.mark.parametrize("suffix", ["", "@fx:3"])
def test_an_open_sheet_is_not_closed_before_calls_that_it_metered(organisation, suffix):
    first = add(organisation, 0)
    meter(organisation, first.version + suffix, START + timedelta(days=12))
    with pytest.raises(ValidationFailed, match="enter the new sheet from now on") as refused:
        add(organisation, 10)
    assert refused.value.param == "from" and Price.objects.get().valid_to is None
    add(organisation, 13)  # after the last call there is nothing to replace


def test_calls_by_another_sheet_or_before_do_not_hold_a_sheet_up(organisation):
    first = add(organisation, 0)
    meter(organisation, f"{first.version}0", START + timedelta(days=12))
    meter(organisation, first.version, START + timedelta(days=9), "req_2")
    add(organisation, 10)
    assert Price.objects.count() == 2


def test_a_sheet_from_now_on_closes_one_in_use(organisation):
    first = add(organisation, 0)
    meter(organisation, first.version, now())
    add(organisation, valid_from=now())
    first.refresh_from_db()
    assert first.valid_to is not None


def test_a_first_sheet_may_be_entered_late(organisation):
    meter(organisation, "", START + timedelta(days=12))
    assert add(organisation, 0).valid_from == START
