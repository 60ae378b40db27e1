"""Any report on the command line: `manage.py report spend --group workload --csv`."""

from __future__ import annotations

import csv
import json
import re
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError

from costs.api.reports import as_json
from costs.exports.focus import safe_text
from costs.management.organisation import add_organisation, check_line, organisation_named, period_of
from costs.reports.catalogue import CATALOGUE
from switchyard.tenancy.querysets import Scope

_NUMBER = re.compile(r"-?\d+(\.\d+)?")  # a negative amount is no formula


class Command(BaseCommand):
    help = "Print a report as JSON or CSV: the same figures as REST's reports/<name>."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=sorted(CATALOGUE))
        add_organisation(parser)
        parser.add_argument(
            "--from", dest="start", help="Date or ISO time; 30 days before --to when left out."
        )
        parser.add_argument("--to", dest="end", help="Date or ISO time; now when left out.")
        parser.add_argument("--group")
        parser.add_argument("--lob")
        parser.add_argument("--tz", default="UTC")
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="A report's own parameter."
        )
        parser.add_argument("--csv", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        entry = CATALOGUE[options["name"]]
        start, end = period_of(options, lambda end: end - timedelta(days=30))
        if start > end:
            raise CommandError("The period ends before it begins.")
        organisation = organisation_named(options["organisation"])
        if options["lob"]:
            check_line(organisation, options["lob"])
        scope = Scope(organisation.pk, None, None, frozenset({"finance"}))
        try:
            report = entry.function(
                scope=scope, start=start, end=end, group=options["group"] or entry.group, lob=options["lob"],
                tz=options["tz"], **self._own(entry.parameters, options["set"]),
            )  # fmt: skip
        except (ValueError, ValidationError) as error:
            raise CommandError(str(getattr(error, "detail", error))) from None
        body = as_json(report)
        if options["csv"]:
            self._csv(body["rows"])
        else:
            self.stdout.write(json.dumps(body, default=str, ensure_ascii=False, indent=1))

    @staticmethod
    def _own(known: Any, pairs: list[str]) -> dict[str, Any]:
        own = {}
        for pair in pairs:
            name, _, value = pair.partition("=")
            if name not in known:
                raise CommandError(
                    f"{name!r} is no parameter of this report: {', '.join(known) or 'it takes none'}."
                )
            own[name] = known[name](value)
        return own

    def _csv(self, rows: list[dict[str, Any]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(self.stdout, names)
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run is kept as text; what has parts is JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    return safe_text(value) if isinstance(value, str) and not _NUMBER.fullmatch(value) else value
