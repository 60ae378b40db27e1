"""What the demonstration assumes of each workload beside what is metered, and the business events of its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from costs.demonstration import ORIGIN
from costs.models import BusinessEvent, SpendDay, WorkloadPlan
from switchyard.tenancy.models import Organisation, Workload

PERSON_USD_PER_MONTH = Decimal(9_000)
SOURCE = (
    "assumption: {part} of a person at $9,000 a month, models replaced after {months} months; every answer of the replayed "
    "history is judged, so labels weigh more here than in real work"
)


@dataclass(frozen=True)
class Assumed:
    """`answers` lead to one `event` of the business, which is worth `usd`."""

    months: int
    person: str  # share of somebody's time
    latency_ms: int
    event: str
    answers: int
    usd: str


PLANS: dict[str, Assumed] = {
    "support-intent": Assumed(12, "0.10", 300, "ticket-routed", 2, "0.60"),
    "assistant-intent": Assumed(12, "0.10", 300, "request-served", 3, "0.45"),
    "support-sentiment": Assumed(12, "0.05", 300, "complaint-spotted", 8, "2.00"),
    "contract-clauses": Assumed(18, "0.15", 2_000, "contract-reviewed", 20, "180.00"),
    "terms-review": Assumed(18, "0.10", 2_000, "terms-checked", 20, "60.00"),
    "clinical-notes": Assumed(12, "0.20", 1_500, "note-filed", 1, "12.00"),
    "equipment-fault": Assumed(24, "0.10", 100, "stop-prevented", 60, "900.00"),
    "plate-fault": Assumed(24, "0.05", 100, "plate-sorted", 1, "3.00"),
    "remaining-life": Assumed(24, "0.10", 100, "service-planned", 25, "350.00"),
    "price-advice": Assumed(6, "0.10", 200, "price-changed", 10, "8.00"),
    "code-assist": Assumed(6, "0.20", 3_000, "change-merged", 12, "20.00"),
}


def create(organisation: Organisation) -> None:
    """A plan a workload, each saying that it is an assumption."""
    for workload in Workload.objects.filter(organisation=organisation, name__in=PLANS).select_related("lob"):
        assumed = PLANS[workload.name]
        WorkloadPlan.objects.create(
            organisation=organisation, lob=workload.lob, workload=workload.name, model_life_months=assumed.months,
            people_usd_per_month=PERSON_USD_PER_MONTH * Decimal(assumed.person), latency_target_ms=assumed.latency_ms,
            event_name=assumed.event, event_value_usd=Decimal(assumed.usd),
            source=SOURCE.format(part=f"{Decimal(assumed.person):.0%}", months=assumed.months),
        )  # fmt: skip


def report_events(organisation_id: int, start: datetime, end: datetime) -> int:
    """The history's business events, one row a workload and day; told again they change nothing. Gives the rows told."""
    days = SpendDay.objects.filter(
        organisation_id=organisation_id, origin=ORIGIN, purpose="answer", start__gte=start.replace(hour=0), start__lt=end,
        workload__in=PLANS,
    )  # fmt: skip
    rows = []
    for day in days.order_by().values("lob", "workload", "start").annotate(n=Sum("answers")):
        assumed = PLANS[day["workload"]]
        if count := day["n"] // assumed.answers:
            rows.append(BusinessEvent(
                organisation_id=organisation_id, event_id=f"{ORIGIN}:{day['workload']}:{day['start']:%Y-%m-%d}",
                at=max(day["start"], start), lob=day["lob"], workload=day["workload"], name=assumed.event, count=count,
            ))  # fmt: skip
    BusinessEvent.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def remove_events(organisation_id: int) -> int:
    """What `report_events` told."""
    told = BusinessEvent.objects.filter(organisation_id=organisation_id, event_id__startswith=f"{ORIGIN}:")
    return told.delete()[0]
