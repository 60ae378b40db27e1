"""Foresee this month's end now instead of within the hour: `manage.py forecast`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from costs import outlook
from switchyard.core.money import format_usd
from switchyard.tenancy.models import Organisation


class Command(BaseCommand):
    help = "Foresee this month's spend of the organisation and of every line of business, with its interval and past error."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organisation", help="Slug; all of them when left out.")

    def handle(self, *args: Any, **options: Any) -> None:
        slug = options["organisation"]
        found = Organisation.objects.filter(slug=slug) if slug else Organisation.objects.all()
        if not found:
            raise CommandError(f"There is no organisation {slug!r}." if slug else "There is no organisation.")
        for organisation in found:
            made = outlook.forecast_month(organisation.pk)
            if not made:
                self.stdout.write(f"{organisation.slug}: not enough days; 14 whole ones are needed.")
            for row in made:
                covered = "unknown" if row.coverage is None else f"{row.coverage:.0%}"
                self.stdout.write(
                    f"{organisation.slug} {row.lob or '(all)'} {row.month:%Y-%m}: ${format_usd(row.estimate_nusd)} "
                    f"(${format_usd(row.low_nusd)} to ${format_usd(row.high_nusd)}), so far ${format_usd(row.spent_nusd)}; "
                    f"{row.method}, off by {row.mape:.1%} on average in {row.backtests} backtests, coverage {covered}"
                )
