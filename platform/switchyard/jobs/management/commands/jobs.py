"""Jobs from the command line: list, show, cancel, pause, resume, retry, watch."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd
from switchyard.jobs import services
from switchyard.jobs.models import FINAL, STATES, Job

ACTIONS = {
    "cancel": services.cancel,
    "pause": services.pause,
    "resume": services.resume,
    "retry": services.retry,
}
LOOK_S = 1.0


class Command(BaseCommand):
    help = "List jobs, look at one, follow one, or cancel, pause, resume or retry it."

    def add_arguments(self, parser: CommandParser) -> None:
        words = parser.add_subparsers(dest="word", required=True)
        listing = words.add_parser("list", help="the newest jobs")
        listing.add_argument("--state", choices=STATES)
        listing.add_argument("--kind", choices=Job.KINDS)
        listing.add_argument("--lob", help="slug of a line of business")
        listing.add_argument("--limit", type=int, default=20)
        for word in ("show", "watch", *ACTIONS):
            one = words.add_parser(word)
            one.add_argument("job", help="its id, or how the id ends")
        parser.epilog = (
            "watch prints the log until the job has ended; its exit status is 1 unless it succeeded."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        word = options["word"]
        if word == "list":
            self._list(options)
            return
        job = self._find(options["job"])
        if word == "show":
            self._show(job)
        elif word == "watch":
            self._watch(job)
        else:
            try:
                job = ACTIONS[word](job=job, user=None)
            except SwitchyardError as error:
                raise CommandError(error.message) from None
            asked = job.cancel_requested or job.pause_requested
            self.stdout.write(f"{job.pk} {job.state}" + (f": asked to {word}" if asked else ""))

    def _find(self, text: str) -> Job:
        rows = Job.objects.select_related("lob", "created_by")
        found = list(rows.filter(pk=text)[:1]) or list(rows.filter(pk__iendswith=text)[:2])
        if len(found) != 1:
            raise CommandError(f"{'No job' if not found else 'More than one job'} ends with {text!r}.")
        return found[0]

    def _list(self, options: dict[str, Any]) -> None:
        rows = Job.objects.select_related("lob")
        for name, lookup in (("state", "state"), ("kind", "kind"), ("lob", "lob__slug")):
            if options[name]:
                rows = rows.filter(**{lookup: options[name]})
        for job in rows[: max(1, options["limit"])]:
            self.stdout.write(_line(job))

    def _show(self, job: Job) -> None:
        facts = {
            "id": job.pk, "kind": job.kind, "state": job.state, "progress": f"{job.progress:.0%}", "message": job.message,
            "error": job.error, "line of business": job.lob.slug if job.lob else "", "queue": job.queue,
            "ran on": job.device, "attempt": job.attempt, "expected end": job.eta, "created": job.created_at,
            "started": job.started_at, "finished": job.finished_at,
            "estimated": None if job.estimated_nusd is None else f"${format_usd(job.estimated_nusd)}",
            "held of the budgets": f"${format_usd(job.reserved_nusd)}", "cost": f"${format_usd(job.cost_nusd)}",
        }  # fmt: skip
        facts |= {f"params.{name}": value for name, value in job.params.items()}
        facts |= {f"mark.{name}": at for name, at in job.marks.items()}
        for name, value in facts.items():
            if value not in (None, ""):
                self.stdout.write(f"{name:<24} {value}")
        for event in job.events.order_by("-id")[:20][::-1]:
            self.stdout.write(f"{event.at:%H:%M:%S} {event.level:<7} {event.message}")

    def _watch(self, job: Job) -> None:
        last = 0
        while True:
            job.refresh_from_db()
            for event in job.events.filter(pk__gt=last).order_by("pk"):
                last = event.pk
                self.stdout.write(f"{event.at:%H:%M:%S} {event.level:<7} {event.message}")
            if job.state in FINAL:
                break
            time.sleep(LOOK_S)
        self.stdout.write(_line(job))
        if job.state != "succeeded":
            raise CommandError(job.error or f"The job is {job.state}.")


def _line(job: Job) -> str:
    lob = job.lob.slug if job.lob else "-"
    left = f" until {job.eta:%H:%M:%S}" if job.eta else ""
    where = f"{job.pk} {job.kind:<12} {lob:<18} {job.state:<11}"
    return f"{where} {job.progress:>4.0%}{left} ${format_usd(job.cost_nusd)} {job.message}"
