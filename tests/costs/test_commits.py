"""A test that commits can be cleaned up after, and still meets an append-only ledger."""

import pytest
from django.db import DatabaseError

from costs.metering import record_events
from costs.models import LedgerEntry
from tests.costs.events import make_event


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_committed_entries_are_gone_for_the_next_test(turn):
    assert LedgerEntry.objects.count() == 0
    record_events([make_event()])
    with pytest.raises(DatabaseError, match="append-only"):
        LedgerEntry.objects.all().delete()
