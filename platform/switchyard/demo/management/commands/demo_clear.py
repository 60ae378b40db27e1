"""`manage.py demo_clear`: remove the replayed history, and nothing else."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Remove every row of the demonstration's history (origin=demonstration)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--again", action="store_true", help="Let the next start replay it anew.")

    def handle(self, *args: Any, **options: Any) -> None:
        from switchyard.demo import clear, history
        from switchyard.jobs.models import Job
        from switchyard.tenancy.models import Organisation

        for organisation in Organisation.objects.all():
            removed = clear.clear_history(organisation=organisation, actor="demo_clear")
            for name, count in removed.items():
                self.stdout.write(f"{count:>8,} {name}")
        if options["again"]:
            Job.objects.filter(kind=history.KIND).delete()
