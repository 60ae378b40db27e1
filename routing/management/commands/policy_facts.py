"""`manage.py policy_facts`"""

from __future__ import annotations

from typing import Any

from routing.management.policies import PolicyCommand
from routing.policy.examples import example_of
from routing.policy.facts import describe
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Every fact a condition may test: type, meaning, where it may stand, an example."
    of_an_organisation = False

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        rows = [row | {"example": example_of(row["name"])} for row in describe()]
        lines = [
            f"{r['name']:<22} {r['type']:<8} {r['meaning']}{' [invariants only]' if r['in'] == 'invariants' else ''}  "
            f"e.g. {r['example']}"
            for r in rows
        ]
        return rows, lines
