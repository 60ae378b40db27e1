"""What a job costs its line of business: estimated before it starts, booked when it ends."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Protocol

from django.db import transaction
from django.db.models import F

from costs.contracts import NodeRate, Usage
from costs.metering import record_events, record_job_cost
from costs.pricing import external_charge, private_cost
from costs.selectors import node_rates, price_sheets
from modelhub.models import Deployment
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.jobs.models import Job, JobEvent

# One row for each kind: nanoseconds a row of data, measured on two CPU cores with the shipped models; only until jobs of the
# kind have run here. Kinds that compute nothing for a line of business have none.
USUAL_NS_PER_ROW = {
    "fine_tune": 25_000_000,
    "evaluation": 10_000_000,
    "bias_audit": 30_000_000,
    "gates": 10_000_000,
    "experiment": 10_000_000,
    "tabular": 5_000_000,
    "label_queue": 10_000_000,
    "compression": 40_000_000,
    "batch": 10_000_000,
}
# Kinds of jobs whose cost stands under another purpose of the books.
PURPOSE_OF = {
    "gates": "evaluation", "experiment": "evaluation", "label_queue": "evaluation", "tabular": "fine_tune",
    "compression": "compress", "batch": "answer",
}  # fmt: skip
REMEMBERED_JOBS = 5


def purpose_of(kind: str) -> str:
    """What the books call the work of a kind of job."""
    return PURPOSE_OF.get(kind, kind)


class Call(Protocol):
    """A vendor's call as it was measured."""

    @property
    def request_id(self) -> str: ...
    @property
    def at_ns(self) -> int: ...
    @property
    def duration_ms(self) -> float: ...
    @property
    def tokens_in(self) -> int: ...
    @property
    def tokens_out(self) -> int: ...


def rate_for(organisation_id: int, deployment_names: list[str]) -> NodeRate | None:
    """The rate of the node that the first of these deployments runs on, else of any node of the organisation."""
    rates = node_rates(organisation_id)
    rows = Deployment.objects.filter(
        organisation_id=organisation_id, name__in=deployment_names, node__isnull=False
    )
    nodes = dict(rows.values_list("name", "node__name"))
    for name in deployment_names:
        if nodes.get(name) in rates:
            return rates[nodes[name]]
    return rates[min(rates)] if rates else None


def estimate(*, kind: str, organisation_id: int, deployments: list[str], workload: str, rows: int) -> int:
    """Nano-dollars that a job over so many rows is expected to cost, from earlier ones of its kind where there are any.

    Raises Conflict `no_node_rate` when no node has a price: what can't be charged isn't started.
    """
    rate = rate_for(organisation_id, deployments)
    if rate is None:
        raise Conflict(
            "No node has a price, so the job's cost could not be charged; give a node its cost per hour.",
            code="no_node_rate",
        )
    return private_cost(rows * _usual_ns_per_row(kind, organisation_id, workload), rate)


def _usual_ns_per_row(kind: str, organisation_id: int, workload: str) -> int:
    earlier = Job.objects.filter(
        organisation_id=organisation_id, kind=kind, state="succeeded", accelerator_ns__gt=0
    )
    same = [job for job in earlier.order_by("-finished_at")[:50] if job.params.get("workload") == workload]
    paces = [job.accelerator_ns // job.params["rows"] for job in same if job.params.get("rows")]
    return int(median(paces[:REMEMBERED_JOBS])) if paces else USUAL_NS_PER_ROW[kind]


def settle(job: Job) -> None:
    """Book the measured compute that isn't in the ledger yet, once; call it in a transaction that holds the row.

    Each booking has the fence of its time as its part, and the row remembers how much is booked, so that a second call,
    or a runner that lost the job, adds nothing.
    """
    unpaid_ns = job.accelerator_ns - job.charged_ns
    if unpaid_ns <= 0 or job.lob is None:
        return
    rate = _rate_of(job)
    if rate is None:
        JobEvent.objects.create(
            job=job, level="error", message="no node has a price: the cost waits to be booked"
        )
        return
    cost = record_job_cost(
        job_id=job.pk, kind=purpose_of(job.kind), organisation_id=job.organisation_id, lob=job.lob.slug, rate=rate,
        accelerator_ns=unpaid_ns, at=now(), part=job.fence, workload=str(job.params.get("workload", "")),
        memo=f"{job.kind} {job.pk}",
    )  # fmt: skip
    Job.objects.filter(pk=job.pk).update(
        charged_ns=job.accelerator_ns, cost_nusd=F("cost_nusd") + cost
    )  # the fence is held by the caller


def _rate_of(job: Job) -> NodeRate | None:
    """Of the machine it ran on; where its worker names none that has a price, of one that its deployments run on."""
    own = node_rates(job.organisation_id).get(job.node) if job.node else None
    if job.node and own is None:
        said = f"{job.node} has no price: the job is booked at another machine's rate"
        JobEvent.objects.create(job=job, level="warning", message=said)
    return own or rate_for(job.organisation_id, deployments_of(job))


def deployments_of(job: Job) -> list[str]:
    """Names of the deployments a job works with."""
    return [str(job.params[role]) for role in ("deployment", "teacher", "student") if job.params.get(role)]


def book_vendor_calls(job: Job, deployment: Deployment, workload: str, calls: Iterable[Call]) -> int:
    """Book what a vendor will bill for a job's calls, by its price sheet and by request id; gives nano-dollars.

    Raises Conflict `no_price` when the deployment has no sheet in force.
    """
    sheet = price_sheets(job.organisation_id).get(deployment.name)
    if sheet is None:
        raise Conflict(f"{deployment.name} has no price in force; enter its price sheet.", code="no_price")
    events, total = [], 0
    for call in calls:
        took_ns = int(call.duration_ms * 1e6)
        usage = Usage(tokens_in=call.tokens_in, tokens_out=call.tokens_out, duration_ns=took_ns)
        charge = external_charge(usage, sheet)
        total += charge.cost_nusd
        attempt = {
            "attempt": 0, "deployment": deployment.name, "side": "external", "model": deployment.model,
            "at_ns": call.at_ns, "duration_ms": call.duration_ms, "tokens_in": call.tokens_in,
            "tokens_out": call.tokens_out, "price_version": sheet.version, "cost_nusd": charge.cost_nusd,
            "legs": dict(charge.legs),
        }  # fmt: skip
        events.append({
            "kind": "usage", "event_id": call.request_id, "request_id": call.request_id, "at_ns": call.at_ns,
            "origin": "job", "organisation_id": job.organisation_id, "lob": job.lob.slug if job.lob else "",
            "purpose": purpose_of(job.kind), "workload": workload, "attempts": [attempt],
        })  # fmt: skip
    with transaction.atomic():
        record_events(events)
        Job.objects.filter(pk=job.pk).update(cost_nusd=F("cost_nusd") + total)
    return total
