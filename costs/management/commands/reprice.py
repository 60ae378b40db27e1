"""History by another sheet: `manage.py reprice ext-mini --set input_usd_per_mtok=0.1 --set output_usd_per_mtok=0.4`."""

from __future__ import annotations

import csv
import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.http import Http404
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from costs.api.price_tools import Reprice, preview, preview_as_json
from costs.management.organisation import organisation_named
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError
from switchyard.tenancy.querysets import Scope


class Command(BaseCommand):
    help = "What past calls would have cost by another price sheet. Nothing in the books changes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "deployments", nargs="*", help="Whose calls; those of --price's own when left out."
        )
        parser.add_argument("--price", type=int, help="Id of a kept sheet.")
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE",
            help="A price of a draft, by its name in REST; tiers as JSON.",
        )  # fmt: skip
        parser.add_argument(
            "--from", dest="start", help="Date or ISO time; 30 days before --to when left out."
        )
        parser.add_argument("--to", dest="end", help="Date or ISO time; now when left out.")
        parser.add_argument("--lob")
        parser.add_argument("--organisation", help="Slug; the only one when left out.")
        parser.add_argument(
            "--csv", action="store_true", help="Rows by deployment and line of business as CSV."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        try:
            end = parse_time("to", options["end"], now())
            start = parse_time("from", options["start"], end - timedelta(days=30))
            form = Reprice(data=self._body(options) | {"from": start, "to": end})
            form.is_valid(raise_exception=True)
            scope = Scope(organisation.pk, None, None, frozenset({"finance"}))
            body = preview_as_json(preview(scope=scope, values=form.validated_data))
        except Http404:
            raise CommandError(f"There is no price {options['price']}.") from None
        except SwitchyardError as error:
            raise CommandError(error.message) from None
        except ValidationError as error:
            raise CommandError(str(error.detail)) from None
        if options["csv"]:
            writer = csv.DictWriter(self.stdout, list(body["rows"][0]) if body["rows"] else ["key"])
            writer.writeheader()
            writer.writerows(body["rows"])
        else:
            self.stdout.write(json.dumps(body, default=str, ensure_ascii=False, indent=1))

    @staticmethod
    def _body(options: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {
            name: options[name] for name in ("deployments", "price", "lob") if options[name]
        }
        prices: dict[str, Any] = {}
        for pair in options["set"]:
            name, _, value = pair.partition("=")
            try:
                prices[name] = json.loads(value) if name == "tiers" else value
            except json.JSONDecodeError:
                raise CommandError('Write tiers as JSON: [{"above_tokens_in": 200000, …}].') from None
        return body | ({"prices": prices} if prices else {})
