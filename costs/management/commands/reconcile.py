"""A bill against the books: `manage.py reconcile ext-mini --from 2026-11-01 --to 2026-12-01 [--file bill.csv] [--correct]`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from costs.api.reconciliation import BillCheckSerializer
from costs.management.organisation import add_organisation, organisation_named
from costs.models import BillCheck, Node
from costs.reconciliation.service import reconcile_node, reconcile_usage
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd


class Command(BaseCommand):
    help = "Hold a vendor's usage bill, or a node's invoice, against the books; exit 1 when a gap is left."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="A deployment, or a node (then --file is its invoice).")
        add_organisation(parser)
        parser.add_argument("--from", dest="start", help="Date or ISO time; a day before --to when left out.")
        parser.add_argument("--to", dest="end", help="Date or ISO time; now when left out.")
        parser.add_argument(
            "--file", type=Path, help="The bill; fetched from the deployment's server when left out."
        )
        parser.add_argument("--format", choices=["auto", "json", "csv"], default="auto")
        parser.add_argument("--currency", default="", help="Of a bill that doesn't say its own.")
        parser.add_argument("--correct", action="store_true", help="Correct what is ours; claims stay open.")
        parser.add_argument(
            "--settle-minutes",
            type=int,
            default=15,
            help="Younger calls aren't corrected: their events may be on the road.",
        )
        parser.add_argument("--json", action="store_true", help="The whole check as REST shows it.")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        try:
            end = parse_time("to", options["end"], now())
            start = parse_time("from", options["start"], end - timedelta(days=1))
            check = self._check(organisation.pk, options, start, end)
        except ValidationError as error:
            raise CommandError(str(error.detail)) from None
        except SwitchyardError as error:
            raise CommandError(error.message) from None
        self._tell(check, options["json"])
        if check.left_nusd:
            raise CommandError(
                f"{format_usd(check.left_nusd)} USD are left between bill and books.", returncode=1
            )

    def _check(self, organisation_id: int, options: dict[str, Any], start: Any, end: Any) -> BillCheck:
        path: Path | None = options["file"]
        try:
            text = path.read_text("utf-8") if path else None
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} can't be read: {error}.") from None
        shared = {
            "organisation_id": organisation_id, "start": start, "end": end, "currency": options["currency"].upper(),
            "actor": "command line", "source": path.name if path else "",
        }  # fmt: skip
        if (
            text is not None
            and Node.objects.filter(organisation_id=organisation_id, name=options["name"]).exists()
        ):
            return reconcile_node(node=options["name"], text=text, **shared)
        return reconcile_usage(
            deployment=options["name"], text=text, format=options["format"],
            correct="all" if options["correct"] else "none", settle=timedelta(minutes=options["settle_minutes"]), **shared,
        )  # fmt: skip

    def _tell(self, check: BillCheck, as_json: bool) -> None:
        if as_json:
            self.stdout.write(
                json.dumps(BillCheckSerializer(check).data, default=str, ensure_ascii=False, indent=1)
            )
            return
        told = {
            "billed": check.billed_nusd,
            "booked": check.booked_nusd,
            "gap": check.gap_nusd,
            "left": check.left_nusd,
        }
        self.stdout.write(
            f"{check.name}: " + ", ".join(f"{n} {format_usd(v)}" for n, v in told.items()) + " USD"
        )
        self.stdout.write(
            f"{check.rows} lines, {check.corrections} corrections, check {check.pk}; {check.source}"
        )
        for row in check.findings:
            cells = [row["day"], row["model"], row["lob"] or "–", row["cause"], row["detail"], row["state"]]
            samples = " ".join(row["samples"][:2])
            self.stdout.write("  " + "  ".join(cells) + f"  {format_usd(row['gap_nusd'])} USD  {samples}")
