"""Queue a job of models from a terminal: `manage.py submit fine-tune support-intent --rows rows.csv`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from modelhub.management.named import content_of, dataset_named, deployment_named, workload_named
from modelhub.models import Dataset
from modelhub.selectors.tuning_bases import target_of
from modelhub.services import jobs
from modelhub.services.experiments import options_for, start_experiment
from modelhub.services.fine_tuning import METHODS
from modelhub.services.labelling import start_batch
from modelhub.services.records import take_rows
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.tenancy.models import Workload

SHOWN = 20  # lines of a file that are wrong


class Command(BaseCommand):
    help = "Queue a fine-tune, an evaluation, an audit, an experiment or the choice of rows to label; `jobs watch` follows it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="word", required=True)
        tune = self._one(words, "fine-tune", "train a head or an adapter on rows")
        _rows(tune)
        tune.add_argument(
            "--deployment", default="", help="what is trained; without it the one that answers the workload"
        )
        tune.add_argument("--method", choices=METHODS, default="lora")
        tune.add_argument("--epochs", default="auto")
        tune.add_argument("--seed", type=int, default=0)
        tune.add_argument("--suffix", default="")
        judge = self._one(words, "evaluation", "measure a deployment on the workload's held-back rows")
        judge.add_argument("--deployment", required=True)
        audit = self._one(words, "audit", "a student against its teacher, by group")
        audit.add_argument("--teacher", required=True)
        audit.add_argument("--student", required=True)
        several = self._one(words, "experiment", "several ways on the same golden rows")
        several.add_argument(
            "--way",
            action="append",
            default=[],
            help="METHOD:DEPLOYMENT, twice or more; none: they are listed",
        )
        several.add_argument("--name", default="")
        _rows(several)
        label = self._one(words, "labels", "choose the texts whose labels would teach most")
        label.add_argument(
            "--texts", required=True, help="a file: CSV with a column text, JSON lines, or plain lines"
        )
        label.add_argument("--count", type=int, required=True)
        label.add_argument("--labellers", type=int, choices=(1, 2), default=1)

    def _one(self, words: Any, name: str, told: str) -> ArgumentParser:
        parser: ArgumentParser = words.add_parser(name, help=told)
        parser.add_argument("workload")
        parser.add_argument("--organisation", default="", help="slug, where there are several")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        workload = workload_named(options["workload"], options["organisation"])
        try:
            self.stdout.write(STARTS[options["word"]](workload, options))
        except ValidationFailed as error:
            lines = [
                f"line {fault['line']}: {fault['message']}"
                for fault in error.errors[:SHOWN]
                if fault.get("line")
            ]
            raise CommandError("\n".join([error.message, *lines])) from None
        except SwitchyardError as error:
            raise CommandError(error.message) from None


def _rows(parser: ArgumentParser) -> None:
    parser.add_argument("--rows", default="", help="a file of rows")
    parser.add_argument("--dataset", default="", help="id of rows that were uploaded before")


def _dataset(workload: Workload, options: dict[str, Any]) -> Dataset | None:
    if options["rows"]:
        pieces = [content_of(options["rows"])]
        return take_rows(workload=workload, name=Path(options["rows"]).name, pieces=pieces, user=None)
    return dataset_named(options["dataset"], workload) if options["dataset"] else None


def _fine_tune(workload: Workload, options: dict[str, Any]) -> str:
    dataset = _dataset(workload, options)
    if dataset is None:
        raise CommandError("Name rows: --rows FILE, or --dataset ID.")
    if options["deployment"]:
        deployment = deployment_named(options["deployment"], workload)
    else:
        deployment = target_of(workload.name, workload.lob, set(dataset.labels))[0]
    epochs = options["epochs"]
    job = jobs.start_fine_tune(
        dataset=dataset, deployment=deployment, user=None, epochs=int(epochs) if epochs.isdigit() else epochs,
        seed=options["seed"], method=options["method"], suffix=options["suffix"],
    )  # fmt: skip
    return f"job {job.pk}: {job.state}, {dataset.rows} rows, {deployment.name}"


def _evaluation(workload: Workload, options: dict[str, Any]) -> str:
    deployment = deployment_named(options["deployment"], workload)
    job = jobs.start_evaluation(workload=workload, deployment=deployment, user=None)
    return f"job {job.pk}: {job.state}"


def _audit(workload: Workload, options: dict[str, Any]) -> str:
    job = jobs.start_audit(
        workload=workload, user=None, teacher=options["teacher"], student=options["student"]
    )
    return f"job {job.pk}: {job.state}"


def _experiment(workload: Workload, options: dict[str, Any]) -> str:
    if not options["way"]:
        ways = [option.key + (" needs rows" if option.trains else "") for option in options_for(workload)]
        return "\n".join(ways)
    made = start_experiment(
        workload=workload,
        user=None,
        arms=options["way"],
        dataset=_dataset(workload, options),
        name=options["name"],
    )
    ids = [pk for pk in [*(arm.job_id for arm in made.arms.all()), made.job_id] if pk]
    return "\n".join([f"experiment {made.pk}: {made.state}", *(f"job {pk}" for pk in dict.fromkeys(ids))])


def _labels(workload: Workload, options: dict[str, Any]) -> str:
    made = start_batch(
        workload=workload, user=None, name=Path(options["texts"]).name, content=content_of(options["texts"]),
        count=options["count"], labellers=options["labellers"],
    )  # fmt: skip
    return f"queue {made.pk}: {made.state}\njob {made.job_id}"


STARTS = {
    "fine-tune": _fine_tune, "evaluation": _evaluation, "audit": _audit, "experiment": _experiment, "labels": _labels,
}  # fmt: skip
