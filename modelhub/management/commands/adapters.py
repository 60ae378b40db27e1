"""`manage.py adapters [--organisation …] [--agreement N]`: what fine-tuned models share, and which are nearly the same."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modelhub.selectors.fragmentation import agreement_of, fragmentation
from modelhub.services.validation import has_validation_rows, validation_rows
from switchyard.tenancy.models import Organisation
from switchyard.tenancy.querysets import Scope


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organisation", help="its slug; the only one where it is left out")
        parser.add_argument(
            "--agreement", type=int, default=0, metavar="N", help="run pairs on N validation rows"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for family in fragmentation(self._scope(options["organisation"])):
            self.stdout.write(
                f"{family.base}: {len(family.members)} models share {family.shared_bytes:,} bytes, {family.own_bytes:,} are "
                f"their own; {family.saved_bytes:,} bytes saved against a trunk each"
            )
            for one in family.members:
                self.stdout.write(
                    f"  {one.name:40} {one.method:7} {one.version.stage:10} {one.own_bytes:>12,} bytes"
                )
            for pair in family.alike:
                words = f"  {pair.first.name} and {pair.second.name}: cosine {pair.cosine:.3f}"
                workload = pair.first.version.workload
                if options["agreement"] > 0 and has_validation_rows(workload):
                    texts = validation_rows(workload).inputs[: options["agreement"]]
                    words += f", {agreement_of(pair, texts):.1%} of {len(texts)} rows answered alike"
                self.stdout.write(words)

    def _scope(self, slug: str | None) -> Scope:
        rows = Organisation.objects.filter(slug=slug) if slug else Organisation.objects.all()
        found = list(rows[:2])
        if len(found) != 1:
            raise CommandError("Name one organisation by its slug: --organisation …")
        return Scope(found[0].pk, None, None, frozenset())
