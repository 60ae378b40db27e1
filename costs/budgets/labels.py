"""Whether labels, reviews and feedback still fit: asked before they are booked."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q

from costs.budgets.counters import client
from costs.budgets.headroom import headroom
from costs.models import Budget
from costs.replies import exhausted
from costs.selectors import limits_of


def reserve_labels(organisation_id: int, lob: str, amount_nusd: int, at: datetime) -> None:
    """Raise BudgetExhausted unless labels for `amount_nusd` fit into every budget of the line of business and of the
    organisation that stops spending: those of labels, and those of everything, which labels count in as well.

    To be called inside the transaction that books the labels: the budgets' rows stay locked until it ends, so bookings
    side by side can't both take what is left. Nothing is held beyond that: the booking itself is what counts. While the
    counters are out of reach the ledger alone says what was spent.
    """
    rows = Budget.objects.filter(
        Q(scope="organisation") | Q(scope=f"lob:{lob}", lob__slug=lob),
        organisation_id=organisation_id,
        action="stop",
    ).order_by("pk")
    budgets = list(rows.select_related("lob"))
    if not budgets or amount_nusd <= 0:
        return
    # A write takes the lock on both engines; the values stay as they are.
    Budget.objects.filter(pk__in=[b.pk for b in budgets]).update(limit_nusd=F("limit_nusd"))
    with client() as connection:
        rooms = [(limit, headroom(limit, connection, at)) for limit in limits_of(budgets)]
    for limit, room in rooms:
        if amount_nusd > room.limit_nusd - room.spent_nusd - room.reserved_nusd:
            raise exhausted(
                limit,
                limit_nusd=room.limit_nusd,
                worst_case_nusd=amount_nusd,
                spent=room.spent_nusd,
                reserved=room.reserved_nusd,
                end_s=int(room.end.timestamp()) if room.end else 0,
                what="these labels",
            )
