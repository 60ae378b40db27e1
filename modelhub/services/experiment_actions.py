"""What a person does to an experiment that is under way or has ended: stop it, or try again what failed."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from modelhub.models import Experiment
from modelhub.services.experiments import advance, end_experiment
from switchyard.audit.services import record
from switchyard.core.errors import Conflict
from switchyard.jobs import services as jobs
from switchyard.jobs.models import FINAL, Job
from switchyard.tenancy.models import User

LIVE, AGAIN = ("training", "measuring"), ("failed", "cancelled")


def cancel_experiment(*, experiment: Experiment, user: User | None) -> Experiment:
    """Stop what still runs; what was trained stays. Raises Conflict when it has ended."""
    if experiment.state not in LIVE:
        raise Conflict(_("This experiment has ended."), code="illegal_state")
    ids = [arm.job_id for arm in experiment.arms.all()] + [experiment.job_id]
    for job in Job.objects.filter(pk__in=[pk for pk in ids if pk]).exclude(state__in=FINAL):
        jobs.cancel(job=job, user=user)
    with transaction.atomic():
        end_experiment(experiment, "cancelled", "")
        _note(experiment, user, "cancelled")
    return experiment


@transaction.atomic
def retry_experiment(*, experiment: Experiment, user: User | None) -> Experiment:
    """Go on where it failed or was cancelled: jobs that didn't succeed run again from their checkpoints, what was trained is
    kept, and all ways are measured. Raises Conflict for one that is under way or done, or when such a job runs elsewhere.
    """
    experiment = (
        Experiment.objects.select_for_update(of=("self",))
        .select_related("workload__lob")
        .get(pk=experiment.pk)
    )
    if experiment.state not in AGAIN:
        raise Conflict(
            _("Only an experiment that failed or was cancelled can be tried again."), code="illegal_state"
        )
    for arm in experiment.arms.exclude(job_id="").filter(version=None):
        _again(Job.objects.filter(pk=arm.job_id).first(), user)
        arm.error = ""
        arm.save(update_fields=["error"])
    experiment.state, experiment.error, experiment.finished_at, experiment.job_id = "training", "", None, ""
    experiment.save(update_fields=["state", "error", "finished_at", "job_id"])
    _note(experiment, user, "retried")
    return advance(experiment)


def _again(job: Job | None, user: User | None) -> None:
    if job is not None and job.state in FINAL and job.state != "succeeded":
        jobs.retry(job=job, user=user)


def _note(experiment: Experiment, user: User | None, action: str) -> None:
    lob = experiment.workload.lob
    record(
        actor=user, action=f"experiment.{action}", target=f"experiment:{experiment.pk}", lob=lob.slug,
        organisation_id=lob.organisation_id, detail={},
    )  # fmt: skip
