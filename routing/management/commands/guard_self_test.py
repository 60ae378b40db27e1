"""`manage.py guard_self_test`: a planted output through every way out of the gateway."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing.services.guard_tests import results


class Command(BaseCommand):
    help = "Send a planted output through every route of the guard; fails when one lets it through."

    def handle(self, *args: Any, **options: Any) -> None:
        found = results()
        for route, why in found.items():
            self.stdout.write(f"{route}: {why or 'held'}")
        failed = [route for route, why in found.items() if why]
        if failed:
            raise CommandError(f"{len(failed)} of {len(found)} routes failed.")
