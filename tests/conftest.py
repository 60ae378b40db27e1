"""Fixtures that every test may ask for; each lives beside the fake it starts."""

import pytest

from costs.reading import Kept

pytest_plugins = ["tests.fakes.valkey", "tests.fakes.postgres", "tests.fakes.gateway", "tests.fakes.books"]


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Results are kept by what roll-ups say of an organisation: the next test's may have the same number and the same sums."""
    for kept in list(Kept.everything):
        kept.forget()
