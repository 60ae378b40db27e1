"""`manage.py node_cost NAME`: the versions of a node's cost, or with --set a new one."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from costs.api.nodes import ChangeSerializer, NodeCostSerializer
from costs.management.commands.restate_node import find_node, show
from costs.nodes.changes import change_cost
from costs.nodes.versions import COST_FIELDS
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed


class Command(BaseCommand):
    help = "List the dated versions of a node's cost; with --set write a new one (a past --from bills its hours again)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--organisation", help="Slug; the only one when left out.")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help=f"One of {', '.join(COST_FIELDS)}.",
        )
        parser.add_argument("--from", dest="start", help="Date or ISO time; now when left out.")
        parser.add_argument("--reason", default="")
        parser.add_argument("--dry-run", action="store_true", help="Say what would move; change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        node = find_node(options["name"], options["organisation"])
        if not options["set"]:
            rows = node.costs.order_by("-created_at", "-pk")
            return show(self.stdout, NodeCostSerializer(rows, many=True).data)
        try:
            done = change_cost(
                node=node, values=dict(_pair(text) for text in options["set"]), reason=options["reason"],
                valid_from=parse_time("from", options["start"], now()), actor="command line", dry_run=options["dry_run"],
            )  # fmt: skip
        except ValidationFailed as fault:
            raise CommandError("\n".join(error["message"] for error in fault.errors)) from None
        except ValidationError as fault:
            raise CommandError(str(fault.detail)) from None
        return show(self.stdout, ChangeSerializer(done).data)


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"{text!r}: write FIELD=VALUE, or FIELD= to clear it.")
    if name == "tariff":
        try:
            return name, json.loads(value or "[]")
        except ValueError:
            raise CommandError(f"A tariff is JSON, a list of bands; {value!r} is none.") from None
    return name, value or None
