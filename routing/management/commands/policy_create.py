"""`manage.py policy_create policy.yml --lob legal --note why --by ann`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from routing.management.policies import PolicyCommand, line_of, lob_named, person_named, shown, text_of
from routing.services.policies import create_draft
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Save a document as a draft; what is wrong is told with line and column, and the request that proves it."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="The document; - reads standard input.")
        parser.add_argument("--lob", help="Slug; the organisation's document when left out.")
        parser.add_argument("--note", default="", help="Why this version.")
        parser.add_argument("--by", help="User name of its author.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        policy = create_draft(
            organisation=organisation, lob=lob_named(organisation, options["lob"]), document=text_of(options["file"]),
            user=person_named(organisation, options["by"], needed=organisation.four_eyes), note=options["note"][:300],
        )  # fmt: skip
        return shown(policy), [line_of(policy), *policy.report["warnings"]]
