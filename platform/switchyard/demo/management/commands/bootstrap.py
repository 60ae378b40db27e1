"""`manage.py bootstrap`: tables, the administrator, and the demonstration company; again and again without harm."""

import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from switchyard.supervisor.home import Home, read_json, write_private_json


class Command(BaseCommand):
    help = "Create the demonstration company, or with --empty only the organisation and its administrator."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--migrate", action="store_true", help="Bring the tables up to date first.")
        parser.add_argument("--empty", action="store_true", help="No demonstration company.")
        parser.add_argument("--private-url", default="http://127.0.0.1:9001/v1")
        parser.add_argument("--external-url", default="http://127.0.0.1:9002/v1")

    def handle(self, *args: Any, **options: Any) -> None:
        home = Home(Path(settings.HOME))
        home.prepare()
        if options["migrate"]:
            call_command("migrate", verbosity=0, interactive=False)
        from switchyard.demo import bootstrap, company, examples, schedule

        kept = read_json(home.secrets_json)
        organisation = bootstrap.ensure_organisation(*company.ORGANISATION)
        schedule.ensure_schedule()
        kept["admin"] = bootstrap.ensure_accounts(organisation, kept)
        write_private_json(home.secrets_json, kept)  # before what may fail: a password is told only once
        if not options["empty"]:
            upstreams = {
                "private": bootstrap.Upstream(
                    options["private_url"], os.environ.get("SWITCHYARD_PRIVATE_KEY", "")
                ),
                "external": bootstrap.Upstream(
                    options["external_url"], os.environ.get("SWITCHYARD_EXTERNAL_KEY", "")
                ),
            }
            if organisation.lobs.exists():
                changed = bootstrap.refresh_upstreams(organisation, upstreams)
                self.stdout.write(f"company stands; {changed} deployments moved")
            else:
                bootstrap.create_company(organisation, upstreams)
                self.stdout.write("company created")
            kept["keys"] = bootstrap.ensure_keys(organisation, kept)
            kept["viewer"] = bootstrap.ensure_viewer(organisation, kept)
            if not home.examples_json.exists():
                text = json.dumps({"examples": examples.all_examples()}, ensure_ascii=False)
                home.examples_json.write_text(text, "utf-8")
        write_private_json(home.secrets_json, kept)
