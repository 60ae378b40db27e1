"""The catalogue: `vendors`, `vendors VENDOR`, `vendors VENDOR MODEL --key-env VAR [--apply]`, `vendors --prices [--apply]`."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.api.price_tools import change_as_json
from costs.management.organisation import add_organisation, organisation_named
from modelhub.catalogue.adding import add, plan, refresh_prices
from modelhub.catalogue.entries import vendor_named, vendors
from switchyard.core.errors import SwitchyardError


class Command(BaseCommand):
    help = "List vendors and servers, their models and list prices; add one as a deployment; compare prices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("vendor", nargs="?")
        parser.add_argument("model", nargs="?")
        parser.add_argument(
            "--name", default="", help="Of the deployment; made from vendor and model when left out."
        )
        parser.add_argument("--key-env", default="", help="The environment variable that holds the key.")
        parser.add_argument("--base-url", default="", help="In place of the catalogue's.")
        parser.add_argument(
            "--place", action="append", default=[], metavar="NAME=VALUE", help="Fills {NAME} of the URL."
        )
        parser.add_argument("--node", default="", help="The machine of a server of your own.")
        parser.add_argument(
            "--prices", action="store_true", help="Compare sheets in force with the catalogue."
        )
        parser.add_argument("--apply", action="store_true", help="Write it.")
        add_organisation(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["prices"]:
                self._prices(options)
            elif options["model"]:
                self._add(options)
            elif options["vendor"]:
                self._models(options["vendor"])
            else:
                for vendor in vendors():
                    self.stdout.write(
                        f"{vendor.slug}\t{vendor.kind}\t{vendor.base_url}\t{len(vendor.models)} models"
                    )
        except SwitchyardError as error:
            raise CommandError(error.message) from None

    def _models(self, slug: str) -> None:
        for row in vendor_named(slug).models:
            prices = "\t".join(f"{name} {amount}" for name, amount in row.prices.items())
            self.stdout.write(f"{row.model}\t{row.task}\t{prices}\t{row.told_source}")

    def _add(self, options: dict[str, Any]) -> None:
        places = dict(pair.partition("=")[::2] for pair in options["place"])
        wanted = plan(
            vendor=options["vendor"], model=options["model"], name=options["name"], places=places,
            base_url=options["base_url"],
        )  # fmt: skip
        for name, value in wanted.as_json().items():
            self.stdout.write(f"{name}\t{value}")
        if not options["apply"]:
            self.stdout.write("Nothing was written; --apply does.")
            return
        variable = options["key_env"]
        if variable and variable not in os.environ:
            raise CommandError(f"The environment has no variable {variable!r}.")
        row = add(
            organisation_id=organisation_named(options["organisation"]).pk, wanted=wanted, actor="command line",
            api_key=os.environ.get(variable, "") if variable else "", node=options["node"],
        )  # fmt: skip
        self.stdout.write(f"Added {row.name}. `manage.py probe_upstream {row.name}` asks what it supports.")

    def _prices(self, options: dict[str, Any]) -> None:
        organisation_id = organisation_named(options["organisation"]).pk
        diff = refresh_prices(organisation_id=organisation_id, actor="command line", apply=options["apply"])
        for line in diff.lines:
            self.stdout.write(f"{line.kind}\t{line.deployment}\t{line.model}")
            for change in map(change_as_json, line.changes):
                self.stdout.write(f"\t{change['name']}\t{change['old']} → {change['new']}")
        for refusal in diff.refused:
            self.stdout.write(f"refused\t{refusal.model}\t{refusal.reason}")
        ends = "Applied." if diff.applied else "Nothing was written; --apply does."
        self.stdout.write(f"{len(diff.pending)} sheets change. {ends}")
