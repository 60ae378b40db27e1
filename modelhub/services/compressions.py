"""Starting a compression: one call for the page, REST, the command and experiments.

teacher and workload → may it be compressed → what it will cost → the money held → a queued job
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction

from modelhub import artifacts
from modelhub.ml import datasets as text_sets
from modelhub.models import BiasAudit, Dataset, Deployment, ModelVersion
from modelhub.services import job_costs, reservations
from modelhub.services.access import check_usable
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

TEXT_TASK = "classification"
MOST_EPOCHS, LEAST_ROWS = 50, 20
WIDTHS = (32, 64, 96, 128)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a compression runs and what it may cost; `auto` leaves the choice to it.

    `width`: of the student's encoder, by measured speed when `auto`. `paired`: answers alike when groups are swapped;
    `balanced`: groups drawn alike often; both, when `auto`, if the workload's last audit failed.
    """

    epochs: int = 8
    seed: int = 1
    width: int | str = "auto"
    paired: bool | str = "auto"
    balanced: bool | str = "auto"
    least_share_of_teacher: float = 0.96
    least_speedup: float = 12.0
    not_below_tfidf: bool = True
    most_int8_loss_points: float = 1.0
    least_int8_agreement: float = 0.985

    def check(self) -> None:
        """Raises InvalidRequest naming the parameter."""
        _between("epochs", self.epochs, 1, MOST_EPOCHS, whole=True)
        _between("seed", self.seed, 0, 2**31 - 1, whole=True)
        if self.width != "auto" and self.width not in WIDTHS:
            known = ", ".join(map(str, WIDTHS))
            raise InvalidRequest(f"`width` is `auto` or one of {known}; got {self.width!r}.", param="width")
        for name in ("paired", "balanced"):
            if getattr(self, name) not in (True, False, "auto"):
                raise InvalidRequest(f"`{name}` is true, false or `auto`.", param=name)
        _between("least_share_of_teacher", self.least_share_of_teacher, 0.5, 1.0)
        _between("least_speedup", self.least_speedup, 1.0, 100.0)
        _between("most_int8_loss_points", self.most_int8_loss_points, 0.01, 20.0)
        _between("least_int8_agreement", self.least_int8_agreement, 0.5, 1.0)


def _between(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    wrong = isinstance(value, bool) or not isinstance(value, int if whole else int | float)
    if wrong or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InvalidRequest(f"`{name}` is {kind} from {low:g} to {high:g}; got {value!r}.", param=name)


def start_compression(
    *,
    workload: Workload,
    deployment: Deployment,
    user: User | None,
    version: str = "",
    dataset: Dataset | None = None,
    **settings: Any,
) -> Job:
    """Queue the compression of a workload's head of a private text deployment; the same again is the same job.

    `version`: a fine-tuned head to compress in place of the shipped one; `dataset`: rows to teach on in place of the shipped
    ones. Raises InvalidRequest, Conflict when its cost could not be charged, BudgetExhausted when no budget has room for it.
    """
    try:
        chosen = Settings(**settings)
    except TypeError:
        known = ", ".join(Settings.__slots__)
        raise InvalidRequest(
            f"Unknown settings {sorted(set(settings) - set(Settings.__slots__))}; known: {known}."
        ) from None
    chosen.check()
    _check_teacher(workload, deployment, version)
    rows = _rows(workload, dataset)
    asked = asdict(chosen)
    failed = _last_audit_failed(workload)
    for name in ("paired", "balanced"):
        if asked[name] == "auto":
            asked[name] = failed
    params = {
        "workload": workload.name, "deployment": deployment.name, "version": version, "rows": rows,
        "dataset": dataset.pk if dataset else None, "audit_failed": failed, **asked,
    }  # fmt: skip
    expected = job_costs.estimate(
        kind="compression", organisation_id=workload.organisation_id, deployments=[deployment.name],
        workload=workload.name, rows=rows,
    )  # fmt: skip
    key = f"compression:{workload.pk}:{deployment.pk}:{version}:{dataset.pk if dataset else ''}:{chosen.seed}:{chosen.epochs}"
    with transaction.atomic():
        job = submit_once(
            kind="compression", organisation=workload.organisation, lob=workload.lob, queue="training", user=user,
            params=params, unique_key=key, estimated_nusd=expected,
        )  # fmt: skip
        if job.state == "queued" and not job.reserved_nusd and job.attempt == 0:
            reservations.reserve(job, expected)
    return job


def _check_teacher(workload: Workload, deployment: Deployment, version: str) -> None:
    check_usable(deployment, workload)
    if workload.task != TEXT_TASK:
        raise InvalidRequest(
            "This compression makes text classifiers smaller; name a classification workload."
        )
    if deployment.side != "private" or TEXT_TASK not in deployment.tasks:
        raise InvalidRequest(
            f"{deployment.name} is no private text classifier: only its own weights can be compressed."
        )
    if not deployment.enabled:
        raise InvalidRequest(f"{deployment.name} is switched off: its base is retired.")
    try:
        manifest = artifacts.load_manifest(artifacts.find(deployment.model))
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt) as error:
        raise InvalidRequest(f"The teacher {deployment.model} isn't here to learn from: {error}.") from None
    if not version:
        if workload.name not in manifest.get("heads", {}):
            raise InvalidRequest(
                f"{deployment.model} has no head for {workload.name}; fine-tune one and name its version."
            )
        return
    found = ModelVersion.objects.filter(workload=workload, deployment=deployment, version=version).first()
    if found is None or not found.artifact:
        raise InvalidRequest(f"{deployment.name} has no fine-tuned version {version!r} of {workload.name}.")


def _rows(workload: Workload, dataset: Dataset | None) -> int:
    if dataset is not None:
        if dataset.lob_id != workload.lob_id or dataset.workload_id not in (None, workload.pk):
            raise InvalidRequest("The data set is another workload's.")
        if dataset.rows < LEAST_ROWS:
            raise InvalidRequest(
                f"{dataset.name} has {dataset.rows} rows; at least {LEAST_ROWS} are needed to teach a student."
            )
        return dataset.rows
    if workload.name not in text_sets.TEXT_SETS:
        raise InvalidRequest(f"No rows of {workload.name} ship with the code: name a data set to teach on.")
    return len(text_sets.load(workload.name, "train"))


def _last_audit_failed(workload: Workload) -> bool:
    """Whether the workload's latest audit found a group treated worse: then pairing and balancing are asked for."""
    latest = BiasAudit.objects.filter(workload=workload).order_by("-at").first()
    return latest is not None and latest.verdict == "fail"
