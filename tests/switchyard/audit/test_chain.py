import pytest

from switchyard.audit.models import AuditEvent
from switchyard.audit.services import record, verify

pytestmark = pytest.mark.django_db


def test_an_untouched_log_verifies_whole():
    for number in range(5):
        record(actor="alice", action="policy.published", target=f"policy:{number}")
    assert verify() == (5, None)


def test_a_changed_row_is_named():
    for number in range(5):
        record(actor="alice", action="policy.published", target=f"policy:{number}")
    AuditEvent.objects.filter(sequence=3).update(detail={"percent": 50})
    good, fault = verify()
    assert good == 2
    assert "row 3" in fault


def test_a_removed_row_is_named():
    for number in range(4):
        record(actor="alice", action="key.created", target=f"key:{number}")
    AuditEvent.objects.filter(sequence=2).delete()
    assert verify() == (1, "row 2 is missing")
