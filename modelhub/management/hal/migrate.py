"""`manage.py hal migrate <deployment> --to <backend>`: moves a live deployment while it answers, and tells how it went."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from costs.management.organisation import add_organisation, organisation_named
from modelhub.models import Deployment
from modelhub.recipes import migrate
from modelhub.services.migration import start_migration
from modelhub.serving.runtime import BACKENDS
from switchyard.core.errors import SwitchyardError
from switchyard.jobs import runner
from switchyard.jobs.models import FINAL, Job

HELP = (
    "Move a live deployment of ours to another backend while it answers; back by itself when a bound breaks."
)
POLL_S = 0.5


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("deployment", help="Its name.")
    parser.add_argument("--to", required=True, choices=BACKENDS, dest="backend")
    add_organisation(parser)
    parser.add_argument("--agreement", type=float, help="Least share of equal labels (0.995).")
    parser.add_argument("--latency-ratio", type=float, help="Most time against the old backend (3).")
    parser.add_argument(
        "--rows", type=int, help="Rows compared before the switch, and watched after it (400)."
    )
    parser.add_argument(
        "--patience", type=float, help="Seconds to wait for live rows (120).", dest="patience_s"
    )


def handle(options: dict[str, Any], stdout: Any) -> None:
    """Raises CommandError when the model answers where it did before."""
    organisation = organisation_named(options.get("organisation"))
    deployment = Deployment.objects.filter(name=options["deployment"], organisation=organisation).first()
    if deployment is None:
        raise CommandError(f"{organisation.slug} has no deployment {options['deployment']!r}.")
    bounds = {name: options.get(name) for name in ("agreement", "latency_ratio", "rows", "patience_s")}
    try:
        job = start_migration(deployment=deployment, backend=options["backend"], user=None, **bounds)
    except SwitchyardError as error:
        raise CommandError(error.message) from None
    report(stdout, finished(job))


def finished(job: Job) -> Job:
    """Run here, or followed where a worker was quicker."""
    done = runner.run(job.pk, migrate.run)
    while done is None or done.state not in FINAL:
        time.sleep(POLL_S)
        done = Job.objects.get(pk=job.pk)
    return done


def report(stdout: Any, job: Job) -> None:
    if job.state != "succeeded":
        raise CommandError(f"{job.pk} {job.state}: {job.error or job.message}")
    told = job.result
    for phase, words in (
        ("golden", "golden rows"),
        ("compared", "live rows before"),
        ("watched", "rows after"),
    ):
        tally = told[phase]
        if tally["rows"]:
            stdout.write(
                f"{words}: {tally['agreed']} of {tally['rows']} labels agree, {tally['errors']} errors, "
                f"{tally['latency_ratio']:.2f} times the time"
            )
    if told["state"] != "done":
        raise CommandError(f"{told['model']} stays on {told['source']}: {told['why']}.")
    stdout.write(f"{told['model']} moved from {told['source']} to {told['backend']}.")
