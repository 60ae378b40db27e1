"""FOCUS rows: `manage.py export_focus --from 2026-11-01 --to 2026-12-01 [--version 1.4] [--check]`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.api.exports import LONGEST
from costs.books.fiscal import month_start
from costs.exports.focus import Export, focus_csv
from costs.exports.focus_columns import VERSIONS, validate_csv
from costs.management.organisation import add_organisation, check_line, organisation_named, period_of
from switchyard.tenancy.querysets import Scope


class Command(BaseCommand):
    help = "Write FOCUS rows as CSV, or check every cell of them."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        """`--version` is FOCUS's here, not Django's."""
        return super().create_parser(*args, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organisation(parser)
        parser.add_argument(
            "--from", dest="start", help="Date or ISO time; the month's first day when left out."
        )
        parser.add_argument("--to", dest="end", help="Date or ISO time; now when left out.")
        parser.add_argument("--lob")
        parser.add_argument("--version", dest="focus_version", choices=VERSIONS, default=VERSIONS[0])
        parser.add_argument("--output", type=Path, help="A file instead of the standard output.")
        parser.add_argument(
            "--check", action="store_true", help="Write nothing: validate, exit 1 when something is wrong."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        start, end = period_of(options, month_start)
        if start > end or end - start > LONGEST:
            raise CommandError("The period ends after it begins, within 400 days.")
        if options["lob"]:
            check_line(organisation, options["lob"])
        scope = Scope(organisation.pk, None, None, frozenset({"finance"}))
        lines = focus_csv(Export(scope, start, end, options["lob"], options["focus_version"]))
        if options["check"]:
            self._check(lines, options["focus_version"])
        elif options["output"]:
            with options["output"].open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines)
        else:
            for line in lines:
                self.stdout.write(line, ending="")

    def _check(self, lines: Any, version: str) -> None:
        rows, faults = validate_csv(lines, version)
        for fault in faults:
            self.stderr.write(fault)
        if faults:
            raise CommandError(f"{len(faults)} faults in {rows} rows of FOCUS {version}.", returncode=1)
        self.stdout.write(f"{rows} rows of FOCUS {version}, every column valid.")
