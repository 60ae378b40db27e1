"""How long an answer takes on each deployment, measured once on validation rows, one at a time.

What the other side would have cost needs it before that side ever answered (`usual_accelerator_ns`).
"""

from __future__ import annotations

import logging
import statistics
import time
from dataclasses import replace
from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction

from costs.metering import record_events
from costs.pricing import charge_of, price_version
from modelhub.models import Evaluation
from routing.contracts import DeploymentInfo, Snapshot
from routing.execution.base import AttemptFailed
from routing.execution.deadlines import Deadline
from routing.execution.openai_http import Upstream, decode
from routing.execution.usage import read_usage
from switchyard.core.clock import now_ns
from switchyard.core.conf import conf
from switchyard.core.ids import new_id
from switchyard.demo import company
from switchyard.demo.questions import ENDPOINTS, Question, load
from switchyard.gateway.snapshot import build_world
from switchyard.tenancy.models import Workload
from switchyard.tenancy.services import bump_config

log = logging.getLogger(__name__)
SAMPLES = 9
DEADLINE_S = 60.0


def measure_evaluations() -> int:
    """Fill `p50_ms` (accelerator milliseconds of one answer) where it is missing; gives how many were measured."""
    waiting = list(
        Evaluation.objects.filter(p50_ms__isnull=True, job_id="").select_related(
            "workload__lob", "deployment"
        )
    )
    if not waiting:
        return 0
    worlds = build_world().organisations
    plans = {w.name: w for lob in company.LOBS for w in lob.workloads}
    questions = {
        name: _spread(load(plans[name])) for name in {e.workload.name for e in waiting} if name in plans
    }
    found = async_to_sync(_measure_all)(waiting, worlds, questions)
    with transaction.atomic():
        record_events([event for _, _, events in found for event in events])
        measured = [(evaluation, p50_ms) for evaluation, p50_ms, _ in found if p50_ms is not None]
        for evaluation, p50_ms in measured:
            evaluation.p50_ms = p50_ms
            evaluation.save(update_fields=["p50_ms"])
    if measured:
        bump_config()
    return len(measured)


def _spread(rows: list[Question]) -> list[Question]:
    """A few rows from the whole length of the list."""
    step = max(1, len(rows) // SAMPLES)
    return rows[::step][:SAMPLES]


async def _measure_all(
    waiting: list[Evaluation], worlds: Any, questions: dict[str, list[Question]]
) -> list[tuple[Evaluation, float | None, list[dict[str, Any]]]]:
    """Each with its median and the calls it took, as usage events: measuring costs money too."""
    upstream = Upstream(connect_s=conf("CONNECT_TIMEOUT_S"), first_byte_s=DEADLINE_S, idle_s=DEADLINE_S)
    await upstream.open()
    found: list[tuple[Evaluation, float | None, list[dict[str, Any]]]] = []
    try:
        for evaluation in waiting:
            world: Snapshot | None = worlds.get(evaluation.workload.organisation_id)
            target = world.deployments.get(evaluation.deployment.name) if world else None
            rows = questions.get(evaluation.workload.name, [])
            if target is None or not rows:
                continue
            events: list[dict[str, Any]] = []
            p50_ms = None
            try:
                for question in rows:
                    events.append(await _one(upstream, target, evaluation.workload, question))
                times = [event["attempts"][0]["accelerator_ns"] for event in events]
                p50_ms = statistics.median(times) / 1e6
            except AttemptFailed as error:
                log.warning("%s could not be measured: %s", target.name, error)
            found.append((evaluation, p50_ms, events))  # what answered before it failed is paid for too
    finally:
        await upstream.close()
    return found


async def _one(
    upstream: Upstream, target: DeploymentInfo, workload: Workload, question: Question
) -> dict[str, Any]:
    """One answer as a usage event; its accelerator time is the server's own count."""
    request_id, at_ns, began = new_id("req"), now_ns(), time.perf_counter()
    model = target.upstream_models.get(workload.name, target.model)
    reply = await upstream.whole(
        target, f"/{ENDPOINTS[workload.task]}", question.body | {"model": model}, request_id=request_id,
        deadline=Deadline(DEADLINE_S),
    )  # fmt: skip
    told = decode(target, reply)["usage"]
    usage = replace(read_usage(told), duration_ns=int((time.perf_counter() - began) * 1e9))
    charge = charge_of(usage, prices=target.prices, rate=target.rate)
    attempt = {
        "attempt": 0, "deployment": target.name, "side": target.side, "model": model, "at_ns": at_ns,
        "node": target.rate.node if target.rate else "", "duration_ms": usage.duration_ns / 1e6,
        "tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out, "accelerator_ns": usage.accelerator_ns,
        "price_version": price_version(target.prices, target.rate), "cost_nusd": charge.cost_nusd, "legs": charge.legs,
    }  # fmt: skip
    return {
        "kind": "usage", "event_id": request_id, "request_id": request_id, "at_ns": at_ns, "origin": "job",
        "purpose": "evaluation", "organisation_id": workload.organisation_id, "lob": workload.lob.slug,
        "workload": workload.name, "attempts": [attempt],
    }  # fmt: skip
