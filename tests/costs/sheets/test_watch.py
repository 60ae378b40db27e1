"""Somebody is told of every deployment that has no price, or soon none, once a day."""

from datetime import timedelta

import pytest

from costs.models import Alert, Price
from costs.tasks import check_prices
from switchyard.core.clock import now
from tests import factories

pytestmark = pytest.mark.django_db


def test_missing_ended_foreign_and_ending_sheets_are_each_told_once():
    organisation = factories.make_organisation()
    for name in ("none", "ended", "euro", "ending", "followed", "fine"):
        factories.make_deployment(organisation, name, bare=name != "fine")
    factories.make_deployment(organisation, "resting", bare=True, enabled=False)
    factories.make_deployment(organisation, "home", side="private")
    soon = now() + timedelta(days=3)
    factories.make_price(organisation, "ended", valid_to=now() - timedelta(days=1))
    factories.make_price(organisation, "euro", currency="EUR")
    factories.make_price(organisation, "ending", valid_to=soon)
    factories.make_price(organisation, "followed", valid_to=soon)
    Price.objects.create(organisation=organisation, deployment="followed", valid_from=soon, source="s")
    assert check_prices() == check_prices() == 4
    assert set(Alert.objects.values_list("kind", "subject")) == {
        ("missing_price", "none"), ("missing_price", "ended"), ("missing_exchange_rate", "euro"), ("price_ends", "ending"),
    }  # fmt: skip
    assert Alert.objects.count() == 4
