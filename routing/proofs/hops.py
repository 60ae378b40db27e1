"""What a proof for a period says of each hop by itself: from the sealed records, from jobs, or because nothing leaves there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from modelhub.models import Dataset
from routing.contracts import RANK
from routing.policy.facts import HOPS
from switchyard.jobs.models import Job
from switchyard.tenancy.querysets import Scope

SENDING = ("first", "fallback", "retry", "shadow")
MOST_JOBS = 20  # named of those that took rows outside


def verdicts(
    counts: Mapping[tuple[str, str], int], proven: bool | None, rows: tuple[bool | None, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """[{"hop", "holds", "attempts", "outside", "rests_on"}] of all eight. `counts`: attempts by (hop, side). `proven`: what the
    records as a whole can say, where none of them speaks against it. `rows`: of `rows_for_training`."""
    told = []
    for hop in HOPS:
        attempts = sum(n for (name, _side), n in counts.items() if name == hop)
        outside = sum(n for (name, side), n in counts.items() if name == hop and side != "private")
        row: dict[str, Any] = {"hop": hop, "attempts": attempts, "outside": outside}
        if hop == "training":
            told.append(
                row
                | {"holds": rows[0], "outside": len(rows[1]), "rests_on": "jobs", "jobs": rows[1][:MOST_JOBS]}
            )
        elif hop in SENDING:
            told.append(row | {"holds": False if outside else proven, "rests_on": "records"})
        else:  # `judge`: nobody makes such a call; `cache` and `log`: what we keep is kept here
            told.append(
                row | {"holds": not outside, "rests_on": "no call" if hop == "judge" else "kept at home"}
            )
    return told


def rows_for_training(
    scope: Scope, classes: Collection[str], start: datetime, end: datetime, lob: str
) -> tuple[bool | None, list[dict[str, Any]]]:
    """(whether no rows of these classes were sent to an external deployment to be trained on, the jobs that sent some).

    None where the rows of such a job are no longer known. Jobs aren't sealed: whoever holds the database could change them.
    """
    jobs = Job.objects.for_tenant(scope).filter(
        kind="fine_tune", params__side="external", started_at__isnull=False
    )
    jobs = jobs.filter(started_at__gte=start, started_at__lt=end).select_related("lob").order_by("started_at")
    if lob:
        jobs = jobs.filter(lob__slug=lob)
    sent: list[dict[str, Any]] = []
    unknown = False
    for job in jobs:
        names = [job.params.get("dataset"), job.params.get("validation_dataset")]
        reports = Dataset.objects.filter(
            organisation_id=scope.organisation_id, pk__in=[n for n in names if n]
        )
        found = [report.get("sensitivity", "") for report in reports.values_list("report", flat=True)]
        worst = max((c for c in found if c in RANK), key=RANK.__getitem__, default="")
        if worst in classes:
            sent.append({
                "id": job.pk, "at": job.started_at.isoformat() if job.started_at else "", "class": worst,
                "lob": job.lob.slug if job.lob else "", "deployment": job.params.get("deployment", ""),
            })  # fmt: skip
        unknown |= len(found) < len([n for n in names if n]) or not worst
    return (False if sent else None if unknown else True), sent
