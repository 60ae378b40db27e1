"""Whose turn it is: a free worker goes to the line of business that got least, not to the longest queue.

A message names a job but is only a free hand. The one that has the fewest jobs at work comes first, then the one that
computed least in the last day, then the one that waits longest; within a line of business the oldest job is next.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db.models import Count, Min, Q, QuerySet, Sum

from switchyard.core.clock import now
from switchyard.jobs.models import Job

REMEMBERED = timedelta(days=1)
Owner = tuple[int, int | None]  # organisation, line of business


def next_job(named: Job | None, *, queue: str, kinds: Collection[str]) -> Job | None:
    """The job that a free worker of the queue should take: the one its message names, unless it's another's turn.

    None when nothing waits.
    """
    waiting = Job.objects.filter(queue=queue, kind__in=kinds, state="queued")
    owners = {_owner(row): row["since"] for row in _by_owner(waiting, since=Min("created_at"))}
    if not owners:
        return None
    busy = Job.objects.filter(queue=queue, state="running")
    lately = Job.objects.filter(Q(state="running") | Q(finished_at__gte=now() - REMEMBERED), queue=queue)
    at_work = {_owner(row): row["n"] for row in _by_owner(busy, n=Count("pk"))}
    used = {_owner(row): row["ns"] or 0 for row in _by_owner(lately, ns=Sum("accelerator_ns"))}
    turn = min(owners, key=lambda owner: (at_work.get(owner, 0), used.get(owner, 0), owners[owner]))
    if named is not None and named.state == "queued" and (named.organisation_id, named.lob_id) == turn:
        return named
    return waiting.filter(organisation_id=turn[0], lob_id=turn[1]).order_by("created_at", "pk").first()


def _by_owner(rows: QuerySet[Job], **figures: Any) -> Any:
    return rows.order_by().values("organisation_id", "lob_id").annotate(**figures)


def _owner(row: dict[str, Any]) -> Owner:
    return row["organisation_id"], row["lob_id"]
