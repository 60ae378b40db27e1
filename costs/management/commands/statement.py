"""A line of business's month: `manage.py statement --lob legal --month 2026-11 [--basis showback] [--json]`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.api.exports import as_json
from costs.books.fiscal import month_start, parse_month
from costs.exports.statement_csv import statement_csv
from costs.exports.statements import BASES, statement
from costs.management.organisation import add_organisation, check_line, organisation_named
from switchyard.core.clock import now


class Command(BaseCommand):
    help = "Print the statement of a line of business as CSV, or as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organisation(parser)
        parser.add_argument("--lob", required=True)
        parser.add_argument("--month", help="YYYY-MM; this month when left out.")
        parser.add_argument("--basis", choices=BASES, default=BASES[0])
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        check_line(organisation, options["lob"])
        try:
            month = parse_month(options["month"]) if options["month"] else month_start(now())
        except ValueError as error:
            raise CommandError(str(error)) from None
        made = statement(
            organisation_id=organisation.pk, lob=options["lob"], month=month, basis=options["basis"]
        )
        text = (
            json.dumps(as_json(made), ensure_ascii=False, indent=1)
            if options["json"]
            else statement_csv(made)
        )
        self.stdout.write(text)
