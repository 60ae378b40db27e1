"""Somebody is told of every deployment that has no price, or soon none, once a day."""

from datetime import timedelta

import pytest

from costs.models import Alert, ExchangeRate, Price
from costs.tasks import check_prices
from switchyard.core.clock import now
from tests import factories

pytestmark = pytest.mark.django_db


def test_missing_ended_foreign_and_ending_sheets_are_each_told_once():
    organisation = factories.make_organisation()
    for name in ("none", "ended", "euro", "ending", "followed", "fine", "turning"):
        factories.make_deployment(organisation, name, bare=name != "fine")
    factories.make_deployment(organisation, "resting", bare=True, enabled=False)
    factories.make_deployment(organisation, "home", side="private")
    soon = now() + timedelta(days=3)
    factories.make_price(organisation, "ended", valid_to=now() - timedelta(days=1))
    factories.make_price(organisation, "euro", currency="EUR")
    factories.make_price(organisation, "ending", valid_to=soon)
    factories.make_price(organisation, "followed", valid_to=soon)
    Price.objects.create(organisation=organisation, deployment="followed", valid_from=soon, source="s")
    factories.make_price(organisation, "turning", valid_to=soon)
    factories.make_price(organisation, "turning", valid_from=soon, currency="EUR")
    factories.make_deployment(organisation, "ready", bare=True)
    factories.make_price(organisation, "ready", valid_to=soon)
    factories.make_price(organisation, "ready", valid_from=soon, currency="CHF")
    ExchangeRate.objects.create(
        organisation=organisation, currency="CHF", valid_from=soon, nusd_per_unit=1, source="s"
    )
    assert check_prices() == check_prices() == 5
    assert set(Alert.objects.values_list("kind", "subject")) == {
        ("missing_price", "none"), ("missing_price", "ended"), ("missing_exchange_rate", "euro"), ("price_ends", "ending"),
        ("missing_exchange_rate", "turning"),
    }  # fmt: skip
    assert Alert.objects.count() == 5
    assert Alert.objects.get(subject="turning").message.startswith(f"From {soon:%Y-%m-%d} on")
