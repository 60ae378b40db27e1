"""What follows when a job has ended: its experiment goes on, or the gates of the version it made run."""

from __future__ import annotations

import logging

from modelhub.models import LabelBatch, ModelVersion
from modelhub.services.experiments import job_ended
from modelhub.services.gating import start_gates
from switchyard.core.errors import SwitchyardError
from switchyard.jobs.models import Job

log = logging.getLogger(__name__)


def follow(job: Job) -> None:
    """Never raises: the job ended as it ended, whatever follows."""
    try:
        if job.kind == "label_queue" and job.state != "succeeded":
            LabelBatch.objects.filter(job_id=job.pk, state="choosing").update(state="failed")
        if job_ended(job):
            return  # an experiment judges its winner alone
        if job.state == "succeeded" and job.result.get("candidate"):
            _judge(job)
    except SwitchyardError as error:
        log.warning("nothing follows job %s: %s", job.pk, error.message)
    except Exception:
        log.exception("what follows job %s failed", job.pk)


def _judge(job: Job) -> None:
    """A candidate's gates run by themselves, so that whoever looks at it finds its verdicts."""
    rows = ModelVersion.objects.select_related("deployment", "workload__lob", "workload__organisation")
    version = rows.filter(pk=job.result["candidate"], workload__organisation_id=job.organisation_id).first()
    if version is not None and version.stage == "candidate":
        start_gates(version=version, user=job.created_by)
