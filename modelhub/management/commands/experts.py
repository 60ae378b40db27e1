"""A model's experts on the command line: `manage.py experts txt-base --devices 4 --redundant 4`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.management.organisation import add_organisation, organisation_named
from modelhub.api.experts import summary
from modelhub.models.activation import SOURCES
from modelhub.selectors.experts import expert_use, models_logged
from modelhub.services.activation import collect
from switchyard.core.clock import now
from switchyard.tenancy.querysets import Scope


class Command(BaseCommand):
    help = "Hot, cold and redundant experts of a model, and a placement, as JSON: the same figures as REST's experts/<model>."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", nargs="?", help="Left out: the models that are logged.")
        add_organisation(parser)
        parser.add_argument(
            "--from", dest="start", type=date.fromisoformat, help="Day; 13 days before --to when left out."
        )
        parser.add_argument(
            "--to", dest="end", type=date.fromisoformat, help="Day, included; today when left out."
        )
        parser.add_argument("--lob")
        parser.add_argument("--source", choices=SOURCES, default="serving")
        parser.add_argument("--devices", type=int, default=2)
        parser.add_argument("--redundant", type=int, default=0, help="Replicas of hot experts in all.")
        parser.add_argument("--fetch", action="store_true", help="Fetch the servers' counts first.")

    def handle(self, *args: Any, **options: Any) -> None:
        scope = Scope(
            organisation_named(options["organisation"]).pk, None, None, frozenset({"model_engineer"})
        )
        if options["fetch"] and scope.organisation_id is not None:
            self.stderr.write(f"{collect(scope.organisation_id)} windows stored.")
        if not options["model"]:
            self.stdout.write("\n".join(models_logged(scope)) or "Nothing has been counted yet.")
            return
        end = options["end"] or now().date()
        start = options["start"] or end - timedelta(days=13)
        use = expert_use(
            scope=scope,
            model=options["model"],
            start=start,
            end=end,
            lob=options["lob"],
            source=options["source"],
        )
        if use is None:
            raise CommandError(
                f"Nothing was counted of {options['model']!r} from {start} to {end} ({options['source']})."
            )
        try:
            found = summary(use, start, end, options["devices"], options["redundant"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(json.dumps(found, default=str, indent=1))
