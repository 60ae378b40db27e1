"""Plans of workloads, and the business events that apps report of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from costs.models import BusinessEvent, WorkloadPlan
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, InvalidRequest, NotFound, ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.models import Workload, slug_validator
from switchyard.tenancy.querysets import Scope

MOST_MONTHS = 600
AHEAD, BEHIND = timedelta(minutes=5), timedelta(days=400)
MOST_EVENTS = 1_000  # of one report
MOST_COUNT = 1_000_000_000
MOST_VALUE_NUSD = 10**15  # a million dollars for one report of an event
FIELDS = (
    "model_life_months", "data_usd", "people_usd_per_month", "latency_target_ms", "event_name", "event_value_usd", "source",
)  # fmt: skip


@transaction.atomic
def create_plan(*, workload: Workload, actor: Any, **values: Any) -> WorkloadPlan:
    """Raises ValidationFailed for figures that can't be, Conflict when the workload has a plan."""
    same = WorkloadPlan.objects.filter(organisation_id=workload.organisation_id, workload=workload.name)
    if same.exists():
        raise Conflict(f"{workload.name} has a plan already: change that one.", code="plan_exists")
    plan = WorkloadPlan(organisation_id=workload.organisation_id, lob=workload.lob, workload=workload.name)
    return _save(plan, "created", actor, values)


@transaction.atomic
def change_plan(*, plan: WorkloadPlan, actor: Any, **values: Any) -> WorkloadPlan:
    """Raises ValidationFailed for figures that can't be."""
    return _save(plan, "changed", actor, values)


@transaction.atomic
def set_plan(*, workload: Workload, actor: Any, **values: Any) -> WorkloadPlan:
    """The workload's plan with these values, whether there was one or not."""
    plan = WorkloadPlan.objects.filter(
        organisation_id=workload.organisation_id, workload=workload.name
    ).first()
    if plan is None:
        return create_plan(workload=workload, actor=actor, **values)
    return change_plan(plan=plan, actor=actor, **values)


@transaction.atomic
def delete_plan(*, plan: WorkloadPlan, actor: Any) -> None:
    _note(plan, "deleted", actor, {})
    plan.delete()


def _save(plan: WorkloadPlan, action: str, actor: Any, values: Mapping[str, Any]) -> WorkloadPlan:
    for name, value in values.items():
        if name not in FIELDS:
            raise TypeError(f"A plan has no {name}.")
        setattr(plan, name, value)
    check_plan(plan)
    plan.save()
    _note(plan, action, actor, {name: str(value) for name, value in values.items()})
    return plan


def check_plan(plan: WorkloadPlan) -> None:
    """Raises ValidationFailed naming each figure that can't be."""
    faults: dict[str, list[str]] = {}
    try:
        plan.clean_fields(exclude={"organisation", "lob", "created_at"})
    except ValidationError as error:
        faults = {name: list(messages) for name, messages in error.message_dict.items()}
    for name in ("data_usd", "people_usd_per_month", "event_value_usd"):
        value = getattr(plan, name)
        if name not in faults and value is not None and Decimal(value) < 0:
            faults[name] = [f"{value} is negative; expected 0 or more dollars."]
    if "model_life_months" not in faults and not 1 <= plan.model_life_months <= MOST_MONTHS:
        faults["model_life_months"] = [
            f"{plan.model_life_months} months; expected a life of 1 to {MOST_MONTHS}."
        ]
    if "latency_target_ms" not in faults and plan.latency_target_ms < 1:
        faults["latency_target_ms"] = ["Expected at least 1 ms."]
    if plan.event_name and "event_name" not in faults:
        try:
            slug_validator(plan.event_name)
        except ValidationError as error:
            faults["event_name"] = list(error.messages)
    if faults:
        errors = [
            {"path": name, "line": None, "column": None, "message": message}
            for name, messages in faults.items()
            for message in messages
        ]
        told = "; ".join(f"{error['path']}: {error['message']}" for error in errors)
        raise ValidationFailed(f"The plan of {plan.workload} can't be: {told}", errors)


def _note(plan: WorkloadPlan, action: str, actor: Any, detail: dict[str, Any]) -> None:
    record(
        actor=actor, action=f"workload_plan.{action}", target=f"workload_plan:{plan.workload}", lob=plan.lob.slug,
        organisation_id=plan.organisation_id, detail=detail,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reported:
    """A business event as an app tells it. `value_nusd` is what all `count` of them brought together; `at` None is now."""

    event_id: str
    workload: str
    event: str
    count: int = 1
    value_nusd: int | None = None
    at: datetime | None = None


@transaction.atomic
def report_events(*, scope: Scope, items: Sequence[Reported]) -> tuple[list[BusinessEvent], int]:
    """(their rows in order, how many of them are new); all of them or none.

    Told again, an event is the row that is there. Raises Conflict `event_conflict` when an id was told with other content,
    NotFound for a workload that isn't the asker's, ValidationFailed for figures and times that can't be.
    """
    if not 1 <= len(items) <= MOST_EVENTS:
        raise InvalidRequest(f"{len(items)} events; from 1 to {MOST_EVENTS} are taken at once.")
    at = now()
    _check(items, at)
    lobs = _lobs_of(scope, {item.workload for item in items})
    told: dict[str, Reported] = {}
    for item in items:
        if told.setdefault(item.event_id, item) != item:
            raise _conflict(item.event_id, "twice in this report")
    rows = [_row(scope, lobs[item.workload], item, at) for item in told.values()]
    known = set(_known(scope, told))
    BusinessEvent.objects.bulk_create(rows, ignore_conflicts=True, batch_size=200)
    found = _known(scope, told)  # also those that another process wrote meanwhile
    for item in told.values():
        if not _same(found[item.event_id], item):
            raise _conflict(item.event_id, "before")
    return [found[item.event_id] for item in items], len(found) - len(known)


def _check(items: Sequence[Reported], at: datetime) -> None:
    errors = []
    for number, item in enumerate(items):
        for name, message in _faults(item, at):
            path = f"[{number}].{name}" if len(items) > 1 else name
            errors.append({"path": path, "line": None, "column": None, "message": message})
    if errors:
        raise ValidationFailed(f"{len(errors)} values can't be; nothing was recorded.", errors[:50])


def _faults(item: Reported, at: datetime) -> list[tuple[str, str]]:
    faults = []
    if not 1 <= len(item.event_id) <= 80 or "\x00" in item.event_id:
        faults.append(("event_id", "Expected 1 to 80 characters."))
    try:
        slug_validator(item.event)
    except ValidationError as error:
        faults.append(("event", error.messages[0]))
    if not 1 <= item.count <= MOST_COUNT:
        faults.append(("count", f"{item.count}; expected 1 to {MOST_COUNT}."))
    if item.value_nusd is not None and abs(item.value_nusd) > MOST_VALUE_NUSD:
        limit = format_usd(MOST_VALUE_NUSD)
        faults.append(("value_usd", f"{format_usd(item.value_nusd)}; expected -{limit} to {limit}."))
    if item.at is not None and item.at > at + AHEAD:
        faults.append(("at", f"{item.at.isoformat()} lies in the future: is the clock right?"))
    if item.at is not None and item.at < at - BEHIND:
        faults.append(("at", f"{item.at.isoformat()} lies more than {BEHIND.days} days back."))
    return faults


def _lobs_of(scope: Scope, names: set[str]) -> dict[str, str]:
    """Workload → slug of its line of business. NotFound names nothing that the asker doesn't know."""
    rows = Workload.objects.for_tenant(scope).filter(name__in=[n for n in names if "\x00" not in n])
    found = dict(rows.values_list("name", "lob__slug"))
    if missing := sorted(names - found.keys()):
        raise NotFound(
            f"There is no workload {missing[0]!r}, or it is not one of your lines of business.",
            param="workload",
        )
    return found


def _row(scope: Scope, lob: str, item: Reported, at: datetime) -> BusinessEvent:
    assert scope.organisation_id is not None
    return BusinessEvent(
        organisation_id=scope.organisation_id, event_id=item.event_id, at=item.at or at, lob=lob, workload=item.workload,
        name=item.event, count=item.count, value_nusd=item.value_nusd, recorded_at=at,
    )  # fmt: skip


def _known(scope: Scope, told: Mapping[str, Reported]) -> dict[str, BusinessEvent]:
    """The organisation's rows of these ids, whoever reported them: an id is taken once."""
    rows = BusinessEvent.objects.filter(organisation_id=scope.organisation_id, event_id__in=list(told))
    return {row.event_id: row for row in rows}


def _same(row: BusinessEvent, item: Reported) -> bool:
    """Whoever left the time out the first time doesn't know which one we took."""
    told = (item.workload, item.event, item.count, item.value_nusd)
    return told == (row.workload, row.name, row.count, row.value_nusd) and item.at in (None, row.at)


def _conflict(event_id: str, where: str) -> Conflict:
    return Conflict(
        f"Event {event_id!r} was reported {where} with other content; nothing was recorded. Send another event_id, or let "
        "somebody with the finance role delete the one that is wrong.",
        code="event_conflict", param="event_id",
    )  # fmt: skip


@transaction.atomic
def delete_event(*, event: BusinessEvent, actor: Any) -> None:
    """Take back what an app reported wrongly."""
    record(
        actor=actor, action="business_event.deleted", target=f"business_event:{event.event_id}", lob=event.lob,
        organisation_id=event.organisation_id,
        detail={"workload": event.workload, "event": event.name, "count": event.count, "value_nusd": event.value_nusd},
    )  # fmt: skip
    event.delete()
