"""How to start vLLM or SGLang for a deployment: `manage.py launch_spec my-llm --engine vllm --tensor-parallel 8`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.management.organisation import add_organisation, organisation_named
from modelhub.models import Deployment
from modelhub.selectors.placements import placement_of
from modelhub.services.launching import DTYPES, ENGINES, Hardware, launch_spec
from switchyard.core.errors import SwitchyardError
from switchyard.tenancy.querysets import Scope

SHOWN = ("command", "compose", "helm", "json")


class Command(BaseCommand):
    help = "A launch command, a compose service or Helm values of a language-model server, from its deployment's row."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("deployment")
        parser.add_argument("--engine", choices=ENGINES, required=True)
        add_organisation(parser)
        parser.add_argument("--as", dest="shown", choices=SHOWN, default="command")
        parser.add_argument("--path", default="", help="Folder or hub name of the weights.")
        parser.add_argument("--tensor-parallel", type=int, default=1)
        parser.add_argument("--data-parallel", type=int, default=1)
        parser.add_argument("--expert-parallel", action="store_true")
        parser.add_argument(
            "--redundant",
            type=int,
            help="Redundant experts, placed by measured load; takes --expert-parallel.",
        )
        parser.add_argument("--dtype", choices=DTYPES, default="auto")
        parser.add_argument("--quantisation", default="")
        parser.add_argument("--max-model-len", type=int)
        parser.add_argument("--memory-share", type=float, default=0.9)
        parser.add_argument("--max-lora-rank", type=int, default=16)

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        deployment = Deployment.objects.filter(name=options["deployment"], organisation=organisation).first()
        if deployment is None:
            raise CommandError(f"{organisation.slug} has no deployment {options['deployment']!r}.")
        hardware = Hardware(**{name: options[name] for name in Hardware.__dataclass_fields__})
        devices = hardware.tensor_parallel * hardware.data_parallel
        try:
            plans = placement_of(
                Scope(organisation.pk, None, None, frozenset({"operator"})),
                deployment.model,
                devices,
                options["redundant"],
            )
            spec = launch_spec(deployment, options["engine"], hardware, plans)
        except SwitchyardError as error:
            raise CommandError(error.message) from None
        told = spec.as_dict()
        self.stdout.write(
            json.dumps(told, indent=1) if options["shown"] == "json" else told[options["shown"]]
        )
        for note in spec.notes:
            self.stderr.write(note)
