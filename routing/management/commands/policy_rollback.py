"""`manage.py policy_rollback [--lob legal] --by paul`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from routing.management.policies import PolicyCommand, line_of, lob_named, person_named, shown
from routing.services.policies import rollback
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Put the version before the live one back, for all of the traffic."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("--lob", help="Slug; the organisation's document when left out.")
        parser.add_argument("--by", help="User name.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        lob = lob_named(organisation, options["lob"])
        policy = rollback(organisation=organisation, lob=lob, user=person_named(organisation, options["by"]))
        return shown(policy), [line_of(policy)]
