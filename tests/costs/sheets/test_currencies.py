"""Currencies are dated: each amount is converted at the rate of its day, and without one at none."""

from datetime import UTC, datetime, timedelta

import pytest

from costs.models import ExchangeRate
from costs.sheets.currencies import NoExchangeRate, create_rate, delete_rate, rates_in_force, to_nusd
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import ConfigVersion
from tests import factories

pytestmark = pytest.mark.django_db
JULY, AUGUST = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
EUR = 1_000_000_000


@pytest.fixture
def organisation():
    return factories.make_organisation()


def add(organisation, day=JULY, usd="1.10", currency="EUR", **changes):
    values = {"source": "ECB reference rate, 2026-07-01", "actor": None}
    nusd = int(float(usd) * 1_000_000) * 1000
    return create_rate(
        organisation_id=organisation.pk,
        currency=currency,
        nusd_per_unit=nusd,
        valid_from=day,
        **values | changes,
    )


def test_each_day_is_converted_at_its_own_rate(organisation):
    add(organisation, JULY, "1.10")
    add(organisation, AUGUST, "1.20")
    assert to_nusd(10 * EUR, "EUR", JULY, organisation.pk) == 11_000_000_000
    assert to_nusd(10 * EUR, "EUR", AUGUST - timedelta(seconds=1), organisation.pk) == 11_000_000_000
    assert to_nusd(10 * EUR, "EUR", AUGUST, organisation.pk) == 12_000_000_000
    assert rates_in_force(organisation.pk, AUGUST)["EUR"].nusd_per_unit == 1_200_000_000


def test_halves_of_a_nano_dollar_round_to_even(organisation):
    add(organisation, usd="0.5")
    assert [to_nusd(n, "EUR", AUGUST, organisation.pk) for n in (1, 3, 5)] == [0, 2, 2]


def test_a_dollar_is_a_dollar_and_another_currency_without_a_rate_is_refused_in_words(organisation):
    assert to_nusd(7, "USD", JULY, organisation.pk) == 7
    with pytest.raises(NoExchangeRate, match="No exchange rate of EUR is in force at 2026-06-30 23:59"):
        add(organisation)
        to_nusd(7, "EUR", JULY - timedelta(seconds=1), organisation.pk)


def test_a_neighbours_rate_is_not_ours(organisation):
    add(factories.make_organisation())
    with pytest.raises(NoExchangeRate):
        to_nusd(7, "EUR", AUGUST, organisation.pk)


def test_a_new_rate_tells_every_process_and_the_audit_log(organisation):
    before = ConfigVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0
    row = add(organisation)
    assert ConfigVersion.objects.get(pk=1).version > before
    assert AuditEvent.objects.filter(target=f"exchange_rate:{row.pk}").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"currency": "euro"}, "no currency"), ({"currency": "USD"}, "a dollar has no rate"), ({"usd": "0"}, "between 0"),
        ({"usd": "-1"}, "between 0"), ({"usd": "1001"}, "between 0"), ({"source": " "}, "Name who published"),
    ],
)  # fmt: skip
def test_a_rate_that_cannot_be_is_refused(organisation, changes, words):
    with pytest.raises(ValidationFailed, match=words):
        add(organisation, **changes)
    assert not ExchangeRate.objects.exists()


def test_what_was_converted_is_not_converted_anew(organisation):
    add(organisation, AUGUST, "1.20")
    with pytest.raises(ValidationFailed, match="in force since 2026-08-01"):
        add(organisation, JULY, "1.10")
    with pytest.raises(ValidationFailed, match="in force since"):
        add(organisation, AUGUST, "1.30")
    with pytest.raises(ValidationFailed, match="it is kept"):
        delete_rate(row=ExchangeRate.objects.get(), actor=None)
    later = add(organisation, now() + timedelta(days=1), "1.25")
    delete_rate(row=later, actor=None)
    assert ExchangeRate.objects.count() == 1
