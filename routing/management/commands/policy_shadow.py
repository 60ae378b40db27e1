"""`manage.py policy_shadow start legal@2`, `… show legal@2`, `… stop legal@2`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from routing.management.policies import PolicyCommand, line_of, person_named, shown, version_named
from routing.services.shadows import report, start_shadow, stop_shadow
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Ask a version beside the live one on real requests; nobody is called by what it says."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["start", "stop", "show"])
        parser.add_argument("policy", help="An id, or org@3, legal@2.")
        parser.add_argument("--days", type=int, default=30)
        parser.add_argument("--by", help="User name.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        policy = version_named(organisation, options["policy"])
        if options["action"] == "show":
            told = report(policy, days=max(1, min(options["days"], 3650)))
            moves = [
                f"  {m['workload']}: {m['from'] or 'nobody'} → {m['to'] or 'nobody'}, {m['requests']} requests"
                for m in told["moves"]
            ]
            head = f"{told['sampled']} requests sampled, agree {told['agree']}, crossings {told['crossings']}"
            return told, [head, *moves]
        change = start_shadow if options["action"] == "start" else stop_shadow
        policy = change(policy=policy, user=person_named(organisation, options["by"]))
        return shown(policy), [line_of(policy)]
