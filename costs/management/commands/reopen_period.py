"""Open a closed month of the books again: `manage.py reopen_period 2026-10 --reason "the vendor's credit note"`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.books.closing import reopen_period
from costs.books.fiscal import parse_month
from costs.management.organisation import add_organisation, organisation_named
from switchyard.core.errors import SwitchyardError


class Command(BaseCommand):
    help = "Open a closed month again, with a reason that the audit log keeps."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", help="Such as 2026-10.")
        parser.add_argument("--reason", required=True)
        add_organisation(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = parse_month(options["month"])
            organisation = organisation_named(options["organisation"])
            period = reopen_period(
                organisation_id=organisation.pk, month=month, reason=options["reason"], actor="manage.py"
            )
        except (ValueError, SwitchyardError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{period.start:%Y-%m} is open.")
