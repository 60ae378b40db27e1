"""Devices and operators on the command line: `manage.py hal profile | list | tune | explain | certify | migrate …`."""

from __future__ import annotations

import importlib
import pkgutil
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from modelhub.management import hal as subcommands


class Command(BaseCommand):
    help = "What this machine computes on: its profile, operators and backends, measured choices, certificates, migrations."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        places = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
        for name in sorted(module.name for module in pkgutil.iter_modules(subcommands.__path__)):
            module = importlib.import_module(f"{subcommands.__name__}.{name}")
            child = places.add_parser(name, help=module.HELP, description=module.HELP)
            module.add_arguments(child)
            child.set_defaults(run=module.handle)

    def handle(self, *args: Any, **options: Any) -> None:
        options["run"](options, self.stdout)
