"""`manage.py policy_publish legal@2 --percent 10 --by paul`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from routing.management.policies import PolicyCommand, line_of, person_named, shown, version_named
from routing.services.policies import publish
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Make a version live for all of the traffic or a share of it, in every process within 2 seconds."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("policy", help="An id, or org@3, legal@2.")
        parser.add_argument("--percent", type=int, default=100)
        parser.add_argument(
            "--expected", help="Refuse when another version than this one is live; '' for none."
        )
        parser.add_argument("--by", help="User name of who publishes; needed where four eyes are on.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        user = person_named(organisation, options["by"], needed=organisation.four_eyes)
        expected = options["expected"]
        policy = publish(
            policy=version_named(organisation, options["policy"]), user=user, percent=options["percent"],
            expected=version_named(organisation, expected).pk if expected else expected,
        )  # fmt: skip
        return shown(policy), [line_of(policy)]
