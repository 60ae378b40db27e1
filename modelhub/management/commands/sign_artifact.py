"""Sign what was trained here by hand: `manage.py sign_artifact txt-base` or `… txt-base/support-intent@ft-1`."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from modelhub import artifacts
from modelhub.services.signatures import sign_artifact


class Command(BaseCommand):
    help = "Sign a model or a head under the home, so that servers with SERVING_SIGNATURES=required take it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("artifact", help="A model id, or <model>/<head>@<version>.")

    def handle(self, *args: Any, **options: Any) -> None:
        model, _, head = options["artifact"].partition("/")
        try:
            folder = artifacts.find_head(model, head) if head else artifacts.find(model)
            if folder.is_relative_to(artifacts.SHIPPED):
                raise CommandError(f"{model} ships with the code and needs no signature.")
            sign_artifact(folder)
        except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"signed {folder}")
