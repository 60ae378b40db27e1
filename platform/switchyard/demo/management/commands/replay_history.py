"""`manage.py replay_history`: 14 days of real traffic's shape through the real engine, behind a product that is up."""

import asyncio
import os
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Replay the demonstration's history. Running it again does nothing; a broken run goes on where it stopped."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--limit", type=int, help="Stop after so many requests; the next run goes on.")
        parser.add_argument(
            "--foreground", action="store_true", help="At normal priority, not behind others."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["foreground"]:
            os.nice(10)
        from switchyard.demo import history
        from switchyard.demo.measure import measure_evaluations
        from switchyard.tenancy.models import Organisation

        measure_evaluations()
        organisation = Organisation.objects.order_by("pk").first()
        if organisation is None or not organisation.lobs.exists():
            raise CommandError("There is no demonstration company: run `manage.py bootstrap` first.")
        job = history.open_job(organisation)
        if job.state == "succeeded":
            self.stdout.write("the history is already there")
            return
        if job.state in ("cancelled", "paused"):
            self.stdout.write(f"the history is {job.state}; `demo_clear --again` starts it anew")
            return
        began = time.monotonic()
        try:
            complete = asyncio.run(self._replay(job, options["limit"]))
        except Exception as error:
            history.fail(job, f"{type(error).__name__}: {error}")
            raise
        if complete:
            history.finish(job, time.monotonic() - began)
        self.stdout.write(f"history: {job.message} ({time.monotonic() - began:.0f} s)")

    async def _replay(self, job: Any, limit: int | None) -> bool:
        """Whether the last request is in."""
        from asgiref.sync import sync_to_async

        from switchyard.demo import history
        from switchyard.demo.replay import Replayer, replay
        from switchyard.demo.traffic import arrivals

        start = await sync_to_async(history.begin)(job)
        replayer = Replayer()
        rows = replayer.ask_about(history.traffic_of())
        params = job.params
        plan = arrivals(
            end_s=params["end_s"], days=params["days"], requests=params["requests"],
            client_of=history.traffic_of(), rows_of=rows,
        )  # fmt: skip
        total = len(plan)
        if limit is not None:
            plan = plan[: start + limit]

        def write(following: int, events: list[dict[str, Any]]) -> bool:
            history.keep(job, following, total, events)
            self.stdout.write(f"history: {following:,} of {total:,}", ending="\n")
            if state := history.asked_to_stop(job):
                history.halt(job, state)
            return not state

        await replayer.open()
        try:
            whole = await replay(replayer, plan, start, write)
        finally:
            await replayer.close()
        return whole and len(plan) == total and job.state == "running"
