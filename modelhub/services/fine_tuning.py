"""Starting a fine-tune: one call for the page, REST and /v1, whoever trains.

rows and a deployment → may it be trained on these rows → what it will cost → the money held → a queued job
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import transaction

from costs.selectors import price_sheets
from modelhub.models import Dataset, Deployment
from modelhub.services import job_costs, reservations
from modelhub.services.access import check_usable
from modelhub.services.bases import find_base
from modelhub.services.inspection import inspector
from modelhub.services.row_checks import MIN_ROWS
from switchyard.core.errors import Conflict, InvalidRequest, PolicyDenied
from switchyard.core.money import leg_nusd
from switchyard.jobs.models import Job, JobEvent
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

METHODS = ("lora", "expert", "head")
LEARNT = ("classification", "chat", "completion")
MOST_EPOCHS, MOST_BATCH = 500, 4096
LEAST_RATE, MOST_RATE = 0.001, 1000.0
VENDOR_AUTO_EPOCHS = (
    4  # what is held for a vendor that chooses by itself; the bill is by what it says it trained
)
_SUFFIX = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyperparameters as the recipes take them; `auto` leaves the choice to the recipe."""

    epochs: int | str = "auto"
    batch_size: int | str = "auto"
    learning_rate_multiplier: float | str = "auto"
    method: str = "lora"
    seed: int = 0
    suffix: str = ""

    def check(self) -> None:
        """Raises InvalidRequest naming the parameter."""
        _whole("epochs", self.epochs, MOST_EPOCHS)
        _whole("batch_size", self.batch_size, MOST_BATCH)
        rate = self.learning_rate_multiplier
        good = (
            isinstance(rate, int | float) and not isinstance(rate, bool) and LEAST_RATE <= rate <= MOST_RATE
        )
        if rate != "auto" and not good:
            raise InvalidRequest(
                f"`learning_rate_multiplier` is `auto` or a number from {LEAST_RATE} to {MOST_RATE:g}.",
                param="learning_rate_multiplier",
            )
        if self.method not in METHODS:
            raise InvalidRequest(f"`method` is one of {', '.join(METHODS)}.", param="method")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**31:
            raise InvalidRequest("`seed` is a whole number from 0 to 2147483647.", param="seed")
        if self.suffix and not _SUFFIX.fullmatch(self.suffix):
            raise InvalidRequest(
                "`suffix` has at most 40 small letters, digits, hyphens and underscores, and begins and ends with a letter "
                "or digit.",
                param="suffix",
            )


def _whole(name: str, value: Any, most: int) -> None:
    if value == "auto":
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidRequest(f"`{name}` is `auto` or a number from 1 to {most}.", param=name)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked through /v1: kept with the job so that its answer can say so again."""

    training_file: str = ""
    validation_file: str = ""
    model: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    method_type: str = ""
    application: str = ""
    key: str = ""


def start(
    *,
    dataset: Dataset,
    deployment: Deployment,
    user: User | None,
    settings: Settings | None = None,
    validation: Dataset | None = None,
    origin: Origin | None = None,
    unique_key: str | None = None,
) -> Job:
    """Queue a fine-tune; the same again while it waits or runs is the same job, unless `unique_key` says otherwise.

    Raises InvalidRequest for work that can't be fine-tuned, PolicyDenied for rows that may not go there, Conflict when its
    cost could not be charged, BudgetExhausted when a budget has no room for it.
    """
    settings = settings or Settings()
    settings.check()
    workload = _workload(dataset, deployment, validation)
    external = deployment.side == "external"
    if external:
        refuse_to_leave(dataset, deployment, workload)
        if validation is not None:
            refuse_to_leave(validation, deployment, workload)
        expected = vendor_estimate(dataset, deployment, settings)
    else:
        _check_trainable(deployment, workload)
        refuse_to_learn(dataset, deployment, workload)
        expected = job_costs.estimate(
            kind="fine_tune", organisation_id=workload.organisation_id, deployments=[deployment.name],
            workload=workload.name, rows=dataset.rows,
        )  # fmt: skip
    params = {
        "workload": workload.name, "deployment": deployment.name, "side": deployment.side, "rows": dataset.rows,
        "dataset": dataset.pk, "validation_dataset": validation.pk if validation else None, **asdict(settings),
    }  # fmt: skip
    if unique_key is None:
        told = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:24]
        unique_key = f"fine_tune:{workload.pk}:{deployment.pk}:{told}"
    said = {name: value for name, value in asdict(origin).items() if value} if origin else {}
    return _submit(dataset, workload, params | said, user, unique_key, expected)


@transaction.atomic
def _submit(
    dataset: Dataset, workload: Workload, params: dict[str, Any], user: User | None, key: str, expected: int
) -> Job:
    job = submit_once(
        kind="fine_tune", organisation=workload.organisation, lob=workload.lob, queue="training", user=user,
        params=params, unique_key=key, estimated_nusd=expected,
    )  # fmt: skip
    if job.state == "queued" and not job.reserved_nusd and job.attempt == 0:
        reservations.reserve(job, expected)
        JobEvent.objects.bulk_create(
            JobEvent(job=job, level="warning", message=words) for words in remarks(dataset)
        )
    return job


def remarks(dataset: Dataset) -> list[str]:
    """What was found in the rows that whoever trains on them should know; nothing for rows without a blemish."""
    found, report = [], dataset.report
    for name, lines, words in (
        ("duplicates", "duplicate_lines", "are there twice"),
        ("in_evaluation_set", "leaked_lines", "are among those that judge the model"),
    ):
        if report.get(name):
            where = ", ".join(map(str, report[lines][:10])) + (" …" if report[name] > 10 else "")
            found.append(f"{report[name]} rows {words} and were left out: lines {where}")
    if report.get("new_labels"):
        found.append(f"labels that the workload did not have: {', '.join(report['new_labels'][:10])}"[:400])
    if report.get("rare_labels"):
        found.append(f"labels with one or two rows: {', '.join(report['rare_labels'][:10])}"[:400])
    return found


def _workload(dataset: Dataset, deployment: Deployment, validation: Dataset | None) -> Workload:
    workload = dataset.workload
    if workload is None or workload.task not in LEARNT:
        raise InvalidRequest("Fine-tuning takes rows of a classification or chat workload.")
    check_usable(deployment, workload)
    if not deployment.enabled:
        raise InvalidRequest(f"{deployment.name} is switched off: its base is retired.", param="model")
    if dataset.rows < MIN_ROWS or "rows_deleted" in dataset.report:
        raise InvalidRequest(
            f"The rows of {dataset.name} are gone: upload them again.", param="training_file"
        )
    if validation is not None and validation.workload_id != workload.pk:
        raise InvalidRequest("The validation rows are another workload's.", param="validation_file")
    if validation is not None and validation.digest == dataset.digest:
        raise InvalidRequest(
            "The validation rows are the training rows: hold back other ones.", param="validation_file"
        )
    return workload


def _check_trainable(deployment: Deployment, workload: Workload) -> None:
    if workload.task == "classification" and not (deployment.heads and "classification" in deployment.tasks):
        raise InvalidRequest(
            f"{deployment.name} has no heads to fine-tune; choose a private text deployment.", param="model"
        )
    if workload.task == "classification":
        find_base(deployment)
    if workload.task != "classification" and workload.task not in deployment.tasks:
        raise InvalidRequest(f"{deployment.name} does not do {workload.task}.", param="model")


def refuse_to_leave(dataset: Dataset, deployment: Deployment, workload: Workload) -> None:
    """Raises PolicyDenied when policy keeps any of the rows from this vendor: then none of them goes.

    Every set of findings that occurs in a row is asked for by itself, at the class it has.
    """
    groups = dataset.report.get("groups")
    if groups is None:
        raise PolicyDenied(f"The rows of {dataset.name} were never inspected: upload them again.")
    for entities, rows, sensitivity, broken in _asked(dataset, deployment, workload):
        if broken:
            found = f" that hold {', '.join(kind.replace('_', ' ') for kind in entities)}" if entities else ""
            where = sorted({line for kind in entities for line in dataset.report["sensitive"].get(kind, [])})[
                :10
            ]
            lines = f" (lines {', '.join(map(str, where))})" if where else ""
            raise PolicyDenied(
                f"{rows} of {dataset.rows} rows{found} are {sensitivity} and may not go to {deployment.name}: {broken}{lines}. "
                "None of the file is sent. Remove those rows, or fine-tune a private deployment."
            )


def refuse_to_learn(dataset: Dataset, deployment: Deployment, workload: Workload) -> None:
    """The same question for a deployment at home: what policy lets nobody train on isn't trained on there either."""
    for _entities, rows, sensitivity, broken in _asked(dataset, deployment, workload):
        if broken:
            raise PolicyDenied(
                f"{rows} of {dataset.rows} rows are {sensitivity} and may not be trained on at {deployment.name}: {broken}. "
                "Remove those rows, or ask for another policy."
            )


def _asked(
    dataset: Dataset, deployment: Deployment, workload: Workload
) -> Iterator[tuple[list[str], int, str, str]]:
    """(findings, rows, class, the invariant against it or empty) of each set of findings that occurs in a row."""
    look = inspector()
    for entities, rows in dataset.report.get("groups") or [[[], dataset.rows]]:
        sensitivity = look.classify(workload.sensitivity, dataset.report.get("declared", ""), entities)
        yield entities, rows, sensitivity, look.why_not(
            organisation_id=workload.organisation_id, lob=workload.lob.slug, workload=workload.name,
            deployment=deployment.name, sensitivity=sensitivity, entities=entities,
        )  # fmt: skip


def vendor_estimate(dataset: Dataset, deployment: Deployment, settings: Settings) -> int:
    """Nano-dollars at the price of trained tokens. Raises Conflict `no_price` when the sheet in force has none."""
    sheet = price_sheets(dataset.organisation_id).get(deployment.name)
    if sheet is None or sheet.training_nusd_per_munit is None:
        raise Conflict(
            f"{deployment.name} has no price for training in force: enter `training_usd_per_mtok` on its price sheet.",
            code="no_price",
        )
    epochs = VENDOR_AUTO_EPOCHS if settings.epochs == "auto" else int(settings.epochs)
    return leg_nusd(int(dataset.report.get("tokens", 0)) * epochs, sheet.training_nusd_per_munit)
