"""`manage.py policy_show legal@2`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from routing.management.policies import PolicyCommand, line_of, shown, version_named
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Show one version with its document."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("policy", help="An id, or org@3, legal@2; legal alone is the live one.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        policy = version_named(organisation, options["policy"])
        warnings = [f"# warning: {warning}" for warning in policy.report.get("warnings", [])]
        return shown(policy) | {"document": policy.document}, [
            f"# {line_of(policy)}",
            *warnings,
            policy.document,
        ]
