"""Alerts on the command line: `manage.py alerts list`, `manage.py alerts resolve 17 --as fiona`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.alerts import resolve
from costs.management.organisation import add_organisation, check_line, organisation_named
from costs.models import Alert
from switchyard.tenancy.models import User
from switchyard.tenancy.querysets import scope_of

RESOLVERS = ("operator", "finance")


class Command(BaseCommand):
    help = (
        "List what money or routing wants a person to see, newest first, or say that somebody has seen to it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        does = parser.add_subparsers(dest="action", required=True)
        shows = does.add_parser("list")
        add_organisation(shows)
        shows.add_argument("--lob")
        shows.add_argument("--kind", help="Such as budget_limit or event_conflict.")
        shows.add_argument("--all", action="store_true", help="Those that somebody has seen to as well.")
        settles = does.add_parser("resolve")
        settles.add_argument("alert", type=int)
        settles.add_argument("--as", dest="person", required=True, help="User name of who has seen to it.")

    def handle(self, *args: Any, **options: Any) -> None:
        for alert in self._resolved(options) if options["action"] == "resolve" else self._listed(options):
            when = f"{alert.resolved_at:%Y-%m-%d %H:%M}" if alert.resolved_at else "open"
            told = (
                str(alert.pk),
                f"{alert.at:%Y-%m-%d %H:%M}",
                alert.kind,
                alert.lob or "-",
                when,
                alert.message,
            )
            self.stdout.write("\t".join((*told, *([alert.cause] if alert.cause else []))))

    def _listed(self, options: dict[str, Any]) -> list[Alert]:
        organisation = organisation_named(options["organisation"])
        rows = Alert.objects.filter(organisation_id=organisation.pk)
        if options["lob"]:
            check_line(organisation, options["lob"])
            rows = rows.filter(lob=options["lob"])
        rows = rows.filter(kind=options["kind"]) if options["kind"] else rows
        return list(rows if options["all"] else rows.filter(resolved_at=None))

    def _resolved(self, options: dict[str, Any]) -> list[Alert]:
        user = User.objects.filter(username=options["person"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['person']!r}.")
        rows = Alert.objects.for_tenant(scope_of(user).narrowed(*RESOLVERS))
        alert = rows.filter(pk=options["alert"]).first()
        if alert is None:
            raise CommandError(
                f"There is no alert {options['alert']}, or it is not {user.username}'s to resolve."
            )
        return [resolve(alert=alert, user=user)]
