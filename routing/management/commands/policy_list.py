"""`manage.py policy_list [--lob legal] [--state live]`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from routing.management.policies import PolicyCommand, line_of, lob_named, shown
from routing.models import POLICY_STATES, Policy
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "List versions of policies, the newest of each scope first."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("--lob", help="Slug; all scopes when left out.")
        parser.add_argument("--state", choices=POLICY_STATES)

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        rows = Policy.objects.filter(organisation=organisation).select_related("lob", "created_by")
        if options["lob"]:
            rows = rows.filter(lob=lob_named(organisation, options["lob"]))
        if options["state"]:
            rows = rows.filter(state=options["state"])
        found = list(rows.order_by("lob__slug", "-version"))
        return [shown(row) for row in found], [line_of(row) for row in found] or ["No versions."]
