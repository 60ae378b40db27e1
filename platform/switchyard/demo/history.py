"""The history's job row: where the replay stands, so that it resumes where it stopped and never runs twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Min, Q, Sum

from costs import metering
from costs.models import Attempt
from costs.nodes.intervals import close_intervals
from routing.services import labels, records
from switchyard.core.clock import from_ns, now
from switchyard.core.ids import new_id
from switchyard.demo import company, plans
from switchyard.demo.traffic import DAYS, REQUESTS, WINDOW_S
from switchyard.gateway.consumer import judge
from switchyard.jobs.models import Job, JobEvent
from switchyard.tenancy.models import Organisation

KIND = "history"
LEASE = timedelta(minutes=10)
Event = dict[str, Any]


def open_job(organisation: Organisation) -> Job:
    """The one replay of this installation; its end is fixed when it is first opened."""
    job = Job.objects.filter(organisation=organisation, kind=KIND).order_by("created_at").first()
    if job is not None:
        return job
    end_s = int(now().timestamp()) // WINDOW_S * WINDOW_S
    return Job.objects.create(
        id=new_id("job"), organisation=organisation, kind=KIND, queue="supervisor", state="queued",
        unique_key=f"{KIND}:{organisation.pk}", params={"end_s": end_s, "days": DAYS, "requests": dict(REQUESTS)},
        message="14 days of traffic, replayed through the real engine",
    )  # fmt: skip


def begin(job: Job) -> int:
    """Mark it running; where to go on."""
    job.state, job.attempt, job.started_at = "running", job.attempt + 1, job.started_at or now()
    job.error, job.lease_until = "", now() + LEASE
    job.save()
    return int(job.result.get("next", 0))


def keep(job: Job, following: int, total: int, events: Sequence[Event]) -> None:
    """A chunk's events, as the ledger's own consumer writes them, and how far we are: one transaction."""
    usage = [event for event in events if event["kind"] == "usage"]
    with transaction.atomic():
        metering.record_events(usage)
        records.record_events(events)
        labels.charge_feedback(events)
        job.result = job.result | {"next": following, "answers": job.result.get("answers", 0) + len(usage)}
        job.progress = following / total if total else 1.0
        job.message, job.lease_until = f"{following:,} of {total:,} requests", now() + LEASE
        job.save(update_fields=["result", "progress", "message", "lease_until"])
    hours = {from_ns(event["at_ns"]).replace(minute=0, second=0, microsecond=0) for event in usage}
    if hours:
        judge(job.organisation_id, sorted(hours))


def asked_to_stop(job: Job) -> str:
    """`cancelled` or `paused` when somebody asked for it on the jobs page, else empty."""
    job.refresh_from_db(fields=["cancel_requested", "pause_requested"])
    return "cancelled" if job.cancel_requested else "paused" if job.pause_requested else ""


def halt(job: Job, state: str) -> None:
    job.state, job.lease_until = state, None
    job.finished_at = now() if state == "cancelled" else None
    job.save()


def finish(job: Job, seconds: float) -> None:
    """Every hour of the span once more (a stop between a chunk and its roll-up leaves none behind)."""
    end = datetime.fromtimestamp(job.params["end_s"], UTC)
    first = (end - timedelta(days=job.params["days"])).replace(minute=0, second=0, microsecond=0)
    hours = [first + timedelta(hours=i) for i in range(int((end - first).total_seconds() // 3600) + 1)]
    judge(job.organisation_id, hours)
    close_intervals(job.organisation_id, first, end)
    plans.report_events(job.organisation_id, first, end)
    job.state, job.progress, job.finished_at, job.lease_until = "succeeded", 1.0, now(), None
    job.result = job.result | {"seconds": round(job.result.get("seconds", 0) + seconds, 1)}
    job.message = f"{job.result.get('answers', 0):,} answers"
    job.save()
    JobEvent.objects.create(job=job, message=job.message, data=summary(job.organisation_id))


def fail(job: Job, error: str) -> None:
    """It stands where its last whole chunk ended; the next start goes on from there."""
    job.state, job.error, job.finished_at, job.lease_until = "failed", error[:1000], now(), None
    job.save()


def summary(organisation_id: int) -> dict[str, Any]:
    """What is there of the demonstration: answers, their cost and the first of them."""
    rows = Attempt.objects.filter(organisation_id=organisation_id, origin="demonstration")
    totals = rows.aggregate(
        answers=Sum("answers"), cost_nusd=Sum("cost_nusd"), first=Min("at"),
        private=Count("pk", filter=Q(side="private")), external=Count("pk", filter=Q(side="external")),
    )  # fmt: skip
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in totals.items()
    }


def traffic_of() -> dict[str, str]:
    """Workload → the client of the trace that its line of business is given."""
    return {workload.name: lob.traffic for lob in company.LOBS for workload in lob.workloads}
