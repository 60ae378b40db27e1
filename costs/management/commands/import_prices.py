"""Prices from a file: `manage.py import_prices prices.csv --source "llm-prices, 2026-08-05" [--apply]`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from costs.api.price_tools import change_as_json
from costs.management.organisation import organisation_named
from costs.sheets.book import FORMATS, decode
from costs.sheets.imports import Diff, diff_prices, import_prices
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError, ValidationFailed


class Command(BaseCommand):
    help = "Show what a price file would change, or apply it: the whole of it or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--format", choices=FORMATS, help="By the file's ending when left out: .json is litellm."
        )
        parser.add_argument("--source", required=True, help="Who published it, and when.")
        parser.add_argument(
            "--from", dest="begins", help="Date or ISO time from which on it holds; now when left out."
        )
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="MODEL=DEPLOYMENT",
            help="What a vendor's model prices here.",
        )
        parser.add_argument("--organisation", help="Slug; the only one when left out.")
        parser.add_argument("--apply", action="store_true", help="Write it.")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        named: dict[str, list[str]] = {}
        for pair in options["map"]:
            model, sign, name = pair.rpartition("=")
            if not sign:
                raise CommandError(f"{pair!r} is no MODEL=DEPLOYMENT.")
            named.setdefault(model, []).append(name)
        try:
            asked: dict[str, Any] = {
                "organisation_id": organisation_named(options["organisation"]).pk, "text": decode(path.read_bytes()),
                "kind": options["format"] or ("litellm" if path.suffix == ".json" else "csv"), "source": options["source"],
                "begins": parse_time("from", options["begins"], now()) if options["begins"] else None, "named": named,
            }  # fmt: skip
            diff = import_prices(actor="command line", **asked) if options["apply"] else diff_prices(**asked)
        except OSError as error:
            raise CommandError(f"{path} can't be read: {error.strerror}.") from None
        except ValidationFailed as error:
            raise CommandError("\n".join(_where(e) for e in error.errors)) from None
        except (SwitchyardError, ValidationError) as error:
            raise CommandError(str(error)) from None
        self._print(diff)

    def _print(self, diff: Diff) -> None:
        for line in diff.lines:
            self.stdout.write(f"{line.kind}\t{line.deployment}\t{line.model}\tfrom {line.begins.isoformat()}")
            for change in map(change_as_json, line.changes):
                percent = f"\t{change['percent']} %" if change["percent"] else ""
                self.stdout.write(f"\t{change['name']}\t{change['old']} → {change['new']}{percent}")
            if line.ignored:
                self.stdout.write(f"\tnot taken over: {', '.join(line.ignored)}")
        for refusal in diff.refused:
            self.stdout.write(f"refused\tline {refusal.line}\t{refusal.model}\t{refusal.reason}")
        if diff.unnamed:
            self.stdout.write(f"The file says nothing of {', '.join(diff.unnamed)}.")
        ends = "Applied." if diff.applied else "Nothing was written; --apply does."
        self.stdout.write(
            f"{len(diff.pending)} sheets change, {diff.others} rows are of models nobody uses here. {ends}"
        )


def _where(error: dict[str, Any]) -> str:
    line = f"line {error['line']}: " if error.get("line") else ""
    return f"{line}{error['message']}"
