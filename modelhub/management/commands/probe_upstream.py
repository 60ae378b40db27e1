"""What an endpoint supports: `manage.py probe_upstream NAME` (kept on the deployment) or `probe_upstream URL --model M`."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.management.organisation import organisation_named
from modelhub.models import Deployment
from modelhub.services.probing import Target, probe, probe_deployment
from modelhub.services.upstream_headers import checked_headers
from switchyard.core.errors import SwitchyardError


class Command(BaseCommand):
    help = "Ask an OpenAI-shaped server what it supports; it costs a few dozen tokens there, which the books don't hold."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "target", help="A deployment's name, or a base URL (ends in /v1 for most servers)."
        )
        parser.add_argument(
            "--model", default="", help="With a URL: the model to ask; else the first it lists."
        )
        parser.add_argument(
            "--key-env", default="", help="With a URL: the environment variable that holds the key."
        )
        parser.add_argument(
            "--header", action="append", default=[], metavar="NAME=VARIABLE",
            help="With a URL: a header whose value is in that environment variable.",
        )  # fmt: skip
        parser.add_argument("--organisation", help="Slug; the only one when left out.")
        parser.add_argument("--json", action="store_true", help="Print what was found as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            told = self._url(options) if "://" in options["target"] else self._deployment(options)
        except SwitchyardError as error:
            raise CommandError(error.message) from None
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=1))
            return
        self.stdout.write(f"model\t{told['model']}")
        for name, found in told["found"].items():
            self.stdout.write("\t".join(filter(None, (name, found["support"], found["why"]))))
        used = told["used"]
        self.stdout.write(
            f"used\t{used['calls']} calls, {used['tokens_in']} tokens in, {used['tokens_out']} out"
        )
        for warning in told.get("warnings", ()):
            self.stderr.write(f"warning: {warning}")

    def _url(self, options: dict[str, Any]) -> dict[str, Any]:
        key = _variable(options["key_env"]) if options["key_env"] else ""
        headers = {}
        for pair in options["header"]:
            name, sign, variable = pair.partition("=")
            if not sign:
                raise CommandError(f"{pair!r} is no NAME=VARIABLE.")
            headers[name] = _variable(variable)
        return probe(Target(options["target"], options["model"], key, checked_headers(headers))).as_json()

    def _deployment(self, options: dict[str, Any]) -> dict[str, Any]:
        organisation = organisation_named(options["organisation"])
        row = Deployment.objects.filter(organisation=organisation, name=options["target"]).first()
        if row is None:
            raise CommandError(f"There is no deployment {options['target']!r}. Name one, or write a URL.")
        return probe_deployment(row)


def _variable(name: str) -> str:
    """Secrets come from the environment: an argument would stand in the list of processes."""
    if name not in os.environ:
        raise CommandError(f"The environment has no variable {name!r}.")
    return os.environ[name]
