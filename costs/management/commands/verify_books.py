"""Verify the books: `manage.py verify_books` ends with 1 and a sentence for each thing that is wrong."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from costs.books.checking import checks_of
from costs.books.reservations import verify_counters
from costs.books.verification import verify_books
from costs.budgets import client
from costs.management.organisation import add_organisation, organisation_named
from switchyard.tenancy.models import Organisation


class Command(BaseCommand):
    help = "Hold the ledger against attempts, balances, closed periods and Valkey's counters; 1 when something is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organisation(parser, several=True)
        parser.add_argument("--json", action="store_true", help="The findings as a JSON list.")
        parser.add_argument(
            "--last", action="store_true", help="What the last check that ran as a job found."
        )
        parser.add_argument("--no-counters", action="store_true", help="Leave Valkey's counters out.")

    def handle(self, *args: Any, **options: Any) -> None:
        slug = options["organisation"]
        organisations = [organisation_named(slug)] if slug else list(Organisation.objects.order_by("slug"))
        if options["last"]:
            return self._tell(options, [line for o in organisations for line in self._last(o)])
        findings = [
            f"{organisation.slug}: {finding}"
            for organisation in organisations
            for finding in verify_books(organisation.pk)
        ]
        if not options["no_counters"]:
            findings += self._counters(organisations)
        return self._tell(options, findings)

    def _tell(self, options: dict[str, Any], findings: list[str]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(findings, ensure_ascii=False))
        else:
            self.stdout.write("\n".join(findings) or _("The books hold."))
        if findings:
            sys.exit(1)

    @staticmethod
    def _last(organisation: Organisation) -> list[str]:
        """CommandError where none has ended yet."""
        job = checks_of(organisation.pk).filter(state="succeeded").order_by("-finished_at").first()
        if job is None:
            raise CommandError(f"No check of {organisation.slug}'s books has ended yet.")
        return [
            f"{organisation.slug}: {job.finished_at:%Y-%m-%d %H:%M} UTC: {f}" for f in job.result["findings"]
        ]

    @staticmethod
    def _counters(organisations: list[Organisation]) -> list[str]:
        connection = client()
        try:
            return [
                f"{o.slug}: {finding}" for o in organisations for finding in verify_counters(o.pk, connection)
            ]
        except redis.RedisError as error:
            return [_("Valkey's counters can't be compared: %(error)s") % {"error": error}]
        finally:
            connection.close()
