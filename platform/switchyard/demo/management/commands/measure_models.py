"""`manage.py measure_models`: how long one answer takes on each deployment, where that is not known yet."""

from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Measure the time of one answer for every evaluated deployment that lacks it."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        from switchyard.demo.measure import measure_evaluations

        self.stdout.write(f"{measure_evaluations()} measured")
