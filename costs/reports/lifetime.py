"""What a workload costs over its life: data and labels, training, inference, people; per 1,000 answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum

from costs.lifetime import (
    MONTH_S,
    USUAL_LIFE_MONTHS,
    Lifetime,
    amortised,
    lifetime_row,
    monthly,
)
from costs.models import LabelHour, SpendDay, WorkloadPlan
from costs.reports.base import Report, groups_of, zone_of
from costs.reports.cells import by, cells
from costs.rollups import HOUR, as_of, hour_of
from switchyard.core.money import usd_to_nusd
from switchyard.tenancy.querysets import Scope

TRAINING = ("fine_tune", "compress", "evaluation", "bias_audit")
Key = tuple[str, str]  # line of business, workload
UNPLANNED = (
    f"No plan: a life of {USUAL_LIFE_MONTHS} months is assumed, people and bought data are not counted."
)


@dataclass(frozen=True, slots=True)
class Span:
    """A period in whole hours, as every report takes it."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Span:
        last = hour_of(end)
        return cls(hour_of(start), last if last == end else last + HOUR)

    @property
    def seconds(self) -> int:
        return int((self.end - self.start).total_seconds())

    def before(self) -> Span:
        """As long, and right before."""
        return Span(self.start - (self.end - self.start), self.start)


def lifetime_cost(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "workload",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows by workload {"key", "workload", "lob", "answers", "labels_nusd", "training_nusd", "inference_nusd",
    "people_nusd", "total_nusd", "nusd_per_1000", each part's "…_nusd_per_1000" and "…_share", "model_life_months", "note"}.

    Labels are those booked in the period, and the period's part of bought data. Training is cost × (period ÷ life) of what
    was trained, compressed, evaluated and audited within one life before the period's end. Inference is the loaded cost of
    answers, shadow and judge calls. People are paid by the month.
    """
    groups_of(group), zone_of(tz)  # the rows are always workloads; what is wrong is refused all the same
    span = Span.of(start, end)
    plans = plans_of(scope, lob)
    found = lifetimes(scope, span, lob, plans)
    rows = [
        {"key": key[1], "workload": key[1], "lob": key[0]}
        | lifetime_row(cost)
        | {"model_life_months": life_of(plans, key), "note": _note(plans.get(key), cost)}
        for key, cost in sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    return Report("lifetime-cost", as_of(), rows, lifetime_row(sum(found.values(), Lifetime())))


def plans_of(scope: Scope, lob: str | None) -> dict[Key, WorkloadPlan]:
    rows = WorkloadPlan.objects.for_tenant(scope).select_related("lob")
    return {(row.lob.slug, row.workload): row for row in rows if lob in (None, row.lob.slug)}


def life_of(plans: Mapping[Key, WorkloadPlan], key: Key) -> int:
    return plans[key].model_life_months if key in plans else USUAL_LIFE_MONTHS


def _note(plan: WorkloadPlan | None, cost: Lifetime) -> str:
    """Which parts are assumed rather than measured."""
    notes = [UNPLANNED]
    if plan is not None:
        source = plan.source or "no source is named"
        notes = [f"Life, people and bought data are planned, not measured: {source}"]
    if not cost.answers:
        notes.append("No answers in this period.")
    return " ".join(note if note.endswith(".") else f"{note}." for note in notes)


def lifetimes(
    scope: Scope, span: Span, lob: str | None, plans: Mapping[Key, WorkloadPlan]
) -> dict[Key, Lifetime]:
    """Every workload that has a plan, or that anything was spent on."""
    found: defaultdict[Key, Lifetime] = defaultdict(Lifetime)
    for key, plan in plans.items():
        found[key] += _planned(plan, span)
    for parts in (
        _inference(scope, span, lob),
        _training(scope, span, lob, plans),
        _labels(scope, span, lob),
    ):
        for key, part in parts:
            found[key] += part
    return dict(found)


def _planned(plan: WorkloadPlan, span: Span) -> Lifetime:
    return Lifetime(
        data_nusd=amortised(usd_to_nusd(plan.data_usd), span.seconds, plan.model_life_months),
        people_nusd=monthly(usd_to_nusd(plan.people_usd_per_month), span.seconds),
    )


def _inference(scope: Scope, span: Span, lob: str | None) -> Iterable[tuple[Key, Lifetime]]:
    """All that the roll-ups hold but training: answers, and the shadow and judge calls around them."""
    found = by(cells(scope, span.start, span.end, lob), ("lob", "workload", "purpose"))
    for (of, workload, purpose), sums in found.items():
        if purpose not in TRAINING:
            answers = sums["answers"] if purpose == "answer" else 0
            yield (
                (of, workload),
                Lifetime(
                    answers=answers, metered_nusd=sums["cost_nusd"], variance_nusd=sums["variance_nusd"]
                ),
            )


def _training(
    scope: Scope, span: Span, lob: str | None, plans: Mapping[Key, WorkloadPlan]
) -> Iterable[tuple[Key, Lifetime]]:
    """By day, since each workload looks back by its own life: within it, every period carries its part of each training."""
    longest = max([USUAL_LIFE_MONTHS, *(plan.model_life_months for plan in plans.values())])
    rows = SpendDay.objects.for_tenant(scope).filter(
        purpose__in=TRAINING, start__gte=_alive_since(span, longest), start__lt=span.end
    )
    rows = rows.filter(lob=lob) if lob else rows
    sums = rows.order_by().values("lob", "workload", "start")
    spent: defaultdict[Key, int] = defaultdict(int)
    for row in sums.annotate(metered=Sum("cost_nusd"), variance=Sum("variance_nusd")):
        key = (row["lob"], row["workload"])
        if row["start"] >= _alive_since(span, life_of(plans, key)):
            spent[key] += row["metered"] + row["variance"]
    for key, nusd in spent.items():
        part = amortised(nusd, span.seconds, life_of(plans, key))
        yield key, Lifetime(training_nusd=part, spent_on_training_nusd=nusd)


def _alive_since(span: Span, life_months: int) -> datetime:
    """A model trained since then still serves at the period's end; a period that is longer than a life looks back over
    itself."""
    return span.end - max(timedelta(seconds=life_months * MONTH_S), span.end - span.start)


def _labels(scope: Scope, span: Span, lob: str | None) -> Iterable[tuple[Key, Lifetime]]:
    for row in label_rows(scope, span, lob):
        yield (row["lob"], row["workload"]), Lifetime(booked_labels_nusd=row["nusd"])


def label_rows(scope: Scope, span: Span, lob: str | None) -> QuerySet[LabelHour, dict[str, Any]]:
    """From the roll-up of labels: whole hours, as all that a report reads."""
    rows = LabelHour.objects.for_tenant(scope).filter(start__gte=hour_of(span.start), start__lt=span.end)
    rows = rows.filter(lob=lob) if lob else rows
    return rows.order_by().values("lob", "workload").annotate(nusd=Sum("amount_nusd"))
