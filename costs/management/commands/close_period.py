"""Close a month of the books: `manage.py close_period 2026-10`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.books.closing import close_period
from costs.books.fiscal import parse_month
from costs.management.organisation import add_organisation, organisation_named
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd


class Command(BaseCommand):
    help = "Close a month: the database takes no transfer dated into it any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", help="Such as 2026-10.")
        add_organisation(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = parse_month(options["month"])
            organisation = organisation_named(options["organisation"])
            period = close_period(organisation_id=organisation.pk, month=month, actor="manage.py")
        except (ValueError, SwitchyardError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"{period.start:%Y-%m} is closed: {period.entries} transfers, ${format_usd(period.total_nusd)}."
        )
