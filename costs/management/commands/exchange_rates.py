"""Exchange rates on the command line: `manage.py exchange_rates [EUR 1.0862 --source "ECB, 2026-08-05"]`."""

from __future__ import annotations

from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from costs.management.organisation import organisation_named
from costs.models import ExchangeRate
from costs.sheets.currencies import create_rate
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd, usd_to_nusd


class Command(BaseCommand):
    help = "List the exchange rates, or enter one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("currency", nargs="?")
        parser.add_argument("usd_per_unit", nargs="?")
        parser.add_argument("--source", default="", help="Who published it, and when.")
        parser.add_argument("--from", dest="begins", help="Date or ISO time; now when left out.")
        parser.add_argument("--organisation", help="Slug; the only one when left out.")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        if options["usd_per_unit"]:
            try:
                create_rate(
                    organisation_id=organisation.pk, currency=options["currency"], source=options["source"],
                    nusd_per_unit=usd_to_nusd(Decimal(options["usd_per_unit"])), actor="command line",
                    valid_from=parse_time("from", options["begins"], now()),
                )  # fmt: skip
            except (InvalidOperation, ValueError, OverflowError):
                raise CommandError(
                    f"{options['usd_per_unit']!r} is no rate; write dollars such as 1.0862."
                ) from None
            except (SwitchyardError, ValidationError) as error:
                raise CommandError(getattr(error, "message", str(error))) from None
        rows = ExchangeRate.objects.filter(organisation_id=organisation.pk)
        if options["currency"]:
            rows = rows.filter(currency=options["currency"])
        for row in rows:
            self.stdout.write(
                f"{row.currency}\t{row.valid_from.isoformat()}\t{format_usd(row.nusd_per_unit)}\t{row.source}"
            )
