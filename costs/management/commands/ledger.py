"""Transfers on the command line: `manage.py ledger --from 2026-11-01 --to 2026-12-01 --account expense:lob:legal --csv`."""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.books.browsing import LedgerFilter, newest_entries
from costs.books.fiscal import month_start
from costs.exports.focus import safe_text
from costs.management.organisation import add_organisation, check_line, organisation_named, period_of
from costs.models import PURPOSES, LedgerEntry
from switchyard.core.money import format_usd
from switchyard.tenancy.querysets import Scope

COLUMNS = (
    "id", "event_id", "at", "recorded_at", "debit", "credit", "amount_usd", "lob", "application", "workload", "purpose",
    "request_id", "attempt", "job_id", "memo", "price_version", "reverses_id", "origin",
)  # fmt: skip
SHOWN = ("at", "debit", "credit", "amount_usd", "purpose", "request_id", "memo")
AT_ONCE = 1_000


class Command(BaseCommand):
    help = "Print transfers of the ledger, newest first: the rows of the page Ledger and of REST's /ledger."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organisation(parser)
        parser.add_argument(
            "--from", dest="start", help="Date or ISO time; the month's first day when left out."
        )
        parser.add_argument("--to", dest="end", help="Date or ISO time, itself not in it; now when left out.")
        parser.add_argument("--lob")
        parser.add_argument("--account", default="", help="On either side, such as payable:ext-mini.")
        parser.add_argument("--purpose", default="", choices=PURPOSES)
        parser.add_argument("--limit", type=int, help="At most so many; all of them when left out.")
        parser.add_argument("--csv", action="store_true", help="Every column.")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        start, end = period_of(options, month_start)
        if start > end:
            raise CommandError("The period ends before it begins.")
        if options["lob"]:
            check_line(organisation, options["lob"])
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError(f"--limit is {options['limit']}; expected 1 or more.")
        asked = LedgerFilter(start, end, options["lob"] or "", options["account"], options["purpose"])
        scope = Scope(organisation.pk, None, None, frozenset({"finance"}))
        columns = COLUMNS if options["csv"] else SHOWN
        writer = csv.writer(self.stdout, delimiter="," if options["csv"] else "\t", lineterminator="\n")
        writer.writerow(columns)
        for entry in _entries(scope, asked, options["limit"]):
            writer.writerow([_cell(entry, name) for name in columns])


def _entries(scope: Scope, asked: LedgerFilter, limit: int | None) -> Iterator[LedgerEntry]:
    """A thousand at a time, each from behind the last one on."""
    mark, left = None, limit
    while left is None or left > 0:
        found = newest_entries(scope, asked, AT_ONCE if left is None else min(left, AT_ONCE), mark)
        yield from found
        if len(found) < AT_ONCE:
            return
        mark, left = (found[-1].at, found[-1].pk), None if left is None else left - len(found)


def _cell(entry: LedgerEntry, name: str) -> Any:
    if name == "amount_usd":
        return format_usd(entry.amount_nusd)
    value = getattr(entry, name)
    if value is None:
        return ""
    return value.isoformat() if name in ("at", "recorded_at") else safe_text(str(value))
