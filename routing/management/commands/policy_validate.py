"""`manage.py policy_validate legal@2` or `policy_validate --file policy.yml --lob legal`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from routing.management.policies import (
    PolicyCommand,
    hop_lines,
    line_of,
    lob_named,
    located,
    person_named,
    shown,
    text_of,
    version_named,
)
from routing.services.drafts import judge
from routing.services.policies import validate
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Prove a saved version against the company as it is now, or check a file without saving it."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("policy", nargs="?", help="An id, or org@3, legal@2.")
        parser.add_argument("--file", help="A document that isn't saved; - reads standard input.")
        parser.add_argument("--lob", help="With --file: whose document it would be.")
        parser.add_argument("--by", help="User name.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        if bool(options["policy"]) == bool(options["file"]):
            raise CommandError("Name a version, or a --file.")
        if options["policy"]:
            policy = validate(
                policy=version_named(organisation, options["policy"]), user=person_named(organisation, options["by"])
            )  # fmt: skip
            return shown(policy), [
                line_of(policy),
                f"{policy.report['cases']} cases",
                *policy.report["warnings"],
                *hop_lines(policy.report["hops"]),
            ]
        lob = lob_named(organisation, options["lob"])
        verdict = judge(organisation=organisation, lob=lob, document=text_of(options["file"]))
        if verdict.faults and not options["json"]:
            raise ValidationFailed(located(verdict.faults[0]), verdict.faults)
        return verdict.as_json(), [
            f"Holds: {verdict.rules} rules, {verdict.cases} cases.",
            *verdict.warnings,
            *hop_lines(verdict.hops),
        ]
