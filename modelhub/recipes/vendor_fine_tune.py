"""Fine-tuning at a vendor: the same job, driven through the vendor's own API.

ask policy again → send the rows → start, or find what was started → follow → book what was trained → a candidate

A runner that dies and starts again finds the file and the job by our job's id: nothing is sent or paid for twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F

from costs.metering import record_events
from costs.selectors import price_sheets
from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.recipes.vendor_client import Vendor
from modelhub.services import fine_tuning
from modelhub.services.candidates import keep_candidate
from modelhub.services.datasets import read_chats
from switchyard.core.clock import now_ns
from switchyard.core.errors import Conflict, InvalidRequest, NotFound, UpstreamFailure, UpstreamRejected
from switchyard.core.money import leg_nusd
from switchyard.jobs.models import Job
from switchyard.jobs.runner import Context, Stopped
from switchyard.tenancy.models import Workload

LOOK_S, MOST_FAILURES = 2.0, 30
MARK = "switchyard_job"
AHEAD = {"validating_files": 0.05, "queued": 0.1, "running": 0.2}
LABELS = (
    'Classify each numbered text. Answer with JSON only: {"labels": [one label per text, in order]}. '
    "Allowed labels: "
)  # as a chat deployment is asked when it classifies, so that what is learnt is what is asked


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained where. `price`: nano-dollars per million trained tokens."""

    dataset: Dataset
    validation: Dataset | None
    workload: Workload
    deployment: Deployment
    price: int
    sheet_version: str


def run(context: Context) -> dict[str, Any]:
    """params as modelhub.recipes.fine_tune. Result: the vendor's ids, what was trained, and the candidate's id."""
    plan = _plan(context)
    context.device(f"{plan.deployment.name} (vendor)")
    vendor = Vendor(plan.deployment)
    started = _start(context, plan, vendor)
    try:
        ended = _follow(context, vendor, str(started["id"]))
    except Stopped:
        _stop(context, plan, vendor, str(started["id"]))
        raise
    _book(context, plan, ended)
    _take_back(context, vendor, ended)
    if ended.get("status") != "succeeded" or not ended.get("fine_tuned_model"):
        error = ended.get("error") or {}
        raise UpstreamRejected(
            f"{plan.deployment.name} ended the job as {ended.get('status')}: {error.get('message') or 'no reason given'}"
        )
    context.mark("trained")
    candidate = _keep(context, plan, ended)
    used = ended.get("hyperparameters") or {}
    return {
        "candidate": candidate.pk, "version": candidate.version, "deployment": plan.deployment.name,
        "workload": plan.workload.name, "trained_tokens": int(ended.get("trained_tokens") or 0),
        "epochs": used.get("n_epochs"), "judged_on": "nothing yet",
        "vendor": {"job": ended["id"], "model": ended["fine_tuned_model"]},
    }  # fmt: skip


def _plan(context: Context) -> Plan:
    """Raises NotFound, PolicyDenied when the rows may not go there any more, Conflict without a training price."""
    params, organisation = context.params, context.job.organisation
    rows = Dataset.objects.select_related("workload__lob", "lob").filter(organisation=organisation)
    dataset = rows.filter(pk=params.get("dataset")).first()
    validation = rows.filter(pk=params.get("validation_dataset") or "").first()
    deployment = Deployment.objects.filter(organisation=organisation, name=params.get("deployment")).first()
    if dataset is None or dataset.workload is None or deployment is None:
        raise NotFound("The data set or the deployment of this job is gone.")
    for part in filter(None, (dataset, validation)):
        fine_tuning.refuse_to_leave(part, deployment, dataset.workload)
    sheet = price_sheets(organisation.pk).get(deployment.name)
    if sheet is None or sheet.training_nusd_per_munit is None:
        raise Conflict(f"{deployment.name} has no price for training in force.", code="no_price")
    return Plan(
        dataset, validation, dataset.workload, deployment, sheet.training_nusd_per_munit, sheet.version
    )


# --------------------------------------------------------------------------------------------------------- at the vendor
def _start(context: Context, plan: Plan, vendor: Vendor) -> dict[str, Any]:
    known = vendor.find_job((MARK, context.job.pk))
    if known is not None:
        if known.get("status") == "paused":
            vendor.act(str(known["id"]), "resume")
        context.log(f"the vendor's job {known['id']} goes on")
        return known
    params = context.params
    names = {
        "n_epochs": "epochs",
        "batch_size": "batch_size",
        "learning_rate_multiplier": "learning_rate_multiplier",
    }
    used = {theirs: params.get(ours, "auto") for theirs, ours in names.items()}
    body: dict[str, Any] = {
        "model": plan.deployment.model, "training_file": _send(context, vendor, plan.dataset, "rows"),
        "method": {"type": "supervised", "supervised": {"hyperparameters": used}}, "seed": params.get("seed", 0),
        "metadata": {MARK: context.job.pk},
    }  # fmt: skip
    if params.get("suffix"):
        body["suffix"] = params["suffix"]
    if plan.validation is not None:
        body["validation_file"] = _send(context, vendor, plan.validation, "held")
    made = vendor.create(body, context.job.pk)
    context.progress(0.05, f"the vendor took the job as {made['id']}")
    context.log(f"started at {vendor.name} as {made['id']}", vendor_job=made["id"])
    return made


def _send(context: Context, vendor: Vendor, dataset: Dataset, part: str) -> str:
    filename = f"{context.job.pk}-{part}.jsonl"
    known = vendor.find_file(filename)
    if known:
        return known
    context.progress(0.02, f"sending {dataset.rows} rows to {vendor.name}")
    return vendor.upload(filename, _as_asked(dataset))


def _as_asked(dataset: Dataset) -> Iterator[bytes]:
    """Rows as the vendor takes them; a label is learnt in the form in which it will be asked for."""
    labels = json.dumps(dataset.labels, ensure_ascii=False)
    for messages in read_chats(dataset):
        if dataset.format == "labelled":
            text, label = messages[0]["content"], messages[1]["content"]
            messages = [
                {"role": "system", "content": LABELS + labels}, {"role": "user", "content": f"1. {text}"},
                {"role": "assistant", "content": json.dumps({"labels": [label]}, ensure_ascii=False)},
            ]  # fmt: skip
        yield json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n"


def _follow(context: Context, vendor: Vendor, job_id: str) -> dict[str, Any]:
    """Until it has ended. A vendor that is away for a minute costs nothing; Stopped comes within seconds."""
    seen: set[str] = set()
    failures, share = 0, context.reached
    while True:
        try:
            told = vendor.job(job_id)
            events = vendor.events(job_id, seen)
            failures = 0
        except (UpstreamRejected, UpstreamFailure) as error:
            failures += 1
            if failures > MOST_FAILURES or isinstance(error, UpstreamRejected):
                raise
            told, events = {}, []
        for event in events:
            data = _metrics(event)
            context.log(f"{vendor.name}: {event.get('message', '')}"[:500], **data)
            if data.get("total_steps"):
                share = max(share, 0.2 + 0.75 * min(1.0, data.get("step", 0) / data["total_steps"]))
        status = str(told.get("status", ""))
        share = max(share, AHEAD.get(status, 0.0))
        if status in ("succeeded", "failed", "cancelled"):
            return told
        context.progress(share, f"{vendor.name}: {status or 'out of reach'}")
        _wait(context.check)


def _metrics(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    if not isinstance(data, dict):
        return {}
    names = {"train_loss": "loss", "valid_loss": "held_loss"}
    return {
        names.get(k, k): v for k, v in data.items() if isinstance(v, int | float) and not isinstance(v, bool)
    }


def _wait(check: Callable[[], None]) -> None:
    until = time.monotonic() + LOOK_S
    while time.monotonic() < until:
        check()
        time.sleep(0.2)


def _stop(context: Context, plan: Plan, vendor: Vendor, job_id: str) -> None:
    """The vendor stops as we do; one that knows no pause goes on, is paid by what it trains, and is found again."""
    row = Job.objects.filter(pk=context.job.pk, fence=context.fence).values("cancel_requested").first()
    if row is None:
        return  # somebody else's job now
    action = "cancel" if row["cancel_requested"] else "pause"
    try:
        ended = vendor.act(job_id, action)
        if action == "cancel":
            _book(context, plan, ended)
            _take_back(context, vendor, ended)
    except (UpstreamFailure, UpstreamRejected) as error:
        context.log(f"{vendor.name} did not {action}: {error.message}", level="warning")


def _take_back(context: Context, vendor: Vendor, ended: dict[str, Any]) -> None:
    """The rows have served: they don't stay with the vendor."""
    for name in ("training_file", "validation_file"):
        try:
            if ended.get(name):
                vendor.delete_file(str(ended[name]))
        except (UpstreamFailure, UpstreamRejected) as error:
            context.log(f"{vendor.name} kept {ended[name]}: {error.message}", level="warning")


# ------------------------------------------------------------------------------------------------------------------ books
def _book(context: Context, plan: Plan, ended: dict[str, Any]) -> None:
    """What was trained, at the sheet's price of training; once, whoever asks twice."""
    tokens = int(ended.get("trained_tokens") or 0)
    cost = leg_nusd(tokens, plan.price)
    if not cost:
        return
    job, at = context.job, now_ns()
    event_id = f"{job.pk}:training"
    attempt = {
        "attempt": 0, "deployment": plan.deployment.name, "side": "external", "model": plan.deployment.model, "at_ns": at,
        "duration_ms": 0.0, "tokens_in": tokens, "tokens_out": 0, "price_version": plan.sheet_version, "cost_nusd": cost,
        "legs": {"input": cost},
    }  # fmt: skip
    event = {
        "kind": "usage", "event_id": event_id, "request_id": event_id, "at_ns": at, "origin": "job",
        "organisation_id": job.organisation_id, "lob": job.lob.slug if job.lob else "", "purpose": "fine_tune",
        "workload": plan.workload.name, "attempts": [attempt],
    }  # fmt: skip
    with transaction.atomic():
        context.write()
        if record_events([event]).entries:
            Job.objects.filter(pk=job.pk).update(cost_nusd=F("cost_nusd") + cost)


def _keep(context: Context, plan: Plan, ended: dict[str, Any]) -> ModelVersion:
    """The candidate. Raises InvalidRequest for a name that is too long to keep."""
    model = str(ended["fine_tuned_model"])
    if len(model) > 160:
        raise InvalidRequest("The vendor's name of the model is longer than 160 characters.")
    return keep_candidate(
        context, deployment=plan.deployment, workload=plan.workload, version="ft-" + context.job.pk[-8:].lower(),
        upstream_model=model,
        lineage={
            "dataset": plan.dataset.pk, "sha256": plan.dataset.digest, "job": context.job.pk, "base": plan.deployment.model,
            "vendor_job": ended["id"],
        },
    )  # fmt: skip
