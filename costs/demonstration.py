"""Takes the replayed history out of the books again; live rows and those of jobs stay."""

from __future__ import annotations

from django.db import transaction

from costs.models import Attempt, LedgerEntry, NodeInterval, SpendDay, SpendHour

ORIGIN = "demonstration"


@transaction.atomic
def remove_demonstration(organisation_id: int) -> dict[str, int]:
    """Table → rows removed. The ledger's triggers let exactly these go."""
    removed = {}
    entries = LedgerEntry.objects.filter(organisation_id=organisation_id, origin=ORIGIN)
    removed["ledger entries"] = entries.filter(reverses__isnull=False).delete()[0]
    removed["ledger entries"] += entries.delete()[0]
    for label, model in (
        ("attempts", Attempt),
        ("node intervals", NodeInterval),
        ("hourly roll-ups", SpendHour),
        ("daily roll-ups", SpendDay),
    ):
        removed[label] = model.objects.filter(organisation_id=organisation_id, origin=ORIGIN).delete()[0]
    return removed
