"""Label prices on the command line: `manage.py label_price legal 12.00`."""

from __future__ import annotations

from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.labels import set_label_price
from costs.management.commands.workload_plan import organisation_named
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd, usd_to_nusd
from switchyard.tenancy.models import LineOfBusiness


class Command(BaseCommand):
    help = "Show what a label costs by line of business, or set it in US dollars."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("lob", nargs="?")
        parser.add_argument("usd", nargs="?")
        parser.add_argument("--organisation", help="Slug; the only one when left out.")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = LineOfBusiness.objects.filter(organisation=organisation_named(options["organisation"]))
        if options["lob"]:
            rows = rows.filter(slug=options["lob"])
            if not rows:
                raise CommandError(f"There is no line of business {options['lob']!r}.")
        if options["usd"]:
            try:
                price = usd_to_nusd(Decimal(options["usd"]))
                rows = [set_label_price(lob=rows[0], price_nusd=price, actor="command line")]  # type: ignore[assignment]
            except (InvalidOperation, ValueError, OverflowError):
                raise CommandError(
                    f"{options['usd']!r} is no amount of dollars; write one such as 12.00."
                ) from None
            except SwitchyardError as error:
                raise CommandError(error.message) from None
        for lob in rows:
            self.stdout.write(f"{lob.slug}\t${format_usd(lob.label_price_nusd)}")
