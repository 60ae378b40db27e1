"""Look for days and hours that stand out now: `manage.py find_anomalies --days 30`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from costs import outlook
from switchyard.core.money import format_usd
from switchyard.tenancy.models import Organisation


class Command(BaseCommand):
    help = "Judge the last days of every workload, and the running hour, against their own past. Tells people of new ones."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organisation", help="Slug; all of them when left out.")
        parser.add_argument(
            "--days", type=int, default=outlook.JUDGED_DAYS, help="Whole days to judge, 1 to 90."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        slug, days = options["organisation"], options["days"]
        if not 1 <= days <= 90:
            raise CommandError(f"--days is {days}; expected 1 to 90.")
        found = Organisation.objects.filter(slug=slug) if slug else Organisation.objects.all()
        if not found:
            raise CommandError(f"There is no organisation {slug!r}." if slug else "There is no organisation.")
        for organisation in found:
            rows = [
                *outlook.find_anomalies(organisation.pk, days=days),
                *outlook.find_bursts(organisation.pk),
            ]
            if not rows:
                self.stdout.write(f"{organisation.slug}: nothing stands out.")
            for row in rows:
                self.stdout.write(
                    f"{row.day} {row.lob} {row.workload}: ${format_usd(row.spent_nusd)} instead of "
                    f"${format_usd(row.expected_nusd)}: {row.cause}"
                )
