"""Where alerts go, on the command line: `manage.py alert_targets add email money@legal.example --lob legal`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.management.organisation import add_organisation, organisation_named
from costs.models import AlertDelivery, AlertTarget
from costs.notify import outbox, targets
from switchyard.core.errors import SwitchyardError
from switchyard.tenancy.models import LineOfBusiness, Organisation


class Command(BaseCommand):
    help = "List webhooks and addresses that alerts go to; add, try out, switch or remove one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organisation(parser)
        does = parser.add_subparsers(dest="does", required=True)
        does.add_parser("list")
        add = does.add_parser("add")
        add.add_argument("kind", choices=targets.KINDS)
        add.add_argument("address")
        add.add_argument("--lob", help="Of one line of business; the organisation's when left out.")
        add.add_argument("--kinds", nargs="*", default=[], help="Kinds of alert; all when left out.")
        add.add_argument(
            "--secret", default="", help="Signs a webhook's messages; made for you when left out."
        )
        test = does.add_parser("test", help="Send it a test alert now, and say what became of it.")
        test.add_argument("target", type=int)
        for action in ("pause", "resume", "remove"):
            does.add_parser(action).add_argument("target", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        try:
            getattr(self, f"_{options['does']}")(organisation, options)
        except SwitchyardError as error:
            raise CommandError(error.message) from None

    def _list(self, organisation: Organisation, options: dict[str, Any]) -> None:
        rows = AlertTarget.objects.filter(organisation=organisation).select_related("lob").order_by("pk")
        self.stdout.write(json.dumps([_shown(row) for row in rows], ensure_ascii=False, indent=1))

    def _add(self, organisation: Organisation, options: dict[str, Any]) -> None:
        """The secret that was made for a webhook is told here, and never again."""
        slug = options["lob"]
        lob = LineOfBusiness.objects.filter(organisation=organisation, slug=slug).first() if slug else None
        if slug and lob is None:
            raise CommandError(f"There is no line of business {slug!r}.")
        target, secret = targets.create_target(
            organisation_id=organisation.pk, lob=lob, kind=options["kind"], address=options["address"], user=None,
            secret=options["secret"], kinds=options["kinds"],
        )  # fmt: skip
        told = {"secret": secret} if secret and not options["secret"] else {}
        self.stdout.write(json.dumps(_shown(target) | told, ensure_ascii=False, indent=1))

    def _test(self, organisation: Organisation, options: dict[str, Any]) -> None:
        delivery = targets.send_test(target=_found(organisation, options), user=None)
        outbox.send_due()
        delivery = AlertDelivery.objects.get(pk=delivery.pk)
        if delivery.state != "sent":
            raise CommandError(f"The test alert has not arrived yet: {delivery.error or delivery.state}")
        self.stdout.write(f"The test alert was sent to {delivery.target.address}.")

    def _pause(self, organisation: Organisation, options: dict[str, Any]) -> None:
        self._switch(organisation, options, active=False)

    def _resume(self, organisation: Organisation, options: dict[str, Any]) -> None:
        self._switch(organisation, options, active=True)

    def _switch(self, organisation: Organisation, options: dict[str, Any], *, active: bool) -> None:
        target = targets.change_target(target=_found(organisation, options), user=None, active=active)
        self.stdout.write(json.dumps(_shown(target), ensure_ascii=False, indent=1))

    def _remove(self, organisation: Organisation, options: dict[str, Any]) -> None:
        target = _found(organisation, options)
        targets.delete_target(target=target, user=None)
        self.stdout.write(f"{target} is removed.")


def _found(organisation: Organisation, options: dict[str, Any]) -> AlertTarget:
    rows = AlertTarget.objects.filter(organisation=organisation, pk=options["target"]).select_related("lob")
    target = rows.first()
    if target is None:
        raise CommandError(f"There is no target {options['target']}.")
    return target


def _shown(target: AlertTarget) -> dict[str, Any]:
    return {
        "id": target.pk, "kind": target.kind, "address": target.address, "lob": target.lob.slug if target.lob else None,
        "kinds": target.kinds, "active": target.active,
    }  # fmt: skip
