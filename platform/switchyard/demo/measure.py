"""How long an answer takes on each deployment, measured once on validation rows, one at a time.

What the other side would have cost needs it before that side ever answered (`usual_accelerator_ns`).
"""

from __future__ import annotations

import logging
import statistics
from typing import Any

from asgiref.sync import async_to_sync

from modelhub.models import Evaluation
from routing.contracts import DeploymentInfo, Snapshot
from routing.execution.base import AttemptFailed
from routing.execution.deadlines import Deadline
from routing.execution.openai_http import Upstream, decode
from switchyard.core.conf import conf
from switchyard.demo import company
from switchyard.demo.questions import ENDPOINTS, Question, load
from switchyard.gateway.snapshot import build_world
from switchyard.tenancy.services import bump_config

log = logging.getLogger(__name__)
SAMPLES = 9
DEADLINE_S = 60.0


def measure_evaluations() -> int:
    """Fill `p50_ms` (accelerator milliseconds of one answer) where it is missing; gives how many were measured."""
    waiting = list(
        Evaluation.objects.filter(p50_ms__isnull=True, job_id="").select_related("workload", "deployment")
    )
    if not waiting:
        return 0
    worlds = build_world().organisations
    plans = {w.name: w for lob in company.LOBS for w in lob.workloads}
    questions = {
        name: _spread(load(plans[name])) for name in {e.workload.name for e in waiting} if name in plans
    }
    found = async_to_sync(_measure_all)(waiting, worlds, questions)
    for evaluation, p50_ms in found:
        evaluation.p50_ms = p50_ms
        evaluation.save(update_fields=["p50_ms"])
    if found:
        bump_config()
    return len(found)


def _spread(rows: list[Question]) -> list[Question]:
    """A few rows from the whole length of the list."""
    step = max(1, len(rows) // SAMPLES)
    return rows[::step][:SAMPLES]


async def _measure_all(
    waiting: list[Evaluation], worlds: Any, questions: dict[str, list[Question]]
) -> list[tuple[Evaluation, float]]:
    upstream = Upstream(connect_s=conf("CONNECT_TIMEOUT_S"), first_byte_s=DEADLINE_S, idle_s=DEADLINE_S)
    await upstream.open()
    found = []
    try:
        for evaluation in waiting:
            world: Snapshot | None = worlds.get(evaluation.workload.organisation_id)
            target = world.deployments.get(evaluation.deployment.name) if world else None
            rows = questions.get(evaluation.workload.name, [])
            if target is None or not rows:
                continue
            try:
                times = [
                    await _one(upstream, target, evaluation.workload.task, evaluation.workload.name, q)
                    for q in rows
                ]
            except AttemptFailed as error:
                log.warning("%s could not be measured: %s", target.name, error)
                continue
            found.append((evaluation, statistics.median(times) / 1e6))
    finally:
        await upstream.close()
    return found


async def _one(
    upstream: Upstream, target: DeploymentInfo, task: str, workload: str, question: Question
) -> int:
    """Accelerator nanoseconds of one answer, by the server's own count."""
    body = question.body | {"model": target.upstream_models.get(workload, target.model)}
    reply = await upstream.whole(
        target, f"/{ENDPOINTS[task]}", body, request_id="measure", deadline=Deadline(DEADLINE_S)
    )
    return int(decode(target, reply)["usage"]["accelerator_ns"])
