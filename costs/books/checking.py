"""Checks of the books as jobs: asked for or every night, their findings kept in the job and told as alerts."""

from __future__ import annotations

from typing import Any

import redis
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.books.reservations import verify_counters
from costs.books.verification import verify_books
from costs.budgets import client
from switchyard.core.clock import now
from switchyard.jobs.models import Job
from switchyard.jobs.runner import Context
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import Organisation, User

KIND = "verify_books"
TOLD = 20  # findings that are alerts of their own; the job has all of them


def start_check(*, organisation: Organisation, user: User | None = None) -> Job:
    """A job that verifies the whole organisation's books; the one that waits or runs already, where there is one."""
    return submit_once(
        kind=KIND,
        organisation=organisation,
        lob=None,
        params={"of": organisation.slug},
        user=user,
        unique_key=KIND,
    )


def run(context: Context) -> dict[str, Any]:
    """The recipe. What is found is told once a day."""
    organisation_id = context.job.organisation_id
    context.progress(0.0, "reading the ledger")
    findings = verify_books(organisation_id)
    context.progress(0.8, "comparing Valkey's counters")
    findings += _counters(organisation_id)
    for finding in findings[:TOLD]:
        tell(organisation_id, finding)
    return {"findings": findings, "holds": not findings, "checked_at": now().isoformat()}


def _counters(organisation_id: int) -> list[str]:
    try:
        with client() as connection:
            return verify_counters(organisation_id, connection)
    except redis.RedisError as error:
        return [_("Valkey's counters can't be compared: %(error)s") % {"error": error}]


def tell(organisation_id: int, finding: str) -> None:
    raise_alert(
        organisation_id=organisation_id, kind="books", subject="ledger", message=finding,
        unique_key=f"books:{organisation_id}:{now():%Y%m%d}:{finding}",
    )  # fmt: skip


def checks_of(organisation_id: int | None) -> QuerySet[Job]:
    """Newest first."""
    return Job.objects.filter(organisation_id=organisation_id, kind=KIND, lob=None).select_related(
        "created_by"
    )
