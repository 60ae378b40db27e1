"""Takes the replayed history out of the books again; live rows and those of jobs stay."""

from __future__ import annotations

from django.db import transaction

from costs.books import fiscal
from costs.models import AccountHour, Attempt, LabelHour, LedgerEntry, NodeInterval, SpendDay, SpendHour
from switchyard.core.errors import Conflict

ORIGIN = "demonstration"


@transaction.atomic
def remove_demonstration(organisation_id: int) -> dict[str, int]:
    """Table → rows removed. The ledger's triggers let exactly these go, and take them out of the balances. Raises Conflict
    when some lie in a closed fiscal period."""
    removed = {}
    entries = LedgerEntry.objects.filter(organisation_id=organisation_id, origin=ORIGIN)
    for start, end in fiscal.closed_spans([organisation_id]).get(organisation_id, []):
        if entries.filter(at__gte=start, at__lt=end).exists():
            raise Conflict(f"{start:%Y-%m} is closed and holds demonstration rows: reopen it first.")
    removed["ledger entries"] = entries.filter(reverses__isnull=False).delete()[0]
    removed["ledger entries"] += entries.delete()[0]
    AccountHour.objects.filter(organisation_id=organisation_id, debit_nusd=0, credit_nusd=0).delete()
    for label, model in (
        ("attempts", Attempt),
        ("node intervals", NodeInterval),
        ("hourly roll-ups", SpendHour),
        ("daily roll-ups", SpendDay),
        ("hours of labels", LabelHour),
    ):
        removed[label] = model.objects.filter(organisation_id=organisation_id, origin=ORIGIN).delete()[0]
    return removed
