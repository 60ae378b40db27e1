"""Business events on the command line: one by its options, or JSON lines: `manage.py business_event < events.jsonl`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.api.plans import ReportedSerializer
from costs.management.commands.workload_plan import organisation_named
from costs.plans import MOST_EVENTS, Reported, report_events
from switchyard.core.errors import SwitchyardError
from switchyard.tenancy.querysets import Scope


class Command(BaseCommand):
    help = "Report business events as REST's business-events takes them; told again, they change nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organisation", help="Slug; the only one when left out.")
        parser.add_argument("--event-id")
        parser.add_argument("--workload")
        parser.add_argument("--event")
        parser.add_argument("--count", type=int)
        parser.add_argument("--value-usd")
        parser.add_argument("--at")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        names = ("event_id", "workload", "event", "count", "value_usd", "at")
        one = {name: options[name] for name in names if options[name] is not None}
        told = [one] if one else self._lines()
        form = ReportedSerializer(data=told, many=True)
        if not form.is_valid():
            raise CommandError(f"Nothing was recorded: {json.dumps(form.errors, default=str)}")
        scope = Scope(organisation.pk, None, None, frozenset({"finance"}))
        new = 0
        try:
            for start in range(0, len(form.validated_data), MOST_EVENTS):
                items = [Reported(**item) for item in form.validated_data[start : start + MOST_EVENTS]]
                new += report_events(scope=scope, items=items)[1]
        except SwitchyardError as error:
            detail = "; ".join(fault["message"] for fault in getattr(error, "errors", []))
            raise CommandError(f"{error.message} {detail}".strip()) from None
        self.stdout.write(f"{new} new of {len(told)}")

    @staticmethod
    def _lines() -> list[Any]:
        try:
            return [json.loads(line) for line in sys.stdin if line.strip()]
        except ValueError as error:
            raise CommandError(f"A line is not JSON: {error}") from None
