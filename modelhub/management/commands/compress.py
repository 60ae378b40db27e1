"""Compress a head from a terminal: `manage.py compress support-intent --deployment private-sparse`."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from modelhub.management.named import dataset_named, deployment_named, workload_named
from modelhub.recipes import compress
from modelhub.services.compressions import WIDTHS, Settings, start_compression
from modelhub.services.running import run_one
from switchyard.core.errors import SwitchyardError
from switchyard.jobs.models import FINAL

RECIPE = {"compression": compress.__name__}


class Command(BaseCommand):
    help = "Make a workload's head small: separate, distil, 8 bits, operator. Queues a job, or runs it here with --now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        usual = Settings()
        parser.add_argument("workload")
        parser.add_argument("--organisation", default="", help="Slug, where there are several.")
        parser.add_argument("--deployment", required=True, help="The private text deployment that teaches.")
        parser.add_argument(
            "--tuned", default="", help="A fine-tuned version to compress in place of the shipped head."
        )
        parser.add_argument("--dataset", default="", help="Rows to teach on in place of the shipped ones.")
        parser.add_argument("--epochs", type=int, default=usual.epochs)
        parser.add_argument("--seed", type=int, default=usual.seed)
        parser.add_argument("--width", choices=["auto", *map(str, WIDTHS)], default="auto")
        parser.add_argument("--least-share", type=float, default=usual.least_share_of_teacher)
        parser.add_argument("--least-speedup", type=float, default=usual.least_speedup)
        parser.add_argument("--now", action="store_true", help="Run it in this process and print the report.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            job = self._start(options)
            self.stdout.write(f"job {job.pk}: {job.state}")
            if not options["now"]:
                return
            ended = run_one(job, RECIPE)
        except SwitchyardError as error:
            raise CommandError(error.message) from None
        if ended is None or ended.state not in FINAL:
            raise CommandError("another worker has this job; look at the page of jobs.")
        if ended.state != "succeeded":
            raise CommandError(f"{ended.state}: {ended.error}")
        shown = {name: value for name, value in ended.result.items() if name not in ("groups", "stages")}
        self.stdout.write(json.dumps(shown, indent=1))

    def _start(self, options: dict[str, Any]) -> Any:
        workload = workload_named(options["workload"], options["organisation"])
        deployment = deployment_named(options["deployment"], workload)
        dataset = dataset_named(options["dataset"], workload) if options["dataset"] else None
        width = options["width"]
        return start_compression(
            workload=workload, deployment=deployment, user=None, version=options["tuned"], dataset=dataset,
            epochs=options["epochs"], seed=options["seed"], width=width if width == "auto" else int(width),
            least_share_of_teacher=options["least_share"], least_speedup=options["least_speedup"],
        )  # fmt: skip
