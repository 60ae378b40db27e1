"""`manage.py policy_history [--lob legal]`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from routing.management.policies import PolicyCommand, lob_named
from routing.selectors.policy_history import history
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Who did what with a scope's versions, newest first."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("--lob", help="Slug; the organisation's documents when left out.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        lob = lob_named(organisation, options["lob"])
        rows = history(organisation.pk, lob.slug if lob else "")
        lines = [
            f"{row.at:%Y-%m-%d %H:%M:%S}  {row.actor:<16} {row.action:<20} version {row.version}  "
            + ", ".join(f"{name}={value}" for name, value in row.detail.items())
            for row in rows
        ]
        return [row.as_json() for row in rows], lines or ["Nothing has happened here yet."]
