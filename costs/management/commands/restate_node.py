"""`manage.py restate_node NAME --from --to --reason`: bill a node's closed hours again, and say what moved."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from costs.api.nodes import RestatementSerializer
from costs.models import Node
from costs.nodes.restate import restate
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import Organisation


class Command(BaseCommand):
    help = "Bill the closed hours of a period again under the versions that are known now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--organisation", help="Slug; the only one when left out.")
        parser.add_argument("--from", dest="start", required=True, help="Date or ISO time.")
        parser.add_argument("--to", dest="end", help="Date or ISO time; now when left out.")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--dry-run", action="store_true", help="Say what would move; change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        node = find_node(options["name"], options["organisation"])
        try:
            row = restate(
                node=node, start=parse_time("from", options["start"], now()), end=parse_time("to", options["end"], now()),
                reason=options["reason"], actor="command line", dry_run=options["dry_run"],
            )  # fmt: skip
        except ValidationFailed as fault:
            raise CommandError(fault.message) from None
        except ValidationError as fault:
            raise CommandError(str(fault.detail)) from None
        show(self.stdout, RestatementSerializer(row).data)


def find_node(name: str, organisation: str | None) -> Node:
    """CommandError when there is none, or more than one organisation and no word which."""
    rows = Organisation.objects.filter(slug=organisation) if organisation else Organisation.objects.all()
    found = list(rows[:2])
    if len(found) != 1:
        raise CommandError(
            f"There is no organisation {organisation!r}." if organisation else "Name one with --organisation."
        )
    node = Node.objects.filter(organisation=found[0], name=name).first()
    if node is None:
        known = ", ".join(
            Node.objects.filter(organisation=found[0]).order_by("name").values_list("name", flat=True)
        )
        raise CommandError(f"There is no node {name!r}; known are {known or 'none'}.")
    return node


def show(stdout: Any, data: Any) -> None:
    stdout.write(json.dumps(data, default=str, ensure_ascii=False, indent=1))
