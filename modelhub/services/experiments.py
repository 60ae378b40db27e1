"""Experiments: start the arms' jobs, measure all of them on the same golden rows, name the winner.

workload, rows, arms → one job an arm that trains → one job that measures → figures side by side
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from modelhub.models import Dataset, Deployment, Experiment, ExperimentArm, ModelVersion
from modelhub.services import job_costs, jobs
from modelhub.services.access import check_usable
from modelhub.services.compressions import start_compression
from modelhub.services.gating import start_gates
from modelhub.services.golden import needed_golden
from modelhub.services.records import takes_records
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest, SwitchyardError
from switchyard.core.ids import new_id
from switchyard.jobs.models import FINAL, Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

MOST_ARMS = 8
Starter = Callable[[Dataset, Deployment, User | None], Job]


@dataclass(frozen=True, slots=True)
class Option:
    """One way to answer a workload that can be tried here."""

    method: str
    deployment: str
    side: str
    trains: bool

    @property
    def key(self) -> str:
        return f"{self.method}:{self.deployment}"


def _tuned(method: str) -> Starter:
    return lambda dataset, deployment, user: jobs.start_fine_tune(
        dataset=dataset, deployment=deployment, user=user, method=method
    )


def _rows(dataset: Dataset, deployment: Deployment, user: User | None) -> Job:
    workload = dataset.workload
    if workload is None or not takes_records(workload):
        raise InvalidRequest(_("Retraining takes records of a prediction workload."))
    expected = job_costs.estimate(
        kind="tabular", organisation_id=workload.organisation_id, deployments=[deployment.name], workload=workload.name,
        rows=dataset.rows,
    )  # fmt: skip
    params = {
        "workload": workload.name,
        "deployment": deployment.name,
        "dataset": dataset.pk,
        "rows": dataset.rows,
        "seed": 0,
    }
    return submit_once(
        kind="tabular", organisation=workload.organisation, lob=workload.lob, queue="training", user=user, params=params,
        unique_key=f"tabular:{workload.pk}:{deployment.pk}:{dataset.pk}", estimated_nusd=expected,
    )  # fmt: skip


def _compressed(dataset: Dataset, deployment: Deployment, user: User | None) -> Job:
    if dataset.workload is None:
        raise InvalidRequest(_("The data set is another workload's."), param="dataset")
    return start_compression(workload=dataset.workload, deployment=deployment, user=user, dataset=dataset)


STARTERS: dict[str, Starter] = {
    "head": _tuned("head"), "lora": _tuned("lora"), "expert": _tuned("expert"), "vendor": _tuned("lora"), "rows": _rows,
    "compress": _compressed,
}  # fmt: skip


def options_for(workload: Workload) -> list[Option]:
    """Every deployment that does the work as it stands, and every way to train one: both sides, private first."""
    rows = Deployment.objects.filter(organisation_id=workload.organisation_id, enabled=True).prefetch_related(
        "lobs"
    )
    found: list[Option] = []
    for d in rows.order_by("-side", "name"):
        lobs = {lob.pk for lob in d.lobs.all()}
        if workload.task not in d.tasks or (lobs and workload.lob_id not in lobs):
            continue
        found.append(Option("as_is", d.name, d.side, False))
        if workload.task == "classification" and d.side == "private" and d.heads:
            found += [
                Option(method, d.name, d.side, True) for method in ("head", "lora", "expert", "compress")
            ]
        elif takes_records(workload) and d.side == "private":
            found.append(Option("rows", d.name, d.side, True))
        elif d.side == "external" and workload.task in ("classification", "chat") and _trains(d):
            found.append(Option("vendor", d.name, d.side, True))
    return found


def _trains(deployment: Deployment) -> bool:
    """Whether the vendor has a price for training in force."""
    sheet = job_costs.price_sheets(deployment.organisation_id).get(deployment.name)
    return getattr(sheet, "training_nusd_per_munit", None) is not None


def start_experiment(
    *, workload: Workload, user: User | None, arms: list[str], dataset: Dataset | None = None, name: str = ""
) -> Experiment:
    """Start every arm ("method:deployment") at once, all or none; what needs no training waits for what does.

    Raises InvalidRequest for arms that can't be tried, Conflict or BudgetExhausted when one can't be paid for.
    """
    known = {option.key: option for option in options_for(workload)}
    wanted = list(dict.fromkeys(arms))
    unknown = [arm for arm in wanted if arm not in known]
    if unknown:
        raise InvalidRequest(
            _("%(arm)s can't be tried for %(name)s; known are %(known)s.")
            % {"arm": unknown[0], "name": workload.name, "known": ", ".join(known)},
            param="arms",
        )
    if not 2 <= len(wanted) <= MOST_ARMS:
        raise InvalidRequest(_("Choose from 2 to %(most)d ways.") % {"most": MOST_ARMS}, param="arms")
    if any(known[arm].trains for arm in wanted) and dataset is None:
        raise InvalidRequest(
            _("A way that trains needs rows: upload some or name a data set."), param="dataset"
        )
    if dataset is not None and dataset.workload_id != workload.pk:
        raise InvalidRequest(_("The data set is another workload's."), param="dataset")
    with transaction.atomic():
        experiment = Experiment.objects.create(
            id=new_id("exp"), workload=workload, dataset=dataset, golden=needed_golden(workload),
            name=name[:200] or f"{workload.name} {now():%Y-%m-%d %H:%M}", created_by=getattr(user, "username", ""),
        )  # fmt: skip
        for place, key in enumerate(wanted):
            _start_arm(experiment, place, known[key], user)
        record(
            actor=user, action="experiment.started", target=f"experiment:{experiment.pk}", lob=workload.lob.slug,
            organisation_id=workload.organisation_id, detail={"workload": workload.name, "arms": wanted},
        )  # fmt: skip
        advance(experiment)
    return experiment


def _start_arm(experiment: Experiment, place: int, option: Option, user: User | None) -> ExperimentArm:
    deployment = Deployment.objects.get(
        organisation_id=experiment.workload.organisation_id, name=option.deployment
    )
    check_usable(deployment, experiment.workload)
    arm = ExperimentArm(experiment=experiment, place=place, method=option.method, deployment=deployment)
    if option.trains and experiment.dataset is not None:
        arm.job_id = STARTERS[option.method](experiment.dataset, deployment, user).pk
    else:
        live = ModelVersion.objects.filter(workload=experiment.workload, deployment=deployment, stage="live")
        arm.version = live.first()
    arm.save()
    return arm


@transaction.atomic
def advance(experiment: Experiment) -> Experiment:
    """Take what ended in; when nothing trains any more, measure. Harmless at any time."""
    experiment = (
        Experiment.objects.select_for_update(of=("self",))
        .select_related("workload__lob")
        .get(pk=experiment.pk)
    )
    if experiment.state == "training":
        _take_versions(experiment)
    if experiment.state == "measuring" and experiment.job_id:
        _take_measures(experiment)
    return experiment


def _take_versions(experiment: Experiment) -> None:
    arms = list(experiment.arms.all())
    ended = {job.pk: job for job in Job.objects.filter(pk__in=[arm.job_id for arm in arms if arm.job_id])}
    waiting = False
    for arm in arms:
        job = ended.get(arm.job_id)
        if job is None or arm.version_id or arm.error:
            continue
        if job.state not in FINAL:
            waiting = True
            continue
        candidate = ModelVersion.objects.filter(pk=job.result.get("candidate") or 0).first()
        if job.state == "succeeded" and candidate is not None:
            arm.version, arm.deployment = (
                candidate,
                candidate.deployment,
            )  # a student lives with other students
        else:
            arm.error = (job.error or f"Its job was {job.state}.")[:400]
        arm.save(update_fields=["version", "deployment", "error"])
    if waiting:
        return
    if sum(not arm.error for arm in arms) < 2:
        end_experiment(experiment, "failed", _("Fewer than two ways came to an end."))
        return
    try:
        job = _measure(experiment, [arm for arm in arms if not arm.error])
    except (
        SwitchyardError
    ) as error:  # no price, golden rows that are gone: said here, where somebody can try again
        end_experiment(experiment, "failed", error.message)
        return
    experiment.state, experiment.job_id = "measuring", job.pk
    experiment.save(update_fields=["state", "job_id"])


def _measure(experiment: Experiment, arms: list[ExperimentArm]) -> Job:
    workload, golden = experiment.workload, experiment.golden or needed_golden(experiment.workload)
    names = [arm.deployment.name for arm in arms]
    expected = job_costs.estimate(
        kind="experiment", organisation_id=workload.organisation_id, deployments=names, workload=workload.name,
        rows=golden.rows * len(arms),
    )  # fmt: skip
    params = {
        "experiment": experiment.pk, "workload": workload.name, "deployment": names[0], "golden": golden.pk,
        "rows": golden.rows * len(arms),
    }  # fmt: skip
    return submit_once(
        kind="experiment", organisation=workload.organisation, lob=workload.lob, params=params,
        unique_key=f"experiment:{experiment.pk}", estimated_nusd=expected,
    )  # fmt: skip


def _take_measures(experiment: Experiment) -> None:
    job = Job.objects.filter(pk=experiment.job_id).first()
    if job is None or job.state not in FINAL:
        return
    if job.state != "succeeded":
        end_experiment(
            experiment, "cancelled" if job.state == "cancelled" else "failed", job.error or job.state
        )
        return
    experiment.result = job.result
    end_experiment(experiment, "done", "")


def end_experiment(experiment: Experiment, state: str, error: str) -> None:
    """Its last write, whatever came of it."""
    experiment.state, experiment.error, experiment.finished_at = state, error[:400], now()
    experiment.save(update_fields=["state", "error", "finished_at", "result"])


def winner_of(experiment: Experiment) -> ExperimentArm | None:
    """The cheapest of the arms that are not surely worse than the best."""
    place = experiment.result.get("winner")
    return (
        None
        if place is None
        else experiment.arms.select_related("version", "deployment").filter(place=place).first()
    )


def judge_winner(experiment: Experiment, user: User | None) -> None:
    """Run the gates of the winner where it is a version that isn't live yet."""
    winner = winner_of(experiment)
    if winner is not None and winner.version is not None and winner.version.stage == "candidate":
        try:
            start_gates(version=winner.version, user=user)
        except SwitchyardError:
            return  # the page has the button


def job_ended(job: Job) -> bool:
    """Take an ended job in where an experiment owns it; gives whether one does."""
    arm = ExperimentArm.objects.select_related("experiment").filter(job_id=job.pk).first()
    experiment = (
        arm.experiment
        if arm
        else Experiment.objects.filter(job_id=job.pk).first()
        if job.kind == "experiment"
        else None
    )
    if experiment is None:
        return False
    experiment = advance(experiment)
    if experiment.state == "done":
        judge_winner(experiment, job.created_by)
    return True


def advance_all() -> int:
    """For the schedule, should a worker have died between a job's end and what follows."""
    rows: Any = Experiment.objects.filter(state__in=("training", "measuring"))
    return sum(advance(row) is not None for row in rows)
